"""Requests that two readers could read in two ways: each is refused or read in one, and what stands behind it never
becomes a second request upstream. Whole, and octet by octet.
"""

from __future__ import annotations

import pytest

from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.test_downstream import problem
from tests.engine.wire import Wire, answering, chunked, ok

CANARY = b"GET /canary HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"

# What must be refused: 400, and the connection ends, so that the canary is never read.
AMBIGUOUS = {
    "CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "the same length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "signed length": POST + b"Content-Length: +0\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "hex length": POST + b"Content-Length: 0x0\r\n\r\n",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n",
    "length with other digits": POST + b"Content-Length: \xd9\xa0\r\n\r\n",
    "empty length": POST + b"Content-Length: \r\n\r\n",
    "huge length": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 0\r\n\r\n",
    "tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity, chunked": POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "gzip": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and cow": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
    "chunked with vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked with parameter": POST + b"Transfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n",
    "folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "folded host": b"GET / HTTP/1.1\r\nHost: localhost\r\n\tevil\r\n\r\n",
    "space first": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "cr in a name": POST + b"X\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "lf in a value": POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cr in a value": POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "nul in a value": POST + b"X: y\0\r\n\r\n",
    "nul in a name": POST + b"X\0: y\r\n\r\n",
    "no colon": POST + b"Transfer-Encoding chunked\r\n\r\n",
    "no name": POST + b": chunked\r\n\r\n",
    "bare lf throughout": b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\nx\r\n\r\n",
    "bare lf in the request line": b"GET / HTTP/1.1\nHost: localhost\r\n\r\n",
    "bare cr at the end": b"GET / HTTP/1.1\r\nHost: localhost\r\rX: y\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tab": b"GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target in other octets": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "version 1.10": b"GET / HTTP/1.10\r\nHost: localhost\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: localhost\r\n\r\n",
    "http/0.9": b"GET /\r\n\r\n",
    "odd method": b"G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "chunked in http/1.0": b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}

# Bodies whose framing breaks on the way: the head has gone upstream, the request there is never a whole one.
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN_CHUNKS = {
    "bare lf behind the size": CHUNKS + b"0\n\r\n",
    "bare lf behind the last size": CHUNKS + b"5\r\nhello\r\n0\n\n",
    "bare lf behind the data": CHUNKS + b"5\r\nhello\n0\r\n\r\n",
    "bare cr behind the size": CHUNKS + b"5\rhello\r\n0\r\n\r\n",
    "more data than the size": CHUNKS + b"5\r\nhelloworld\r\n0\r\n\r\n",
    "two octets for a line end": CHUNKS + b"5\r\nhelloXX0\r\n\r\n",
    "signed": CHUNKS + b"+5\r\nhello\r\n0\r\n\r\n",
    "negative": CHUNKS + b"-1\r\nhello\r\n0\r\n\r\n",
    "0x": CHUNKS + b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore": CHUNKS + b"0_5\r\nhello\r\n0\r\n\r\n",
    "space first": CHUNKS + b" 5\r\nhello\r\n0\r\n\r\n",
    "space behind": CHUNKS + b"5 \r\nhello\r\n0\r\n\r\n",
    "empty size": CHUNKS + b"\r\nhello\r\n0\r\n\r\n",
    "over 64 bit": CHUNKS + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare lf in an extension": CHUNKS + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare cr in an extension": CHUNKS + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "bare lf in the trailers": CHUNKS + b"0\r\nX: y\n\r\n",
    "no colon in the trailers": CHUNKS + b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "folded trailer": CHUNKS + b"0\r\nX: y\r\n z\r\n\r\n",
}


async def _feed(wire: Wire, data: bytes, pieces: str) -> None:
    if pieces == "octets":
        await wire.drip(data)
    else:
        wire.send(data)


@for_each("pieces", ["whole", "octets"])
@for_each("case", AMBIGUOUS)
async def test_the_ambiguous_is_refused(receive: Receive, start: Start, case: str, pieces: str) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    await _feed(app, AMBIGUOUS[case] + CANARY, pieces)
    answer = await app.response()
    assert answer.status == 400
    assert answer.one("connection") == "close"
    problem(answer)
    assert await app.to_end() == b""
    assert not receiver.connections


@for_each("pieces", ["whole", "octets"])
@for_each("case", BROKEN_CHUNKS)
async def test_a_broken_body_never_becomes_a_request(
    receive: Receive, start: Start, case: str, pieces: str
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    await _feed(app, BROKEN_CHUNKS[case] + CANARY, pieces)
    answer = await app.response()
    assert answer.status == 400
    assert answer.one("connection") == "close"
    assert await app.to_end() == b""
    for wire in receiver.connections:
        await wire.gone()
        assert not wire.received.endswith(b"0\r\n\r\n")
    assert b"canary" not in receiver.received


@pytest.mark.parametrize("pieces", ["whole", "octets"])
async def test_a_request_within_a_body_is_a_body(receive: Receive, start: Start, pieces: str) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    first = POST + b"Content-Length: %d\r\n\r\n" % len(CANARY) + CANARY
    await _feed(
        app, first + CHUNKS + chunked(CANARY, CANARY) + b"\r\n" + CANARY.replace(b"canary", b"last"), pieces
    )
    for _ in range(3):
        assert (await app.response()).status == 200
    assert [request.target for request in receiver.requests] == ["/", "/", "/last"]
    assert [request.body for request in receiver.requests] == [CANARY, CANARY * 2, b""]


async def test_request_trailers_stay_here(receive: Receive, start: Start) -> None:
    trailers = b"Authorization: Bearer theirs\r\nHost: evil\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\nX: y\r\n"
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(CHUNKS + chunked(b"hello", trailers=trailers))
    assert (await app.response()).status == 200
    (request,) = receiver.requests
    assert (request.body, request.trailers) == (b"hello", [])
    assert request.one("authorization") == f"Bearer {proxied.token}"
