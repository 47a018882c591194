"""A connection to a receiver: what is an answer, whose it is, and what is none."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.test_downstream import problem
from tests.engine.wire import Ended, Wire, answering, chunked, eventually, get, ok, post, turns


async def test_a_receiver_that_closes_an_idle_connection(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(ok())
        await asyncio.sleep(0.05)
        wire.close()

    receiver = await receive(script)
    proxied = await start(receiver)
    for _ in range(3):
        assert (await proxied.ask(get("/"))).status == 200
        await proxied.settled(idle=0)
    assert len(receiver.requests) == 3


@pytest.mark.parametrize(
    "unasked", [b"x", ok(b"poison"), b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"]
)
async def test_what_an_idle_connection_says_is_nobodys_answer(
    receive: Receive, start: Start, unasked: bytes
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(ok(b"first"))
        await asyncio.sleep(0.05)
        if len(receiver.connections) == 1:
            wire.send(unasked)
        await wire.request()
        wire.send(ok(b"second"))

    receiver = await receive(script)
    proxied = await start(receiver)
    assert (await proxied.ask(get("/"))).body == b"first"
    await (await receiver.connection()).gone()
    assert (await proxied.ask(get("/"))).body == b"first"  # of another connection
    assert len(receiver.connections) == 2


@for_each("pieces", ["whole", "after"])
@for_each(
    "said",
    [
        ok(b"hello"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
async def test_what_comes_behind_an_answer_is_nobodys(
    receive: Receive, start: Start, said: bytes, pieces: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        if pieces == "whole":
            wire.send(said + ok(b"poison"))
        else:
            wire.send(said)
            await turns(2)
            wire.send(ok(b"poison"))

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(3):
        app.send(get("/"))
        answer = await app.response()
        assert answer.body in (b"hello", b"")
        await proxied.settled(idle=0)
    assert len(receiver.connections) == 3
    assert b"poison" not in app.received


async def test_what_an_answered_request_still_has_to_send_is_for_nobody(
    receive: Receive, start: Start
) -> None:
    answered = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.stall()
        wire.send(ok(b"first"))
        await answered.wait()
        wire.send(ok(b"second"))

    receiver = await receive(script)
    for listener in receiver.listeners:  # what it accepts, has the same: little fits in between
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    assert (await app.response()).body == b"first"
    await proxied.settled(idle=1)
    (upstream,) = proxied.pool.connections
    kernel = upstream.transport.get_extra_info("socket")
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    app.send(post(bytes(60_000)))
    await eventually(lambda: bool(upstream.transport.get_write_buffer_size()), "it fits into the kernel")
    await asyncio.sleep(0.1)
    assert upstream.transport.get_write_buffer_size()
    answered.set()
    assert (await app.response()).body == b"second"
    await eventually(lambda: upstream.lost, "it waits for a receiver that does not read")
    await proxied.settled(idle=0)


# -- what is no answer -----------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"
MALFORMED = {
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "http/2": b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\0\xff\xff\r\n\r\n",
    "http/0.9": b"<html>hello</html>\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "http/2.0 in words": b"HTTP/2.0 200 OK\r\n\r\n",
    "http/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 OK\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "nul in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "cr in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "lf in the reason": b"HTTP/1.1 200 OK\nX: y\r\nContent-Length: 0\r\n\r\n",
    "no colon": HEAD + b"Content-Length 0\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 0\r\n\r\n",
    "folded": HEAD + b"X: y\r\n z\r\nContent-Length: 0\r\n\r\n",
    "empty name": HEAD + b": y\r\nContent-Length: 0\r\n\r\n",
    "odd name": HEAD + b"X(y): z\r\nContent-Length: 0\r\n\r\n",
    "nul in a value": HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "cr in a value": HEAD + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "lf in a value": HEAD + b"X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "hex length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": HEAD + b"Content-Length:\r\n\r\nhello",
    "huge length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "length and chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\nhello",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in http/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "103 with a body": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello",
    "too many fields": HEAD + b"X: y\r\n" * 300 + b"\r\n",
    "too large": HEAD + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
    "endless": HEAD + b"X: y\r\n" * 60_000,
}
TOO_LONG_TO_DRIP = 2000


@for_each(
    ("case", "pieces"),
    [
        *((case, "whole") for case in MALFORMED),
        *((case, "octets") for case, said in MALFORMED.items() if len(said) < TOO_LONG_TO_DRIP),
    ],
)
async def test_a_malformed_answer_is_502_and_the_connection_is_done_with(
    receive: Receive, start: Start, case: str, pieces: str
) -> None:
    said = MALFORMED[case]

    async def script(wire: Wire) -> None:
        await wire.request()
        if len(receiver.connections) > 1:
            wire.send(ok())
        elif pieces == "octets":
            await wire.drip(said)
        else:
            wire.send(said)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    answer = await app.response()
    assert answer.status == 502
    told = problem(answer)
    assert (told["title"], told["fault"]) == ("The receiver's answer is malformed", "receiver")
    assert "http_protocol_error" in (answer.one("proxy-status") or "")
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)
    assert len(receiver.requests) == 1
    app.send(get("/"))
    assert (await app.response()).body == b"hello"


BROKEN_BODIES = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size in words": b"five\r\nhello\r\n0\r\n\r\n",
    "signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "too much": b"5\r\nhelloo\r\n0\r\n\r\n",
    "bare lf behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare lf behind the chunk": b"5\r\nhello\n0\r\n\r\n",
    "space in the size": b"5 5\r\nhello\r\n0\r\n\r\n",
    "huge size": b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 5000,
}


@for_each("pieces", ["whole", "octets"])
@for_each("case", BROKEN_BODIES)
async def test_a_malformed_body_breaks_the_answer(
    receive: Receive, start: Start, case: str, pieces: str
) -> None:
    said = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + BROKEN_BODIES[case]

    async def script(wire: Wire) -> None:
        await wire.request()
        if pieces == "octets":
            await wire.drip(said)
        else:
            wire.send(said)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/") + get("/canary"))
    with pytest.raises(Ended):
        await app.response()
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)
    assert len(receiver.requests) == 1


# -- calls that come out of turn ---------------------------------------------------


async def test_an_idle_connection_that_fills_up_and_empties_tells_nobody(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    await proxied.ask(get("/"))
    await proxied.settled(idle=1)
    (upstream,) = proxied.pool.connections
    upstream.pause_writing()
    upstream.resume_writing()
    upstream.hold(held=False)  # it is not held
    assert (await proxied.ask(get("/"))).status == 200
    await proxied.settled(idle=1)
    assert (proxied.pool.connections, proxied.pool.idle) == ([upstream], 1)


async def test_an_answer_that_ends_while_it_is_held_leaves_a_connection_that_reads(
    receive: Receive, start: Start
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.request()
        wire.send(ok(b"second"))

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    (connection,) = proxied.connections
    (upstream,) = proxied.pool.connections
    connection.pause_writing()
    upstream.data_received(ok(b"first"))  # as a loop may, which has read it before
    connection.resume_writing()
    assert (await app.response()).body == b"first"
    assert (proxied.pool.connections, proxied.pool.idle) == ([upstream], 1)
    app.send(get("/"))
    assert (await app.response()).body == b"second"
