"""One request and its answer, through real sockets: framing, interim and early answers, retries, those who go away."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.engine.kept_body import MAX_BODY
from idtoken_proxy.engine.states import WAITING
from idtoken_proxy.engine.timeout_errors import TOKEN_GRACE
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.settings.identities import CommandIdentity, FileIdentity, NoIdentity
from idtoken_proxy.settings.model import Timeouts, Upstream
from tests.cases import and_thoroughly, for_each
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import Proxied, make_token
from tests.engine.test_downstream import problem
from tests.engine.wire import (
    Ended,
    Message,
    Script,
    Wire,
    answering,
    chunked,
    eventually,
    get,
    ok,
    post,
    running,
    turns,
)

CHUNKED = "Transfer-Encoding: chunked"


async def test_a_request_and_its_answer(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok(b"hello", "X-Said: yes")))
    proxied = await start(receiver)
    answer = await proxied.ask(get("/a?b=c", "X-Asked: please"))
    assert (answer.start, answer.body, answer.one("x-said")) == ("HTTP/1.1 200 OK", b"hello", "yes")
    (request,) = receiver.requests
    assert request.start == "GET /a?b=c HTTP/1.1"
    assert request.one("host") == f"127.0.0.1:{receiver.port}"
    assert request.one("x-asked") == "please"
    assert request.one("authorization") == f"Bearer {proxied.token}"
    assert request.one("x-forwarded-host") == "localhost"
    await proxied.settled(idle=1)


# -- the answer's framing ---------------------------------------------------------

# name: (method, what the receiver says, status, body, what the app is told of its framing, whether it is used again)
ANSWERS: dict[str, tuple[str, bytes, int, bytes, tuple[str | None, str | None], bool]] = {
    "length": ("GET", ok(b"hello"), 200, b"hello", ("5", None), True),
    "empty": ("GET", ok(b""), 200, b"", ("0", None), True),
    "chunked": (
        "GET",
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode() + chunked(b"he", b"llo"),
        200,
        b"hello",
        (None, "chunked"),
        True,
    ),
    "chunked, empty": (
        "GET",
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode() + chunked(),
        200,
        b"",
        (None, "chunked"),
        True,
    ),
    "chunked, extensions": (
        "GET",
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode() + b'5;x="\\"y"\r\nhello\r\n0\r\n\r\n',
        200,
        b"hello",
        (None, "chunked"),
        True,
    ),
    "close": ("GET", ok(b"hello", "Connection: close"), 200, b"hello", ("5", None), False),
    "http/1.0": ("GET", ok(b"hello").replace(b"1.1", b"1.0"), 200, b"hello", ("5", None), False),
    "http/1.0, keep-alive": (
        "GET",
        ok(b"hello", "Connection: keep-alive").replace(b"1.1", b"1.0"),
        200,
        b"hello",
        ("5", None),
        True,
    ),
    "head, length": (
        "HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        200,
        b"",
        ("1000", None),
        True,
    ),
    "head, chunked": (
        "HEAD",
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode(),
        200,
        b"",
        (None, "chunked"),
        True,
    ),
    "head, neither": ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", 200, b"", (None, None), True),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", (None, None), True),
    "204 with a length": (
        "GET",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        204,
        b"",
        (None, None),
        True,
    ),
    "304": ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', 304, b"", (None, None), True),
    "304 with a length": (
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
        304,
        b"",
        ("1000", None),
        True,
    ),
    "no reason": ("GET", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, b"ok", ("2", None), True),
    "no reason, no space": (
        "GET",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        ("2", None),
        True,
    ),
    "unknown status": (
        "GET",
        b"HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nok",
        799,
        b"ok",
        ("2", None),
        True,
    ),
    "error": ("POST", b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno", 500, b"no", ("2", None), True),
}


@for_each("pieces", ["whole", "octets"])
@for_each("case", ANSWERS)
async def test_framing(receive: Receive, start: Start, case: str, pieces: str) -> None:
    method, said, status, body, framing, reused = ANSWERS[case]

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            if pieces == "octets":
                await wire.drip(said)
            else:
                wire.send(said)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/", method=method))
        answer = await app.response(to=method)
        assert (answer.status, answer.body) == (status, body)
        assert (answer.one("content-length"), answer.one("transfer-encoding")) == framing
        assert answer.one("connection") is None
    await proxied.settled(idle=1 if reused else 0)
    assert len(receiver.connections) == (1 if reused else 2)
    assert app.unread == b""


@pytest.mark.parametrize("pieces", ["whole", "octets"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_body_that_ends_with_the_connection_gets_chunks(
    receive: Receive, start: Start, version: bytes, pieces: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        said = b"HTTP/%b 200 OK\r\nX: y\r\n\r\nhello, world" % version
        if pieces == "octets":
            await wire.drip(said)
        else:
            wire.send(said)
        wire.close()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/"))
        answer = await app.response()
        assert answer.body == b"hello, world"
        assert answer.one("transfer-encoding") == "chunked"
        assert answer.one("connection") is None
    assert len(receiver.connections) == 2


async def test_a_body_that_ends_with_a_reset_is_not_whole(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await asyncio.sleep(0.05)
        wire.reset()

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(get("/"))
    with pytest.raises(Ended):
        await app.response()
    assert not app.received.endswith(b"0\r\n\r\n")


# -- interim answers -----------------------------------------------------------------


@pytest.mark.parametrize("pieces", ["whole", "octets"])
async def test_interim_answers_pass(receive: Receive, start: Start, pieces: str) -> None:
    said = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n" + ok()
    )

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            if pieces == "octets":
                await wire.drip(said)
            else:
                wire.send(said)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/"))
        answers = [await app.response() for _ in range(4)]
        assert [answer.status for answer in answers] == [103, 102, 103, 200]
        assert [answer.one("link") for answer in answers] == ["</a.css>", None, "</b.css>", None]
        assert answers[2].one("x-hop") is None
    assert len(receiver.connections) == 1


async def test_expect_is_passed_on_and_the_body_waits(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        while True:
            head = await wire.until(b"\r\n\r\n")
            assert b"\r\nExpect: 100-continue\r\n" in head
            assert wire.unread == b""
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert await wire.exactly(5) == b"hello"
            wire.send(ok())

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/", "Content-Length: 5", "Expect: 100-Continue", method="PUT"))
        assert (await app.response()).status == 100
        app.send(b"hello")
        assert (await app.response()).status == 200
    assert len(receiver.connections) == 1


async def test_a_final_answer_instead_of_100(receive: Receive, start: Start) -> None:
    """The app may or may not send its body after that (RFC 9110 section 10.1.1): neither connection is used again."""
    receiver = await receive(answering_heads(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    answer = await app.response()
    assert (answer.status, answer.body, answer.one("connection")) == (413, b"no", "close")
    await app.to_end()
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)


def answering_heads(answer: bytes) -> Script:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.send(answer)

    return script


async def test_a_flood_of_interim_answers_ends(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        while not wire.lost:
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            await turns()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    while (answer := await app.response()).status == 103:
        pass
    assert answer.status == 502
    problem(answer)
    await (await receiver.connection()).gone()


# -- trailers -----------------------------------------------------------------------


async def test_trailers_pass_but_for_those_that_no_trailer_may_hold(receive: Receive, start: Start) -> None:
    trailers = (
        b"X-Checksum: abc\r\nServer-Timing: db;dur=5\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 7\r\nConnection: close\r\nHost: x\r\nAuthorization: y\r\nWWW-Authenticate: z\r\n"
    )
    said = f"HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\n{CHUNKED}\r\n\r\n".encode() + chunked(
        b"hello", trailers=trailers
    )
    receiver = await receive(answering(said))
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/", "TE: trailers"))
        answer = await app.response()
        assert answer.body == b"hello"
        assert answer.trailers == [("x-checksum", "abc"), ("server-timing", "db;dur=5")]
    assert receiver.requests[0].one("te") == "trailers"
    assert receiver.requests[0].one("connection") == "TE"
    assert len(receiver.connections) == 1


async def test_a_malformed_trailer_breaks_the_answer(receive: Receive, start: Start) -> None:
    said = f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode() + chunked(b"hello", trailers=b"X y: z\r\n")
    receiver = await receive(answering(said))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    with pytest.raises(Ended):
        await app.response()
    await proxied.settled(idle=0)


# -- retries ---------------------------------------------------------------------------


def dying_after(first: bytes, then: bytes, *, way: str) -> Script:
    """Answers once; the second request on the same connection finds it dead."""
    fresh = [True]

    async def script(wire: Wire) -> None:
        if fresh.pop() if fresh else False:
            await wire.request()
            wire.send(first)
            await wire.request()
            if way == "reset":
                wire.reset()
            else:
                wire.close()
            return
        while True:
            await wire.request()
            wire.send(then)

    return script


@for_each("way", ["reset", "close"])
@for_each("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_dead_connection_costs_a_safe_request_nothing(
    receive: Receive, start: Start, method: str, way: str
) -> None:
    receiver = await receive(dying_after(ok(b"1"), ok(b"2") if method != "HEAD" else ok(b""), way=way))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/1"))
    assert (await app.response()).body == b"1"
    app.send(get("/2", method=method))
    answer = await app.response(to=method)
    assert answer.status == 200
    assert [request.target for request in receiver.requests] == ["/1", "/2", "/2"]
    assert len({bytes(request.raw) for request in receiver.requests[1:]}) == 1  # word for word
    await proxied.settled(idle=1)


@for_each("way", ["reset", "close"])
@for_each(
    "request_",
    [
        post(b"pay"),
        post(b""),
        get("/", method="DELETE"),
        get("/", CHUNKED, method="PUT") + chunked(b"x"),
        post(b"x").replace(b"POST", b"GET"),
    ],
)
async def test_what_changes_something_is_never_sent_twice(
    receive: Receive, start: Start, request_: bytes, way: str
) -> None:
    receiver = await receive(dying_after(ok(b"1"), ok(b"2"), way=way))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/1"))
    assert (await app.response()).body == b"1"
    app.send(request_)
    answer = await app.response()
    assert answer.status == 502
    assert "closed the connection" in str(problem(answer)["detail"])
    assert len(receiver.requests) == 2
    await proxied.settled(idle=0)


async def test_a_get_is_tried_twice_and_not_three_times(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.reset()

    receiver = await receive(script)
    proxied = await start(receiver)
    answer = await proxied.ask(get("/"))
    assert answer.status == 502
    problem(answer)
    assert len(receiver.requests) == 2


async def test_an_answer_that_has_begun_is_not_asked_for_again(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-")
        await asyncio.sleep(0.05)
        wire.reset()

    receiver = await receive(script)
    proxied = await start(receiver)
    assert (await proxied.ask(get("/"))).status == 502
    assert len(receiver.requests) == 1


async def test_the_second_try_has_the_token_of_its_own_moment(
    receive: Receive, start: Start, token_file: Path
) -> None:
    renewed = make_token(lifetime=3000)
    proxied: Proxied

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(ok())
        await wire.request()
        await asyncio.to_thread(token_file.write_text, renewed)
        slot = proxied.server.slots["receiver"]
        before = slot.current()
        assert before is not None
        await slot.renewed(before)
        wire.close()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/"))
        assert (await app.response()).status == 200
    first, again, second = receiver.requests
    assert first.one("authorization") == again.one("authorization") == f"Bearer {proxied.token}"
    assert second.one("authorization") == f"Bearer {renewed}"
    assert [len(wire.requests) for wire in receiver.connections] == [2, 1]


@pytest.mark.parametrize("tries", and_thoroughly(100, 1000))
async def test_the_keep_alive_race(receive: Receive, start: Start, tries: int) -> None:
    """The receiver closes idle connections just as they are used again: in so many tries of each of twenty apps, no GET
    fails and no POST doubles.
    """
    seen: list[str] = []

    async def script(wire: Wire) -> None:
        for number in range(3):
            request = await wire.request()
            seen.append(request.target)
            wire.forget()
            wire.send(ok(request.target.encode()))
            if number == 2:
                await turns(len(seen) % 7)
                wire.close()

    proxied = await start(await receive(script))

    async def client(name: int) -> None:
        app = await proxied.connect()
        for number in range(tries):
            target = f"/{name}/{number}"
            if number % 3:
                app.send(get(target))
                answer = await app.response()
                assert (answer.status, answer.body) == (200, target.encode())
            else:
                app.send(post(b"x", target=target + "/post"))
                assert (await app.response()).status in (200, 502)
            app.forget()
            await turns((name + number) % 5)

    await asyncio.gather(*(client(name) for name in range(20)))
    posts = [target for target in seen if target.endswith("/post")]
    assert len(posts) == len(set(posts))


# -- the receiver breaks off ------------------------------------------------------------


@for_each("way", ["close", "reset"])
@for_each(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n5\r\nhello\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n7\r\nhello".encode(),
        f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n5\r\nhello\r\n0\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    ],
)
async def test_a_broken_answer_never_ends_cleanly(
    receive: Receive, start: Start, said: bytes, way: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(said)
        await asyncio.sleep(0.05)
        if way == "close":
            wire.close()
        else:
            wire.reset()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/") + get("/canary"))
    with pytest.raises(Ended):
        await app.response()
    assert (
        len(receiver.requests) == 1
    )  # what was asked may have been done, and some of its answer was passed on
    await proxied.settled(idle=0)


@for_each("at", range(1, 39, 3))
async def test_a_reset_at_every_place(receive: Receive, start: Start, at: int) -> None:
    said = ok(b"hello")
    assert len(said) > 39

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(said[:at])
        await asyncio.sleep(0.02)
        wire.reset()

    proxied = await start(await receive(script))
    answer = await proxied.ask(get("/"))
    if at < said.index(b"\r\n\r\n") + 4:
        assert answer.status == 502
        problem(answer)


# -- early answers ------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [("Content-Length: 100000000",), (CHUNKED,)])
async def test_an_early_answer_reaches_an_app_that_goes_on_sending(
    receive: Receive, start: Start, fields: tuple[str, ...]
) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.stall()
        wire.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope")

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", *fields, method="POST"))
    block = b"10000\r\n" + bytes(0x10000) + b"\r\n"

    async def upload() -> None:
        while not app.lost:
            await app.pour(block)
            await turns()

    async with running(upload()):
        answer = await app.response()
    assert (answer.status, answer.body, answer.one("connection")) == (401, b"nope", "close")
    app.close()
    await proxied.settled(idle=0)


async def test_an_early_answer_that_streams_while_the_upload_does(receive: Receive, start: Start) -> None:
    """As gRPC-Web, or an app that answers each line: both ways at once, and a clean end."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.until(b"\r\n\r\n")
            wire.send(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode())
            while (size := int(await wire.until(b"\r\n"), 16)) > 0:
                piece = await wire.exactly(size + 2)
                wire.send(b"%x\r\n%b" % (size, piece))
            await wire.until(b"\r\n")
            wire.send(b"0\r\n\r\n")

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", CHUNKED, method="POST"))
    head = await app.until(b"\r\n\r\n")
    assert b"200 OK" in head
    for piece in (b"one", b"two", b"three"):
        app.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert await app.until(piece + b"\r\n")
    app.send(b"0\r\n\r\n")
    assert await app.until(b"0\r\n\r\n")
    assert len(receiver.connections) == 1


