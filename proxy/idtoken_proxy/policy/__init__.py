"""Decides, and does nothing else: no asyncio, no clock, no I/O (tests/test_architecture.py).

request.py    a request's head, judged for syntax by the engine and not yet for anything else
fields.py     what each header field is to a proxy
guard.py      may this caller use this proxy?     open_guard.py  may it, before an app, where its token decides?
fronts.py     did the app come over TLS, by what a proxy in front says?
tunnelled.py  what may come within a CONNECT's tunnel
routes.py     (host, path) -> route     services.py  which service of a project
target.py     which targets are too clever, and where a target goes upstream     spelling.py  how else one may be read
rewrite.py    addresses within header fields: the receiver's become the proxy's, and back
cors.py       which pages of other origins may read an answer, as browsers want it said
headers.py    the outbound head: what is stripped, what is attached, in this order; and the way back
"""
