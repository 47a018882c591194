"""YAML text -> frozen Settings, or every mistake at once, each with its file, line and key.

    text -> yaml_lines (+ environment) -> validate -> resolve -> Settings

model.py        what the rest of the proxy sees: frozen, resolved, nothing left to parse or to default
load.py         the ways in: a file, or `serve --upstream`; where a file is looked for
command_line.py what options say in place of keys
file.py         a file as it was read last, and whether it has changed
yaml_lines.py   YAML -> plain values and the line of every key     yaml_words.py  what is wrong with what is no YAML
environment.py  ${NAME} in strings, and the variables that override keys
variables.py    every variable that is read, and what it should hold
validate.py     plain values -> Document, and all mistakes
document.py     what each key takes     identities.py  every identity     scalars.py  what single values take
schema_dsl.py   how that is declared and read     schema.py  the JSON Schema that follows from it, for editors
values.py, addresses.py, urls.py, names.py, egress.py, invokers.py, services.py
                one value each, parsed once: ValueError says what would be right
checks.py       what keys say against each other     receive_checks.py  those of `receive:`
route_token.py  which kind of token a route sends     audience.py  for whom, where the route does not say
tracing.py      whether spans are wanted, by key or by OpenTelemetry's variables
resolve.py      Document -> Settings
mistakes.py     where a mistake stands, and its words     plausible.py  what of a value may be shown
doubts.py       what is no mistake and will not do what was meant     exposure.py  secrets that others may read
admin.py, route_names.py   one key of a file, read by itself, for `probe` and for shells
"""