# -- the app goes away -----------------------------------------------------------------------


@pytest.mark.parametrize("way", [Wire.close, Wire.reset])
@pytest.mark.parametrize(
    "upload", [post(bytes(1000))[:-1], get("/", CHUNKED, method="POST") + b"5\r\nhello\r\n"]
)
async def test_an_app_that_goes_in_mid_upload(
    receive: Receive, start: Start, upload: bytes, way: Callable[[Wire], None]
) -> None:
    async def script(wire: Wire) -> None:
        with pytest.raises(Ended):
            await wire.request()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(upload)
    wire = await receiver.connection()
    await wire.wait(lambda: wire.received.endswith((bytes(999), b"hello\r\n")))
    way(app)
    await wire.gone()
    assert not wire.received.endswith(b"0\r\n\r\n")
    await proxied.settled(idle=0)


@pytest.mark.parametrize("way", [Wire.close, Wire.reset])
async def test_an_app_that_goes_in_mid_download(
    receive: Receive, start: Start, way: Callable[[Wire], None]
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode())
        while not wire.lost:
            wire.send(b"5\r\nhello\r\n")
            await asyncio.sleep(0.01)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"hello")
    way(app)
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)


async def test_an_app_that_goes_while_nothing_is_said(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    wire = await receiver.connection()
    await wire.wait(lambda: bool(wire.requests))
    app.close()
    await wire.gone()
    await proxied.settled(idle=0)


async def test_an_app_that_goes_while_the_receiver_stalls(receive: Receive, start: Start) -> None:
    """Nothing is read from the app then, its end included."""

    async def stalled(wire: Wire) -> None:
        wire.stall()

    receiver = await receive(stalled)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 100000000", method="POST"))
    with pytest.raises(TimeoutError):
        await app.pour(bytes(100_000_000), limit=0.2)
    app.reset()
    await proxied.settled(idle=0)


# -- backpressure -----------------------------------------------------------------------------

BOUND = 16 * 1024 * 1024  # what the kernel may take into its own buffers, on both connections


async def test_a_stalled_receiver_stalls_the_app(receive: Receive, start: Start) -> None:
    total = 200 * 1024 * 1024

    async def script(wire: Wire) -> None:
        wire.stall()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", f"Content-Length: {total}", method="POST"))
    with pytest.raises(TimeoutError):
        await app.pour(bytes(total), limit=0.2)
    assert app.sent < BOUND
    app.reset()


async def test_a_stalled_app_stalls_the_receiver(receive: Receive, start: Start) -> None:
    total = 200 * 1024 * 1024
    stalled = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            await wire.pour(bytes(total), limit=0.2)
        stalled.set()

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"\r\n\r\n")
    app.stall()
    async with asyncio.timeout(20):
        await stalled.wait()
    assert (await receiver.connection()).sent < BOUND
    app.reset()


