"""YAML text -> frozen Settings, or every mistake at once, each with its file, line and key.

model.py      what the rest of the proxy sees: frozen, resolved, nothing left to parse or to default
"""
