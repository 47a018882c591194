"""Coverage-guided fuzzing of the engine, without sockets: `make fuzz SECONDS=30`.

targets.py   what an input is, and what must hold of it: also a plain test over the tables of tests/hostile
http2.py     likewise for HTTP/2, over the tables of tests/engine/http2
mutations.py inputs made of seeds, the same for the same number; they need no atheris
builds.py    plays those in two builds of this program, and compares what is seen from outside: `make compiled`
__main__.py  runs the targets under atheris, side by side; with a file, says again what went wrong
found/       inputs that once failed; test_targets.py runs each of them for ever
"""