async def test_who_has_stalled_and_goes_on_gets_everything(receive: Receive, start: Start) -> None:
    body = bytes(range(256)) * 4 * 10_000  # 10 MB

    async def script(wire: Wire) -> None:
        wire.stall()
        await eventually(lambda: proxied.server.context.stats.held["request"] > 0, "it is read all the same")
        wire.go_on()
        request = await wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(request.body)}\r\n\r\n".encode())
        await wire.pour(request.body)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", f"Content-Length: {len(body)}", method="POST"))
    await app.pour(body)
    app.stall()
    await eventually(lambda: proxied.server.context.stats.held["answer"] > 0, "it is sent all the same")
    app.go_on()
    answer = await app.response()
    assert answer.body == body
    await proxied.settled(idle=1)


# -- deadlines ----------------------------------------------------------------------------------


async def test_an_answer_that_does_not_come(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver, timeouts=Timeouts(response=30))
    app = await proxied.connect()
    app.send(post(b"hello"))
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    await proxied.elapse(31)
    answer = await app.response()
    assert answer.status == 504
    assert "http_response_timeout" in (answer.one("proxy-status") or "")
    assert problem(answer)["route"] == "receiver"
    await (await receiver.connection()).gone()
    app.send(get("/"))  # the app's connection is none the worse for it
    await eventually(lambda: len(receiver.requests) == 2, "no request")
    await proxied.elapse(31)
    assert (await app.response()).status == 504
    await proxied.settled(idle=0)


