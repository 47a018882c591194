"""YAML text -> frozen Settings, or every mistake at once, each with its file, line and key.

    text -> yaml_lines (+ environment) -> validate -> resolve -> Settings

model.py        what the rest of the proxy sees: frozen, resolved, nothing left to parse or to default
load.py         the ways in: a file, or `serve --upstream`; where a file is looked for
file.py         a file as it was read last, and whether it has changed
yaml_lines.py   YAML -> plain values and the line of every key
environment.py  ${NAME} in strings, and the variables that override keys
variables.py    every variable that is read, and what it should hold
validate.py     plain values -> Document, and all mistakes
document.py     what each key takes, with identities.py
shape.py        how that is declared and read
values.py, addresses.py, urls.py, names.py   one value each, parsed once: ValueError says what would be right
checks.py       what keys say against each other
route_token.py  which kind of token a route sends
audience.py     whom a token is for, where the route does not say
resolve.py      Document -> Settings
mistakes.py     where a mistake stands, and its words
schema.py       the JSON Schema, for editors
"""
