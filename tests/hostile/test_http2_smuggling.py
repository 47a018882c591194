"""What one version of HTTP says and the other would read otherwise: every table of hostile requests, translated both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from idtoken_proxy.settings.model import UpstreamProtocol
from tests.cases import for_each
from tests.engine.http2.peer import GET, POST, data, headers
from tests.engine.wire import Ended, Wire, answering, eventually, ok, turns
from tests.hostile.case import CANARY, Case
from tests.hostile.judge import Tokens, check, read
from tests.hostile.raw_http2 import PREFACE, Attacked, Raw, attacked, serve
from tests.hostile.strict import TCHAR, Reader
from tests.hostile.test_requests import HOSTILE
from tests.hostile.tokens import TOKENS

Pairs = Sequence[tuple[bytes, bytes]]
UP = [
    "request lines",
    "line ends",
    "field lines",
    "transfer codings",
    "lengths",
    "bodies",
    "targets and hosts",
]


# -- up: an app of HTTP/1.1, a receiver of HTTP/2 ------------------------------------------


async def say(world: Attacked, wire: bytes) -> bytes:
    app = await world.proxied.connect()
    try:
        app.send(wire)
        return await app.to_end()
    finally:
        app.close()
        world.proxied.clients.remove(app)


def upstream(world: Attacked) -> list[Raw]:
    found = []
    for wire in world.receiver.connections:
        raw = Raw(wire, PREFACE)
        raw.look()
        found.append(raw)
    return found


@for_each("version", ["1.1", "1.0"])
@for_each("method", ["GET", "HEAD", "POST"])
async def test_an_answer_without_a_body_or_a_length_ends_where_it_ends(
    tmp_path: Path, method: str, version: str
) -> None:
    """What is next on the app's connection must not be taken for its body."""
    async with attacked(tmp_path, serve, protocol=UpstreamProtocol.HTTP2) as world:
        app = await world.proxied.connect()
        for _ in range(2):
            app.send(
                f"{method} / HTTP/{version}\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n".encode()
            )
            answer = await app.response(to=method)
            assert (answer.status, answer.body) == (200, b"")
            assert answer.one("transfer-encoding") is None
            assert answer.one("content-length") == (None if method == "HEAD" else "0")


@for_each("family", UP)
async def test_nothing_malformed_becomes_a_request_of_http2(tmp_path: Path, family: str) -> None:
    async with attacked(tmp_path, serve, protocol=UpstreamProtocol.HTTP2) as world:
        begun = 0
        for case in HOSTILE[family].values():
            answer = await say(world, case.wire + CANARY)
            assert Reader(answer).response().status == case.status, (case.name, answer)
            begun += case.cut
        await turns(5)
        seen = [one for raw in upstream(world) for one in raw.streams.values()]
        assert len(seen) <= begun
        await eventually(
            lambda: all(one.reset is not None for raw in upstream(world) for one in raw.streams.values()),
            "a request that was never whole goes on",
        )
        assert not any(one.ended for one in seen)


async def test_no_token_is_lost_doubled_or_replaced_upwards(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve, protocol=UpstreamProtocol.HTTP2) as world:
        ours = f"Bearer {world.proxied.token}".encode()
        for number, case in enumerate(TOKENS.values(), 1):
            answer = await say(world, case.wire + CANARY)
            assert Reader(answer).response().status == case.status, (case.name, answer)
            if number % 50 == 0 or number == len(TOKENS):  # each look reads all again
                seen = [one for raw in upstream(world) for one in raw.streams.values()]
                assert len(seen) >= number, case.name
        for one in seen:
            _judge(one.heads[0], ours)


def _judge(head: Pairs, ours: bytes) -> None:
    tokens = {b"authorization", b"x-serverless-authorization", b"proxy-authorization"}
    assert [value for _, value in head].count(ours) == 1, head
    for name, value in head:
        if bytes(one if one in b"abcdefghijklmnopqrstuvwxyz0123456789" else 0x2D for one in name) in tokens:
            assert name in tokens, head
            assert value == ours or name == b"authorization", head
    names = {name for name, _ in head}
    assert not names & {b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"host", b"trailer"}