async def test_an_upload_that_stands_still(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, timeouts=Timeouts(idle=30))
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    far = await receiver.connection()
    await far.wait(lambda: far.received.endswith(b"hello"))
    await proxied.elapse(31)
    answer = await app.response()
    assert answer.status in (408, 504)
    assert answer.one("connection") == "close"
    problem(answer)
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)


async def test_a_download_that_stands_still(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    receiver = await receive(script)
    proxied = await start(receiver, timeouts=Timeouts(idle=30))
    app = await proxied.connect()
    app.send(get("/"))
    await app.wait(lambda: app.received.endswith(b"hello"))
    await proxied.elapse(31)
    with pytest.raises(Ended):
        await app.response()
    await (await receiver.connection()).gone()


async def test_what_moves_slowly_is_not_idle(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")

    receiver = await receive(script)
    proxied = await start(receiver, timeouts=Timeouts(idle=30, response=30))
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"\r\n\r\n")
    for _ in range(8):
        await proxied.elapse(25)
        (await receiver.connection()).send(b"x")
        assert await app.exactly(1) == b"x"
    await proxied.settled(idle=1)


async def test_an_app_that_reads_nothing_for_too_long(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with pytest.raises(TimeoutError):
            await wire.pour(bytes(100_000_000), limit=0.2)
        stalled.set()

    stalled = asyncio.Event()
    receiver = await receive(script)
    proxied = await start(receiver, timeouts=Timeouts(idle=30))
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"\r\n\r\n")
    app.stall()
    async with asyncio.timeout(20):
        await stalled.wait()
    (far,) = receiver.connections
    await proxied.elapse(29)
    assert not far.ended
    await proxied.elapse_until(lambda: far.ended, 31)
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)


