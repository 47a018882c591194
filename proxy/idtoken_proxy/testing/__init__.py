"""For people who test their own clients and services: the local Google as fixtures of pytest (docs/testing.md).

plugin.py            the fixtures; the entry point, imported in every run of pytest of whoever has this package installed
google.py            the emulator in a thread of its own, for tests that are synchronous
private_service.py   what a private service received

`pip install 'idtoken-proxy[testing]'`. Nothing here is imported before a test asks for a fixture, but for plugin.py.
"""
