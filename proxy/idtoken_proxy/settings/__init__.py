"""YAML text -> frozen Settings, or every mistake at once, each with its file, line and key.

    text -> yaml_lines (+ environment) -> validate -> resolve -> Settings

model.py        what the rest of the proxy sees: frozen, resolved, nothing left to parse or to default
load.py         loads settings from a file or from `serve --upstream`; knows where files are looked for
command_line.py options that stand for keys
file.py         a file as it was last read, and whether it has changed since
yaml_lines.py   YAML -> plain values and the line of every key     yaml_words.py  says why a text is not YAML
environment.py  ${NAME} in strings, and the variables that override keys
variables.py    every variable that is read, and what it should hold
validate.py     plain values -> Document, and all mistakes
document.py     the keys and what each takes     identities.py  every identity     scalars.py  types of single values
schema_dsl.py   the language of those declarations     schema.py  the JSON Schema made of them, for editors
values.py, addresses.py, urls.py, names.py, egress.py, invokers.py, services.py
                                one kind of value each, parsed once; a ValueError says what would be right
checks.py       keys that contradict each other     receive_checks.py  those of `receive:`
route_token.py  which kind of token a route sends     audience.py  the audience of a route that names none
tracing.py      whether spans are wanted, by key or by OpenTelemetry's variables
resolve.py      Document -> Settings
mistakes.py     where a mistake stands, and suggestions     plausible.py  which values may be shown
doubts.py       warnings about what is valid and probably not meant     exposure.py  secrets that others may read
admin.py, route_names.py   read a single key of a file, for `probe` and for shells
"""