# -- no token ------------------------------------------------------------------------------------


async def test_without_a_token_nothing_goes_upstream(
    receive: Receive, start: Start, tmp_path: Path, token: str
) -> None:
    receiver = await receive(answering(ok()))
    missing = tmp_path / "missing"
    proxied = await start(receiver, route={"identity": FileIdentity(str(missing))})
    app = await proxied.connect()
    app.send(get("/"))
    answer = await app.response()
    assert answer.status == 503
    told = problem(answer)
    assert (told["cause"], told["route"], told["audience"]) == (
        "file_missing",
        "receiver",
        "https://receiver.example",
    )
    assert told["remedy"]
    assert int(answer.one("retry-after") or 0) >= 1
    app.send(post(b"hello"))
    answer = await app.response()
    assert answer.status == 503
    assert not receiver.connections

    missing.write_text(token)
    for _ in range(100):
        answer = await proxied.ask(get("/"))
        if answer.status == 200:
            break
        await asyncio.sleep(0.05)
    assert answer.status == 200


async def test_a_public_route_has_no_token_and_passes_the_apps_own(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, route={"identity": NoIdentity(), "audience": None})
    await proxied.ask(get("/"))
    await proxied.ask(get("/", "Authorization: Basic eDp5", "Proxy-Authorization: Basic eDp5"))
    first, second = receiver.requests
    assert first.one("authorization") is None
    assert second.one("authorization") == "Basic eDp5"
    assert second.one("proxy-authorization") is None


# -- Google's own 401 ----------------------------------------------------------------------------

CHALLENGE = 'WWW-Authenticate: Bearer error="invalid_token" error_description="The access token could not be verified"'
UNAUTHORIZED = ok(b"no", CHALLENGE).replace(b"200 OK", b"401 Unauthorized")


async def test_a_refused_token_is_fetched_again_and_the_request_said_once_more(
    receive: Receive, start: Start, token_file: Path
) -> None:
    renewed = make_token(lifetime=3000)

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            if request.one("authorization") == f"Bearer {renewed}":
                wire.send(ok())
            else:
                await asyncio.to_thread(token_file.write_text, renewed)
                wire.send(UNAUTHORIZED)

    receiver = await receive(script)
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    app = await proxied.connect()
    for _ in range(3):
        app.send(get("/"))
        assert (await app.response()).status == 200
    assert len(receiver.requests) == 4
    await proxied.settled(idle=1)


