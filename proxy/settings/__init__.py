"""YAML text -> frozen Settings, or every mistake at once, each with its file, line and key.

    text -> yaml_lines -> document -> checks, pending -> resolve -> Settings

model.py        what the rest of the proxy sees: frozen, resolved, nothing left to parse or to default
load.py         the ways in: a file, or `serve --upstream`
yaml_lines.py   YAML text -> plain values, and the line of every key
environment.py  ${NAME} in strings; the variables that override keys
document.py     the file's shape, key by key; entry.py and identities.py are parts of it
values.py       times, sizes; addresses.py, urls.py and names.py: what else a key may hold
validate.py     a tree of values -> Document, and every mistake in it
checks.py       what no key can know alone
pending.py      what the contract has and this version has not
audience.py     the audience of a route that names none
mistakes.py     where a mistake stands, and the words for those that pydantic finds
resolve.py      Document -> Settings
schema.py       the JSON Schema, for editors
"""