# -- down: an app of HTTP/2, a receiver of HTTP/1.1 ------------------------------------------


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def _with(*more: tuple[bytes, bytes], head: Pairs = GET) -> Pairs:
    return [*head, *more]


def _in(name: bytes, value: bytes, head: Pairs = GET) -> Pairs:
    return [(key, value if key == name else old) for key, old in head]


def _heads() -> Iterator[tuple[str, Pairs]]:
    """None of them may pass."""
    for octet in range(256):
        one = bytes([octet])
        if octet not in TCHAR or one.isupper():
            yield f"name with {octet:#04x}", _with((b"x" + one + b"a", b"b"))
            yield f"name beginning with {octet:#04x}", _with((one + b"xa", b"b"))
            yield f"name ending in {octet:#04x}", _with((b"xa" + one, b"b"))
        if (octet < 0x20 and octet != 9) or octet == 0x7F:
            for name in (b"x-a", b"cookie", b"authorization", b"content-type", b"referer"):
                yield f"{name!r} with {octet:#04x}", _with((name, b"a" + one + b"b"))
        if octet <= 0x20 or octet >= 0x7F or one in b'"#<>':
            yield f"path with {octet:#04x}", _in(b":path", b"/a" + one + b"b")
        if octet not in TCHAR:
            yield f"method with {octet:#04x}", _in(b":method", b"G" + one + b"T")
        if octet <= 0x20 or octet >= 0x7F or one in b'"#<>@/?\\^`{|}':
            yield f"authority with {octet:#04x}", _in(b":authority", b"localhost" + one)
    for blank in (b" ", b"\t"):
        yield f"value beginning with {blank!r}", _with((b"x-a", blank + b"b"))
        yield f"value ending in {blank!r}", _with((b"x-a", b"b" + blank))
    for name, value in (
        (b"connection", b"close"),
        (b"connection", b"authorization"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b""),
        (b"upgrade", b"websocket"),
        (b"te", b"trailers, chunked"),
        (b"te", b"gzip"),
        (b"host", b"evil.test"),
        (b"content-length", b"+0"),
        (b"content-length", b"0, 0"),
        (b"content-length", b"0x0"),
        (b"content-length", b""),
        (b"content-length", b"-1"),
        (b"content-length", b"5"),
        (b"content-length", b"18446744073709551616"),
        (b"content-length", b"\xd9\xa0"),
        (b":path", b"/b"),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        (b"", b"b"),
        (b":", b"b"),
    ):
        yield f"{name!r}: {value!r}", _with((name, value))
    yield "two lengths", _with((b"content-length", b"0"), (b"content-length", b"0"))
    yield "two hosts", _with((b"host", b"localhost"), (b"host", b"localhost"))
    yield "a value with a request", _with((b"x-a", b"b\r\n\r\n" + SMUGGLED))
    yield "a name with a request", _with((b"x: a\r\n\r\n" + SMUGGLED.lower(), b"b"))
    yield "a path with a request", _in(b":path", b"/ HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED)
    yield "a method with a request", _in(b":method", SMUGGLED + b"GET")
    yield "an authority with a request", _in(b":authority", b"localhost\r\n\r\n" + SMUGGLED)
    for path in (b"", b"*", b"a", b"http://localhost/", b"localhost:1", b"?a"):
        yield f"path {path!r}", _in(b":path", path)
    for method in (b"CONNECT", b"", b"GET /x HTTP/1.1"):
        yield f"method {method!r}", _in(b":method", method)
    yield "no path", GET[:3]
    yield "a pseudo-field behind a field", [*GET[:3], (b"x-a", b"b"), GET[3]]


BAD_BODIES: dict[str, tuple[Pairs, bytes]] = {
    "longer than its length": (_with((b"content-length", b"1"), head=POST), b"x" + SMUGGLED),
    "longer than no length": (_with((b"content-length", b"0"), head=POST), SMUGGLED),
    "shorter than its length": (_with((b"content-length", b"99"), head=POST), b"x"),
    "of a length, and none": (_with((b"content-length", b"9"), head=POST), b""),
}


def judged(world: Attacked) -> list[bytes]:
    """The targets of all whole requests that the receiver got."""
    tokens = Tokens(world.proxied.token, "another")
    targets = []
    for wire in world.receiver.connections:
        record = read(bytes(wire.received))
        for head in (*record.requests, *([record.begun] if record.begun else [])):
            check(head, tokens, f"127.0.0.1:{world.receiver.port}".encode())
        targets += [head.target for head in record.requests]
    return targets


async def plain(wire: Wire) -> None:
    await answering(ok())(wire)


async def test_nothing_malformed_becomes_a_request_of_http1(tmp_path: Path) -> None:
    async with attacked(tmp_path, plain, protocol=UpstreamProtocol.HTTP1) as world:
        app, at = await world.app(), 1
        for name, pairs in _heads():
            if at > 100:  # no more of them are borne on one connection
                app.close()
                app, at = await world.app(), 1
            app.send(headers(at, pairs, end=True))
            seen = await app.done(at)
            assert seen.reset == 1 or (seen.status or 0) >= 400, (name, seen)
            at += 2
        assert not world.receiver.connections


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_body_of_another_length_is_never_a_whole_request(tmp_path: Path, name: str) -> None:
    pairs, body = BAD_BODIES[name]
    async with attacked(tmp_path, plain, protocol=UpstreamProtocol.HTTP1) as world:
        app = await world.app()
        app.send(headers(1, pairs), data(1, body, end=True))
        seen = await app.done(1)
        assert seen.reset == 1 or (name == "longer than no length" and seen.reset is not None), seen
        app.send(headers(3, [*GET[:3], (b":path", b"/canary")], end=True))
        assert (await app.done(3)).status == 200
        assert judged(world) in ([b"/canary"], [b"/", b"/canary"])
        assert SMUGGLED not in world.receiver.received


async def test_no_token_is_lost_doubled_or_replaced_downwards(tmp_path: Path) -> None:
    """What HTTP/1.1's table says, less what names a connection's own, which HTTP/2 refuses."""
    async with attacked(tmp_path, plain, protocol=UpstreamProtocol.HTTP1) as world:
        app, at = await world.app(), 1
        for case in TOKENS.values():
            pairs = [pair for pair in _pairs_of(case) if pair[0] not in _OF_HTTP1]
            app.send(headers(at, [*POST, *pairs]), data(at, b"hello", end=True))
            seen = await app.done(at)
            assert (seen.status, seen.reset) == (200, None), (case.name, seen)
            at += 2
        assert judged(world) == [b"/"] * len(TOKENS)


_OF_HTTP1 = (b"connection", b"host", b"transfer-encoding")


def _pairs_of(case: Case) -> Pairs:
    lines = case.wire.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


async def test_the_well_formed_passes_downwards(tmp_path: Path) -> None:
    async with attacked(tmp_path, plain, protocol=UpstreamProtocol.HTTP1) as world:
        app = await world.app()
        odd = [(b"x-" + bytes([one]), b"b") for one in TCHAR if not bytes([one]).isupper()]
        app.send(headers(1, [*POST, *odd, (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-e", b"\xff\t!")]))
        app.send(data(1, SMUGGLED, end=True), headers(3, [*GET, (b"te", b"trailers")], end=True))
        assert (await app.done(1)).status == 200
        assert (await app.done(3)).status == 200
        assert judged(world) == [b"/", b"/"]
        assert b"cookie: a=1; b=2\r\n" in world.receiver.received


async def test_a_receiver_s_trailers_and_lengths_are_read_once(tmp_path: Path) -> None:
    """Of HTTP/1.1, by an app of HTTP/2: what is malformed there is none here."""
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n:status: 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n:status: 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ]

    async def script(wire: Wire) -> None:
        try:
            while True:
                request = await wire.request()
                wire.send(answers[int(request.target.strip("/"))])
                wire.close()
        except Ended:
            return

    async with attacked(tmp_path, script, protocol=UpstreamProtocol.HTTP1) as world:
        app = await world.app()
        for number, answer in enumerate(answers):
            stream_id = 2 * number + 1
            app.send(headers(stream_id, [*GET[:3], (b":path", b"/%d" % number)], end=True))
            seen = await app.done(stream_id)
            assert not seen.clean, (answer, seen)