PAY = b"p" * (MAX_BODY - 1) + b"!"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def renewing(token_file: Path, renewed: str, answer: bytes = UNAUTHORIZED) -> Script:
    """A receiver that takes the renewed token alone; when it refuses the other for the first time, the file has the new one."""

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            if request.one("authorization") == f"Bearer {renewed}":
                wire.send(ok(request.body))
            else:
                await asyncio.to_thread(token_file.write_text, renewed)
                wire.send(answer)

    return script


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (post(b"pay"), b"pay"),
        (post(PAY), PAY),
        (get("/", CHUNKED, method="POST") + chunked(b"pay", b"!"), b"pay!"),
        (
            get("/", CHUNKED, method="PUT")
            + chunked(*(PAY[at : at + 4096] for at in range(0, MAX_BODY, 4096))),
            PAY,
        ),
        (get("/", CHUNKED, method="POST") + chunked(), b""),
        (get("/", method="POST"), b""),
        (post(b"pay", "Expect: 100-continue"), b"pay"),
    ],
)
async def test_a_request_whose_body_came_whole_is_sent_once_more_with_it(
    receive: Receive, start: Start, token_file: Path, request_: bytes, body: bytes
) -> None:
    renewed = make_token(lifetime=3000)
    receiver = await receive(renewing(token_file, renewed))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    app = await proxied.connect()
    for _ in range(2):
        app.send(request_)
        answer = await app.response()
        assert (answer.status, answer.body) == (200, body)
    assert [request.body for request in receiver.requests] == [body] * 3
    second = receiver.requests[1]
    assert second.one("expect") is None
    assert proxied.server.context.router.bodies.octets == 0
    await proxied.settled(idle=1)


@pytest.mark.parametrize(
    "request_",
    [
        post(PAY + b"?"),
        get("/", CHUNKED, method="POST") + chunked(PAY, b"?"),
        get("/ws", *UPGRADE),
    ],
)
async def test_whatever_is_not_sent_again_renews_the_token_for_the_next(
    receive: Receive, start: Start, token_file: Path, request_: bytes
) -> None:
    renewed = make_token(lifetime=3000)
    receiver = await receive(renewing(token_file, renewed))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    assert (await proxied.ask(request_)).status == 401
    slot = proxied.server.slots["receiver"]
    await eventually(
        lambda: (token := slot.current()) is not None and token.value == renewed, "it is not renewed"
    )
    assert (await proxied.ask(post(b"pay"))).status == 200
    assert len(receiver.requests) == 2
    assert proxied.server.context.router.bodies.octets == 0


async def test_a_refusal_in_mid_upload_renews_it_too(
    receive: Receive, start: Start, token_file: Path
) -> None:
    renewed = make_token(lifetime=3000)

    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        await asyncio.to_thread(token_file.write_text, renewed)
        wire.send(UNAUTHORIZED)
        await wire.gone()

    proxied = await start(await receive(script))
    await eventually(lambda: proxied.server.ready, "no token")
    app = await proxied.connect()
    app.send(post(b"pay")[:-1])
    assert (await app.response()).status == 401
    slot = proxied.server.slots["receiver"]
    await eventually(
        lambda: (token := slot.current()) is not None and token.value == renewed, "it is not renewed"
    )
    app.send(b"y")
    await app.gone()
    assert proxied.server.context.router.bodies.octets == 0


async def test_a_receiver_that_refuses_everything_costs_one_fetch_a_minute(
    receive: Receive, start: Start, token_file: Path
) -> None:
    receiver = await receive(answering(UNAUTHORIZED))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    fetched = proxied.server.context.stats.fetches["file"].fresh
    app = await proxied.connect()
    for number in range(200):
        app.send(post(b"x") if number % 2 else get("/ws", *UPGRADE) if number % 3 else get("/"))
        assert (await app.response()).status == 401
        if number % 2 == 0 and number % 3:  # what follows a refused upgrade is not read
            app.close()
            app = await proxied.connect()
    fetches = proxied.server.context.stats.fetches["file"]
    assert fetches.fresh + fetches.unchanged <= fetched + 1


async def test_bodies_are_kept_up_to_a_bound_and_let_go_at_the_answer(receive: Receive, start: Start) -> None:
    asked = asyncio.Semaphore(0)
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        asked.release()
        await go.wait()
        wire.send(ok())

    proxied = await start(await receive(script))
    await eventually(lambda: proxied.server.ready, "no token")
    bodies = proxied.server.context.router.bodies
    bodies.most = 3 * MAX_BODY
    apps = [await proxied.connect() for _ in range(4)]
    for number, app in enumerate(apps, 1):
        app.send(post(PAY))
        async with asyncio.timeout(5):
            await asked.acquire()
        assert bodies.octets == min(number, 3) * MAX_BODY
    assert proxied.server.context.stats.limits["kept_bodies"] == 1
    apps[0].reset()
    await eventually(lambda: bodies.octets == 2 * MAX_BODY, "an app that has gone leaves its body")
    go.set()
    for app in apps[1:]:
        assert (await app.response()).status == 200
    assert bodies.octets == 0


