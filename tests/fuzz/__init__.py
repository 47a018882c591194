"""Coverage-guided fuzzing of the engine, without sockets: `make fuzz SECONDS=30`.

targets.py   what an input is, and what must hold of it: also a plain test over the tables of tests/hostile
http2.py     likewise for HTTP/2, over the tables of tests/engine/http2
__main__.py  runs the targets under atheris, side by side; with a file, says again what went wrong
found/       inputs that once failed; test_targets.py runs each of them for ever
"""
