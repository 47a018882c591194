"""The app's side of the proxy: what it may send, in what pieces, how fast, and what it gets for what it may not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest

from idtoken_proxy.engine.downstream import REQUESTS_A_TURN, WRITE_HIGH_WATER, Downstream
from idtoken_proxy.settings.model import Limits, Timeouts
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import Proxied
from tests.engine.wire import (
    Ended,
    Message,
    Wire,
    answering,
    chunked,
    eventually,
    get,
    ok,
    post,
    turns,
)


def problem(answer: Message) -> dict[str, object]:
    """An answer of the proxy's own, in the form that every one of them has."""
    assert answer.one("content-type") == "application/problem+json"
    assert answer.one("cache-control") == "no-store"
    assert answer.one("date") is not None
    status = answer.one("proxy-status")
    assert status is not None
    assert status.startswith("idtoken-proxy; error=")
    members: dict[str, object] = json.loads(answer.body)
    assert members["status"] == answer.status
    assert members["title"]
    assert members["detail"]
    assert members["type"] == "about:blank"
    return members


async def test_many_requests_on_one_connection(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    for number in range(5):
        app.send(get(f"/{number}"))
        answer = await app.response()
        assert answer.body == b"hello"
        assert answer.one("connection") is None
    assert [request.target for request in receiver.requests] == ["/0", "/1", "/2", "/3", "/4"]
    assert len(receiver.connections) == 1


async def test_connection_close_is_honoured(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Connection: close") + get("/never"))
    answer = await app.response()
    assert answer.one("connection") == "close"
    assert await app.to_end() == b""
    (request,) = receiver.requests
    assert request.one("connection") is None  # that was for this hop
    await proxied.settled(idle=1)


# -- pipelining -----------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            wire.send(ok(request.target.encode() + request.body))

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/1") + post(b"two", target="/2") + get("/3") + post(b"four", target="/4") + get("/5"))
    assert [(await app.response()).body for _ in range(5)] == [b"/1", b"/2two", b"/3", b"/4four", b"/5"]
    assert len(receiver.connections) == 1  # one after the other


async def test_a_pipelined_request_waits_for_the_answer_before_it(receive: Receive, start: Start) -> None:
    told = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await told.wait()
        wire.send(ok(b"first"))
        await wire.request()
        wire.send(ok(b"second"))

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/1") + get("/2"))
    wire = await receiver.connection()
    await wire.wait(lambda: len(wire.requests) == 1)
    await asyncio.sleep(0.05)
    assert len(wire.requests) == 1
    assert b"/2" not in wire.received
    assert not app.received
    told.set()
    assert [(await app.response()).body for _ in range(2)] == [b"first", b"second"]


async def test_a_flood_of_pipelined_requests_stays_with_the_app(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/first"))
    await (await receiver.connection()).wait(lambda: bool(receiver.requests))
    with pytest.raises(TimeoutError):
        await app.pour(get("/more") * 1_000_000, limit=0.5)
    assert len(receiver.requests) == 1
    app.reset()
    await (await receiver.connection()).gone()


async def test_an_app_that_goes_while_a_pipelined_request_waits_is_noticed(
    receive: Receive, start: Start
) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/1") + get("/2"))
    wire = await receiver.connection()
    await wire.wait(lambda: bool(wire.requests))
    await turns(10)
    app.close()
    await wire.gone()
    assert len(receiver.requests) == 1


# -- bodies ---------------------------------------------------------------------

UPLOADS = {
    "length": post(b"0123456789" * 20),
    "chunked": get("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"01234", b"5", b"6789" * 30),
    "chunked, upper case and zeros": get("/", "Transfer-Encoding: CHUNKED", method="PUT")
    + b"00A\r\n0123456789\r\n000\r\n\r\n",
    "chunked, extensions": get("/", "Transfer-Encoding: chunked", method="POST")
    + b'5;a=b;c="d\\"e";f\r\nhello\r\n0;last\r\n\r\n',
    "chunked, trailers": get("/", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST")
    + chunked(b"hello", trailers=b"X-Sum: 5\r\nAuthorization: Bearer theirs\r\n"),
    "empty length": post(b""),
    "empty chunked": get("/", "Transfer-Encoding: chunked", method="POST") + chunked(),
    "none": get("/"),
    "empty lines first": b"\r\n\r\n" + get("/"),
}


@for_each("pieces", ["whole", "octets"])
@for_each("case", UPLOADS)
async def test_uploads(receive: Receive, start: Start, case: str, pieces: str) -> None:
    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await (wire.drip if pieces == "octets" else pours(wire))(ok(request.body))

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):  # the second shows that nothing of the first is left over
        await (app.drip if pieces == "octets" else pours(app))(UPLOADS[case])
        answer = await app.response()
        assert answer.status == 200
    first, second = receiver.requests
    assert first.body == second.body == answer.body
    assert (first.body != b"") == (case not in ("none", "empty length", "empty chunked", "empty lines first"))
    for request in (first, second):
        assert not request.trailers
        if case.startswith("length") or case == "empty length":
            assert request.one("content-length") == str(len(first.body))
        assert (request.one("transfer-encoding") == "chunked") == ("chunked" in case)
        assert request.one("trailer") is None
    assert b"theirs" not in receiver.received
    assert len(receiver.connections) == 1


def pours(wire: Wire) -> Callable[[bytes], Awaitable[None]]:
    async def pour(data: bytes) -> None:
        await wire.pour(data)

    return pour


async def test_a_chunked_upload_cut_at_every_place(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    both = get("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"hello", b"world") + get("/2")
    for at in range(1, len(both)):
        app.send(both[:at])
        await turns(4)
        app.send(both[at:])
        assert (await app.response()).status == 200
        assert (await app.response()).status == 200
    assert {request.body for request in receiver.requests} == {b"helloworld", b""}
    assert len(receiver.requests) == 2 * (len(both) - 1)
    assert len(receiver.connections) == 1


async def test_a_head_arrives_when_it_is_sent_and_not_with_the_body(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 5", method="POST"))
    wire = await receiver.connection()
    await wire.wait(lambda: b"\r\n\r\n" in wire.received)
    app.send(b"he")
    await wire.wait(lambda: wire.received.endswith(b"he"))
    app.send(b"llo")
    assert (await app.response()).status == 200


async def test_a_malformed_chunk_ends_both_connections(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhelloX")
    answer = await app.response()
    assert answer.status == 400
    assert answer.one("connection") == "close"
    assert "malformed" in str(problem(answer)["detail"])
    await app.to_end()
    assert not any(wire.received.endswith(b"0\r\n\r\n") for wire in receiver.connections)
    await proxied.settled(idle=0)


# -- HTTP/1.0 -------------------------------------------------------------------


def http10(*fields: str, method: str = "GET") -> bytes:
    return get("/", *fields, method=method, version="1.0")


async def test_http_1_0_without_keep_alive(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(http10())
    answer = await app.response()
    assert answer.body == b"hello"
    assert answer.one("connection") == "close"
    assert await app.to_end() == b""
    assert receiver.requests[0].start == "GET / HTTP/1.1"
    await proxied.settled(idle=1)


async def test_http_1_0_without_a_host(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    assert (await proxied.ask(b"GET / HTTP/1.0\r\n\r\n")).status == 200


async def test_http_1_0_with_keep_alive(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(3):
        app.send(http10("Connection: Keep-Alive"))
        answer = await app.response()
        assert answer.body == b"hello"
        assert answer.one("connection") == "keep-alive"
    assert len(receiver.connections) == 1


@pytest.mark.parametrize("fields", [(), ("Connection: keep-alive",)])
async def test_http_1_0_gets_chunks_without_their_framing(
    receive: Receive, start: Start, fields: tuple[str, ...]
) -> None:
    receiver = await receive(
        answering(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunked(b"he", b"llo", trailers=b"X: y\r\n")
        )
    )
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(http10(*fields))
    answer = await app.response()
    assert answer.body == b"hello"
    assert answer.one("connection") == "close"
    assert answer.one("transfer-encoding") is None
    assert answer.one("content-length") is None
    await proxied.settled(idle=1)


async def test_http_1_0_and_a_broken_chunked_answer(receive: Receive, start: Start) -> None:
    """Its end is all that tells an HTTP/1.0 app that it has all: a clean one would be a lie."""

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await turns(10)
        wire.close()

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(http10())
    with pytest.raises(Ended):
        await app.response()
    assert isinstance(app.error, ConnectionResetError)


async def test_http_1_0_sees_no_interim_answers(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok())))
    app = await proxied.connect()
    app.send(http10("Expect: 100-continue"))
    assert (await app.response()).status == 200


# -- what is not HTTP/1.1 --------------------------------------------------------


@pytest.mark.parametrize(
    "hello", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), b"\0" * 64 * 1024 + b"\0" * 1024]
)
async def test_octets_that_are_no_http(receive: Receive, start: Start, hello: bytes) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(hello)
    await app.gone()
    assert not receiver.connections


@for_each(
    "request_",
    [
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
        get("/", method="CONNECT"),
        get("/", "Content-Length: 5", method="CONNECT") + b"hello",
        get("/", method="TRACE"),
        get("/", method="trace"),
        get("/", "Content-Length: 5", method="TRACE") + b"hello",
        get("/", "Transfer-Encoding: chunked", method="TRACE") + chunked(b"hello"),
    ],
)
async def test_connect_and_trace_are_refused(receive: Receive, start: Start, request_: bytes) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(request_ + get("/canary"))
    answer = await app.response()
    assert answer.status == 405
    assert answer.one("connection") == "close"
    assert "GET" in (answer.one("allow") or "")
    assert "TRACE" not in (answer.one("allow") or "")
    problem(answer)
    assert await app.to_end() == b""
    assert not receiver.connections


async def test_h2c_is_ignored(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"))
        assert (await app.response()).status == 200
    for request in receiver.requests:
        assert request.one("upgrade") is None
        assert request.one("connection") is None
        assert request.one("http2-settings") is None


# -- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize("fields", [(), ("Content-Length: 5",), ("Transfer-Encoding: chunked",)])
async def test_a_refusal_without_a_body_to_skip_keeps_the_connection(
    receive: Receive, start: Start, fields: tuple[str, ...]
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Origin: http://evil.example", *fields))
    answer = await app.response()
    assert answer.status == 403
    assert problem(answer)["fault"] == "caller"
    if fields:  # where the next request begins is known only after a body that nobody wants
        assert answer.one("connection") == "close"
        app.send(b"hello" + get("/canary"))
        assert await app.to_end() == b""
        assert not receiver.connections
    else:
        app.send(get("/"))
        assert (await app.response()).status == 200


async def test_an_app_that_still_sends_can_read_why_it_was_refused(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Origin: http://evil.example", "Content-Length: 3000000", method="POST"))
    await app.pour(bytes(3_000_000))
    assert (await app.response()).status == 403
    assert not receiver.connections


@pytest.mark.parametrize("pieces", ["whole", "octets"])
async def test_the_head_at_its_limit_and_one_past(receive: Receive, start: Start, pieces: str) -> None:
    limit = 2000
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, limits=Limits(header_bytes=limit))

    def of_size(size: int) -> bytes:
        bare = get("/", "X: ")
        return get("/", "X: " + "a" * (size - len(bare) + len(b"\r\n\r\n")))

    app = await proxied.connect()
    await (app.drip if pieces == "octets" else pours(app))(of_size(limit))
    assert (await app.response()).status == 200
    await (app.drip if pieces == "octets" else pours(app))(of_size(limit + 1))
    answer = await app.response()
    assert answer.status == 431
    assert answer.one("connection") == "close"
    assert str(limit) in str(problem(answer)["detail"])
    assert await app.to_end() == b""
    assert len(receiver.requests) == 1


async def test_an_endless_head_is_refused_while_it_still_comes(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    app.send(b"GET / HTTP/1.1\r\n")
    line = b"X-Filler: " + b"a" * 1000 + b"\r\n"
    for _ in range(200):
        if app.received:
            break
        app.send(line)
        await turns()
    assert (await app.response()).status == 431


async def test_too_many_fields(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    answer = await proxied.ask(get("/", *["A: b"] * 300))
    assert answer.status == 431
    problem(answer)


# -- limits and deadlines ----------------------------------------------------------


async def test_slowloris_is_closed_at_the_deadline(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, timeouts=Timeouts(header=30, keepalive=60))
    slow = [await proxied.connect() for _ in range(20)]
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n"

    def all_read() -> bool:
        return [one.unparsed for one in proxied.connections] == [wire.sent for wire in slow]

    for number in range(4):
        for wire in slow:
            wire.send(b"X-%d: y\r\n" % number if number else head)
        await eventually(all_read, "not all is read")
        if number == 3:  # others are served meanwhile
            assert (await proxied.ask(get("/"))).status == 200
        assert not any(wire.ended for wire in slow)
        await proxied.elapse(9 if number < 3 else 4)
    for wire in slow:
        await wire.gone()
    assert len(receiver.requests) == 1


async def test_a_head_in_pieces_within_the_deadline(receive: Receive, start: Start) -> None:
    """The deadline counts from a request's first octet, not from the connection's or the last request's."""
    proxied = await start(await receive(answering(ok())), timeouts=Timeouts(header=30, keepalive=60))
    app = await proxied.connect()
    for _ in range(3):
        await proxied.elapse(25)
        app.send(get("/")[:10])
        await proxied.elapse(10)
        app.send(get("/")[10:])
        assert (await app.response()).status == 200


@pytest.mark.parametrize("used", [False, True])
async def test_an_idle_connection_ends_at_its_deadline(receive: Receive, start: Start, used: bool) -> None:  # noqa: FBT001
    proxied = await start(await receive(answering(ok())), timeouts=Timeouts(keepalive=30))
    app = await proxied.connect()
    if used:
        app.send(get("/"))
        await app.response()
    await eventually(lambda: len(proxied.server.context.connections) == 1, "no connection")
    await proxied.elapse(29)
    assert not app.ended
    await proxied.elapse(2)
    assert await app.to_end() == b""


async def test_an_app_that_half_closes_counts_as_gone(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    wire = await receiver.connection()
    await wire.wait(lambda: bool(wire.requests))
    app.half_close()
    await wire.gone()
    await app.gone()


# -- answers of the proxy's own, and apps that do not read ------------------------------------------------

ORIGIN = get("/", "Origin: http://evil.example")
HOST = get("/").replace(b"localhost", b"evil.example")


# All in one turn, so that they are answered whether or not they are read, and more than the kernels keep.
ONE_TURN = ORIGIN * (REQUESTS_A_TURN - 1) + get("/", "Origin: http://evil.example", "Connection: close")


async def narrow(proxied: Proxied) -> tuple[Wire, Downstream]:
    """An app that reads nothing, and the proxy's side of it; little fits between them."""
    near = socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(near, ("127.0.0.1", proxied.port))
    _, app = await loop.create_connection(Wire, sock=near)
    proxied.clients.append(app)
    app.stall()
    await eventually(lambda: len(proxied.server.context.connections) == 1, "no connection")
    (connection,) = proxied.connections
    kernel = connection.transport.get_extra_info("socket")
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return app, connection


def widen(app: Wire, connection: Downstream) -> None:
    """From here on it reads, and as fast as anybody."""
    for wire, option in ((app, socket.SO_RCVBUF), (connection, socket.SO_SNDBUF)):
        wire.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 1 << 20)
    app.go_on()


async def test_refusals_that_nobody_reads_do_not_pile_up_and_all_come_in_order(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    app, connection = await narrow(proxied)
    pairs = 1000
    app.send((ORIGIN + HOST) * pairs + get("/", "Connection: close"))
    await eventually(lambda: connection.full, "the app reads")
    await eventually(lambda: not connection.reading, "what it sends is read on")
    assert connection.transport.get_write_buffer_size() < 2 * WRITE_HIGH_WATER
    assert not connection.reading
    asked = connection.unparsed
    await asyncio.sleep(0.1)
    assert connection.unparsed == asked
    widen(app, connection)
    said = await app.to_end()
    origins = [b"Origin" in answer or b"origin" in answer for answer in said.split(b"HTTP/1.1 ")[1:-1]]
    assert origins == [True, False] * pairs
    assert said.endswith(b"hello")


async def test_one_connections_refusals_do_not_keep_the_others_waiting(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    ended = 0

    def count(_exchange: object) -> None:
        nonlocal ended
        ended += 1

    proxied.server.context.access_log = count
    app.send(ORIGIN * 3000 + get("/", "Connection: close"))
    most = before = 0
    while not app.ended:
        await asyncio.sleep(0)
        most, before = max(most, ended - before), ended
    assert ended >= 3000
    assert most <= 2 * REQUESTS_A_TURN


async def test_a_connection_that_closes_does_not_wait_for_an_app_that_does_not_read(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())), timeouts=Timeouts(idle=30))
    app, connection = await narrow(proxied)
    app.send(ONE_TURN)
    await eventually(connection.transport.is_closing, "it is not closed")
    assert connection.transport.get_write_buffer_size()
    await proxied.elapse_until(lambda: not proxied.server.context.busy, 31)
    await eventually(lambda: not proxied.server.context.busy, "it waits for good")


async def test_who_goes_on_reading_a_closing_connection_gets_all_of_it(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())), timeouts=Timeouts(idle=30))
    app, connection = await narrow(proxied)
    app.send(ONE_TURN)
    await eventually(connection.transport.is_closing, "it is not closed")
    await proxied.elapse(29)
    app.go_on()
    assert (await app.to_end()).count(b"HTTP/1.1 403 ") == REQUESTS_A_TURN
    assert app.error is None


async def test_octets_behind_the_last_request_are_not_looked_at(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    app, connection = await narrow(proxied)
    app.send(ONE_TURN)
    await eventually(connection.transport.is_closing, "it is not closed")
    connection.data_received(ORIGIN)  # as a loop may, which has read it before
    assert connection.unparsed == 0
    app.go_on()
    assert (await app.to_end()).count(b"HTTP/1.1 403 ") == REQUESTS_A_TURN


async def test_a_closing_connection_has_no_further_turn(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    app.send(ORIGIN * 200)
    await eventually(lambda: bool(proxied.server.context.connections), "no connection")
    (connection,) = proxied.connections
    await eventually(lambda: not connection.reading, "all at once")  # its next turn is to come
    connection.drain()
    assert 0 < (await app.to_end()).count(b"HTTP/1.1 403 ") < 200


# -- how an answer of unknown length ends in HTTP/1.0 ------------------------------------------------------

UNBOUNDED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize("how", ["drain", "reset"])
async def test_http_1_0_and_an_answer_that_is_cut(receive: Receive, start: Start, how: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(UNBOUNDED)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(http10())
    await app.until(b"hello")
    if how == "drain":
        await proxied.server.stop(drain=0.2)
    else:
        (await receiver.connection()).reset()
    await app.wait(lambda: app.lost)
    assert isinstance(app.error, ConnectionResetError)


async def test_http_1_0_and_an_answer_that_nobody_reads_to_its_end(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(60_000))
        wire.close()

    proxied = await start(await receive(script), timeouts=Timeouts(idle=30))
    app, connection = await narrow(proxied)
    app.send(http10())
    await eventually(connection.transport.is_closing, "the answer does not end")
    await proxied.elapse_until(lambda: not proxied.server.context.busy, 31)
    await eventually(lambda: not proxied.server.context.busy, "it waits for good")
    app.go_on()
    await app.wait(lambda: app.lost)
    assert isinstance(app.error, ConnectionResetError)


async def test_http_1_0_keeps_its_connection_over_an_answer_of_the_proxys_own(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    app.send(http10("Connection: keep-alive", "Origin: http://evil.example"))
    answer = await app.response()
    assert (answer.status, answer.one("connection")) == (403, "keep-alive")
    app.send(http10("Origin: http://evil.example"))
    answer = await app.response()
    assert (answer.status, answer.one("connection")) == (403, "close")
    assert await app.to_end() == b""


# -- calls that come out of turn ---------------------------------------------------------------------------


async def test_an_upload_that_is_let_go_on_between_requests_lets_the_next_one_in(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    app.send(get("/"))
    await app.response()
    (connection,) = proxied.connections
    connection.hold(held=True)
    while_held = connection.reading
    connection.hold(held=False)
    connection.pump()  # there is nothing to move
    assert (while_held, connection.reading) == (False, True)
    app.send(get("/"))
    assert (await app.response()).status == 200


async def test_an_upload_that_is_let_go_on_leaves_the_request_behind_it_where_it_is(
    receive: Receive, start: Start
) -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        for _ in range(2):
            await wire.request()
            await go_on.wait()
            wire.send(ok())

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(post(b"hello") + get("/behind"))
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    (connection,) = proxied.connections
    connection.hold(held=True)
    connection.hold(held=False)
    assert connection.unparsed == len(get("/behind"))
    assert not connection.reading
    go_on.set()
    for _ in range(2):
        assert (await app.response()).status == 200