async def test_the_second_401_passes_and_costs_no_more_tokens(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(UNAUTHORIZED))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    app = await proxied.connect()
    for number in range(5):
        app.send(get("/"))
        answer = await app.response()
        assert (answer.status, answer.body) == (401, b"no")
        assert answer.one("www-authenticate") == CHALLENGE.partition(": ")[2]
        assert len(receiver.requests) == number + 2


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (post(b"pay"), UNAUTHORIZED),
        (get("/", CHUNKED, method="POST") + chunked(b"pay"), UNAUTHORIZED),
        (get("/"), ok(b"no").replace(b"200 OK", b"401 Unauthorized")),
        (get("/"), ok(b"no", "WWW-Authenticate: Basic realm=x").replace(b"200 OK", b"401 Unauthorized")),
        (get("/"), ok(b"no", CHALLENGE).replace(b"200 OK", b"403 Forbidden")),
    ],
)
async def test_any_other_refusal_passes(receive: Receive, start: Start, request_: bytes, said: bytes) -> None:
    receiver = await receive(answering(said))
    proxied = await start(receiver)
    answer = await proxied.ask(request_)
    assert (answer.status, answer.body) == (401 if b"401" in said else 403, b"no")
    assert len(receiver.requests) == 1


async def test_an_apps_own_word_about_a_token_of_its_own_costs_ours_nothing(
    receive: Receive, start: Start
) -> None:
    own = 'WWW-Authenticate: Bearer realm="app", error="invalid_token", error_description="The token expired"'
    receiver = await receive(answering(ok(b"no", own).replace(b"200 OK", b"401 Unauthorized")))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    slot = proxied.server.slots["receiver"]
    token = slot.current()
    for number in range(3):
        answer = await proxied.ask(get("/"))
        assert (answer.status, answer.body, answer.one("www-authenticate")) == (
            401,
            b"no",
            own.partition(": ")[2],
        )
        assert len(receiver.requests) == number + 1
    assert token is not None
    assert slot.current() is token
    assert slot.refused(token)  # nobody has refused it within the minute


async def test_a_refused_token_stays_where_there_is_no_other_and_the_401_passes(
    receive: Receive, start: Start, token_file: Path
) -> None:
    receiver = await receive(answering(UNAUTHORIZED))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    slot = proxied.server.slots["receiver"]
    token = slot.current()
    await asyncio.to_thread(token_file.unlink)
    for number in range(3):
        answer = await proxied.ask(get("/"))
        assert (answer.status, answer.body) == (401, b"no")
        assert len(receiver.requests) == number + 2
        assert slot.current() is token is not None
    await proxied.settled(idle=1)


# -- whatever else a client says about the token ----------------------------------------------------

HOSTILE = {
    "connection names it": [
        "Connection: authorization, x-serverless-authorization, host, content-length, via"
    ],
    "connection names it, in pieces": [
        "Connection:",
        "Connection: AUTHORIZATION",
        "Connection: ,x-Serverless-Authorization,",
    ],
    "own copies": ["X-Serverless-Authorization: Bearer theirs", "x-serverless-authorization: Bearer theirs"],
    "own copies, odd case": [
        "x-SERVERLESS-authorization: Bearer theirs",
        "PROXY-authorization: Bearer theirs",
    ],
    "aliases": [
        "X_Serverless_Authorization: Bearer theirs",
        "X.Serverless.Authorization: Bearer theirs",
        "Proxy_Authorization: theirs",
    ],
    "two of its own": ["Authorization: Bearer theirs", "authorization: Bearer theirs"],
    "all at once": [
        "Connection: close, authorization, x-serverless-authorization",
        "Authorization: Bearer theirs",
        "X-Serverless-Authorization: Bearer theirs",
        "X-Serverless_Authorization: Bearer theirs",
        "Proxy-Authorization: Bearer theirs",
    ],
}


