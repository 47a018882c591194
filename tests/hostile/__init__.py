"""Requests and answers that mean harm, fed to a proxy that runs; a recording receiver has the last word.

case.py       what a case is, and what must come of it
lines.py      hostile request lines and field lines          framings.py   lengths and transfer codings
bodies.py     hostile chunks and trailers                    targets.py    ways out of a route, and to another
callers.py    web pages and rebound names                    tokens.py     ways to lose, double or replace the token
oddities.py   the well-formed that looks strange, and must pass
answers.py    the receivers' counterparts of all these
strict.py     a reader of our own, which shares no line with the proxy's
offline.py    the engine without sockets: for properties, fuzzing and every split
differential.py   the same requests through other proxies
"""