@for_each("case", HOSTILE)
async def test_exactly_one_token_goes_upstream_and_it_is_ours(
    receive: Receive, start: Start, case: str
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/", *HOSTILE[case], "Content-Length: 5", method="POST") + b"hello")
    assert (await app.response()).status == 200
    (request,) = receiver.requests
    assert request.body == b"hello"
    assert bytes(request.raw).count(proxied.token.encode()) == 1
    assert b"theirs" not in receiver.received
    ours = [value for name, value in request.fields if "authorization" in name]
    assert ours == [f"Bearer {proxied.token}"]
    assert request.one("host") == f"127.0.0.1:{receiver.port}"


async def test_an_apps_own_authorization_passes_beside_the_token(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    await proxied.ask(get("/", "Authorization: Bearer mine"))
    (request,) = receiver.requests
    assert request.one("authorization") == "Bearer mine"
    assert request.one("x-serverless-authorization") == f"Bearer {proxied.token}"


async def test_the_proxys_own_answer_to_head_has_no_body(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    app.send(get("/", "Origin: null", method="HEAD"))
    answer: Message = await app.response(to="HEAD")
    assert answer.status == 403
    assert int(answer.one("content-length") or 0) > 0
    app.send(get("/"))
    assert (await app.response()).status == 200


# -- apps that read slowly ---------------------------------------------------------------------------


async def test_a_steady_reader_is_not_idle_however_much_the_kernels_hold(
    receive: Receive, start: Start
) -> None:
    total = 16_000_000

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode())
        await wire.pour(bytes(total))

    proxied = await start(await receive(script), timeouts=Timeouts(idle=30))
    near = socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)  # more makes its steps longer
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(near, ("127.0.0.1", proxied.port))
        await loop.sock_sendall(near, get("/", "Connection: close"))
        got = 0
        for _ in range(30):  # 16 KB a second for four times the limit
            await proxied.elapse(4)
            got += len(await loop.sock_recv(near, 64 * 1024))
        assert got < total / 2
        last = b""
        while piece := await loop.sock_recv(near, 1 << 20):
            got += len(piece)
            last = piece[-1:]
        assert (got > total, last) == (True, b"\0")
    finally:
        near.close()


async def test_an_app_that_goes_before_the_first_step_towards_its_receiver_leaves_nothing(
    receive: Receive, start: Start
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    for _ in range(2):
        app = await proxied.connect()
        await eventually(lambda: bool(proxied.server.context.connections), "no connection")
        (connection,) = proxied.connections
        connection.data_received(get("/"))
        (exchange,) = connection.exchanges
        exchange.abandon()  # a warning of a coroutine that nobody awaits would fail the test
        app.close()
        await eventually(lambda: not proxied.server.context.connections, "it stays")
        gc.collect()
    assert not receiver.connections


# -- what seldom happens -----------------------------------------------------------------------------


async def test_a_forward_proxys_request_reaches_the_receiver_that_it_names(
    receive: Receive, start: Start
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    authority = f"127.0.0.1:{receiver.port}"
    answer = await proxied.ask(f"GET http://{authority}/a?b HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    assert answer.status == 200
    (request,) = receiver.requests
    assert (request.target, request.one("host")) == ("/a?b", authority)
    assert request.one("authorization") == f"Bearer {proxied.token}"


async def test_an_authorization_that_gives_way_to_a_functions_token_is_told_of_once(
    receive: Receive, start: Start
) -> None:
    receiver = await receive(answering(ok()))
    function = Upstream("http", "us-central1-shop.cloudfunctions.net", 80)
    proxied = await start(receiver, route={"upstream": function})
    proxied.pool.upstream = Upstream("http", "127.0.0.1", receiver.port)
    with capture_logs() as logs:
        for _ in range(2):
            assert (await proxied.ask(get("/", "Authorization: Bearer theirs"))).status == 200
    told = [line for line in logs if "Authorization is replaced" in line["event"]]
    assert [(line["log_level"], line["route"]) for line in told] == [("warning", "receiver")]
    assert "token_header" in told[0]["remedy"]
    assert b"theirs" not in receiver.received


async def test_a_bug_on_the_way_to_the_receiver_is_logged_and_answered(
    receive: Receive, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)

    async def fails(**_: object) -> UpstreamConnection:
        raise RuntimeError("a bug")

    app = await proxied.connect()
    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(proxied.pool, "connect", fails)
        app.send(get("/"))
        answer = await app.response()
    assert answer.status == 500
    assert b"a bug" not in answer.raw + answer.body
    problem(answer)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["exchange failed"]
    assert not receiver.connections
    app.send(get("/"))
    assert (await app.response()).status == 200


async def test_an_app_that_is_full_before_its_receiver_is_reached_holds_the_answer(
    receive: Receive, start: Start
) -> None:
    """As by interim answers that it did not read, before Google's 401 had the request said once more."""
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    await eventually(lambda: proxied.server.ready, "no token")
    app = await proxied.connect()
    await eventually(lambda: bool(proxied.server.context.connections), "no connection")
    (connection,) = proxied.connections
    connection.data_received(get("/"))
    connection.pause_writing()
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    await asyncio.sleep(0.1)
    assert app.received == b""
    connection.resume_writing()
    assert (await app.response()).body == b"hello"
    await proxied.settled(idle=1)


async def test_a_wait_for_the_token_outlasts_a_freeze(receive: Receive, start: Start, tmp_path: Path) -> None:
    """Cloud Run takes the CPU away between requests, and in the middle of one that waits: what then passes is nobody's delay."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    proxied = await start(
        await receive(answering(ok())),
        timeouts=Timeouts(connect=0.3 - TOKEN_GRACE),
        route={"identity": CommandIdentity(("/bin/cat", str(fifo)))},
    )
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: bool(proxied.server.context.active_exchanges()), "no request waits")
    time.sleep(0.5)  # noqa: ASYNC251 -- all of this process stands still
    await asyncio.sleep(0.1)  # five sweeps, which find it late by the world's time
    (waiting,) = proxied.server.context.active_exchanges()
    assert waiting.state is WAITING
    await asyncio.to_thread(fifo.write_text, proxied.token)
    await app.response()
