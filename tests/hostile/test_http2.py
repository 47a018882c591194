"""HTTP/2 against a proxy that runs: what an app can do to it, what a receiver can, and that nobody else notices."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.engine.http2.frames import frame as whole
from idtoken_proxy.engine.http2.hpack_encoder import literal
from idtoken_proxy.engine.http2_downstream import MAX_STREAMS, Http2Downstream
from idtoken_proxy.settings.model import Timeouts, UpstreamProtocol
from tests.cases import for_each
from tests.engine.http2.peer import GET, POST, block, data, headers
from tests.engine.wire import Ended, Wire, eventually
from tests.hostile.raw_http2 import (
    ACKNOWLEDGED,
    CALL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    LARGEST,
    OK,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    SETTINGS,
    Attacked,
    Raw,
    attacked,
    frame,
    goaway,
    rst,
    serve,
    settings,
    window,
)

PROTOCOL, FLOW, SIZE, COMPRESSION, CALM = 1, 3, 6, 9, 11
MANY = 4000


def each(made: Callable[[int], bytes], count: int = MANY) -> bytes:
    """For as many streams."""
    return b"".join(made(2 * number + 1) for number in range(count))


BOMB = literal(0, b"x-bomb", b"y" * 4000, 0x40, 0x3F)  # into the table
ENDLESS = frame(HEADERS, 0, 1, block(GET))

# What ends the connection, and with which code.
ATTACKS: dict[str, tuple[bytes, int]] = {
    "rapid reset": (each(lambda one: headers(one, GET, end=True) + rst(one)), CALM),
    "made you reset, by a window": (each(lambda one: headers(one, GET, end=True) + window(one, 0)), CALM),
    "made you reset, by an overflow": (
        each(lambda one: headers(one, CALL) + window(one, LARGEST) + window(one, LARGEST)),
        CALM,
    ),
    "made you reset, by a length": (
        each(lambda one: headers(one, [*CALL, (b"content-length", b"9")]) + data(one, b"x", end=True)),
        CALM,
    ),
    "malformed heads": (each(lambda one: headers(one, GET[:1], end=True)), CALM),
    "CONTINUATION": (ENDLESS + frame(CONTINUATION, 0, 1) * MANY, CALM),
    "CONTINUATION with fields": (
        ENDLESS + frame(CONTINUATION, 0, 1, block([(b"x", b"y" * 9000)])) * 20,
        CALM,
    ),
    "HPACK bomb": (frame(HEADERS, 0x5, 1, block(GET) + BOMB + b"\xbe" * 5000), CALM),
    "HPACK bomb, spread": (
        frame(HEADERS, 0x5, 1, block(GET) + BOMB)
        + each(lambda one: frame(HEADERS, 0x5, one + 2, b"\xbe" * 9000)),
        CALM,
    ),
    "many fields": (frame(HEADERS, 0x5, 1, block(GET) + b"\x90" * 3000), CALM),
    "integer run-away": (
        frame(HEADERS, 0x5, 1, block(GET) + b"\x7f" + b"\xff" * 5000 + b"\x01"),
        COMPRESSION,
    ),
    "a huge index": (frame(HEADERS, 0x5, 1, block(GET) + b"\xff\xff\xff\xff\x0f"), COMPRESSION),
    "a huge table": (frame(HEADERS, 0x5, 1, b"\x3f\xe1\xff\xff\x0f" + block(GET)), COMPRESSION),
    "table sizes": (frame(HEADERS, 0x5, 1, b"\x20\x3f\xe1\x1f" * 500 + block(GET)), COMPRESSION),
    "PING": (frame(PING, 0, 0, b"12345678") * MANY, CALM),
    "SETTINGS": (settings(window=1) * MANY, CALM),
    "SETTINGS in one": (frame(SETTINGS, 0, 0, b"\0\x01\0\0\x10\0" * 2700) * 3, CALM),
    "SETTINGS that nobody sent": (ACKNOWLEDGED * MANY, CALM),
    "empty DATA": (headers(1, CALL) + data(1) * MANY, CALM),
    "padded DATA of nothing": (headers(1, CALL) + frame(DATA, 0x8, 1, b"\xff" + bytes(255)) * 1500, CALM),
    "PRIORITY": (each(lambda one: frame(PRIORITY, 0, one, bytes(5))), CALM),
    "WINDOW_UPDATE": (window(0, 1) * MANY, CALM),
    "WINDOW_UPDATE of what has ended": (headers(1, GET, end=True) + rst(1) + window(1, 1) * MANY, CALM),
    "RST_STREAM of what has ended": (headers(1, GET, end=True) + rst(1) * MANY, CALM),
    "unknown frames": (frame(0xEE, 0, 0) * MANY, CALM),
    "trailers of what was refused": (
        headers(1, GET[:1]) + headers(1, [(b"x", b"y")], end=True) * MANY,
        CALM,
    ),
    "a window of 0 for all": (window(0, 0), PROTOCOL),
    "a window beyond all": (window(0, LARGEST), FLOW),
    "a first window beyond all": (frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"), FLOW),
    "DATA on no stream": (data(1, b"x"), PROTOCOL),
    "a frame that is too long": (headers(1, CALL) + frame(DATA, 0, 1, bytes(16_385)), SIZE),
    "a push": (frame(PUSH, END_HEADERS, 1, bytes(4)), PROTOCOL),
    "an even stream": (headers(2, GET, end=True), PROTOCOL),
    "streams backwards": (headers(9, GET, end=True) + headers(3, GET, end=True), PROTOCOL),
    "a head within a head": (ENDLESS + headers(3, GET, end=True), PROTOCOL),
}


async def silent(wire: Wire) -> None:
    """A receiver's script: requests are taken, and none is answered."""
    await Raw.receiver(wire)


@for_each("name", ATTACKS)
async def test_an_attack_ends_its_own_connection(tmp_path: Path, name: str) -> None:
    octets, code = ATTACKS[name]
    async with attacked(tmp_path, serve) as world:
        await world.works()
        app = await world.app()
        app.send(octets)
        assert await app.gone() == code
        await world.works()
        await eventually(lambda: not world.attackers, "the connection is still there")
        assert len(world.receiver.connections) <= 3


async def test_what_is_cancelled_at_once_reaches_the_receiver_no_more_often_than_the_budget(
    tmp_path: Path,
) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        app.send(*(headers(one, GET, end=True) + rst(one) for one in range(1, 4000, 2)))
        await app.gone()
        await world.works()
        assert world.received < 200


async def test_ten_thousand_streams_beyond_the_limit(tmp_path: Path) -> None:
    async with attacked(tmp_path, silent) as world:
        app = await world.app()
        app.send(each(lambda one: headers(one, CALL), 10_000))
        assert await app.gone() == CALM
        refused = [seen for seen in app.streams.values() if seen.reset == 7]
        assert len(refused) > 100
        assert world.received <= MAX_STREAMS


@pytest.mark.parametrize("pairs", [CALL, GET], ids=["gRPC", "plain"])
async def test_an_app_that_reads_nothing_gets_no_more_than_it_can_hold(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]]
) -> None:
    """Refusals await nobody, and those in gRPC's form have no body that a window could hold back."""
    async with attacked(tmp_path, serve) as world:
        app = await world.app(settings(window=LARGEST) + window(0, 1 << 30) + ACKNOWLEDGED)
        app.wire.stall()
        (connection,) = world.attackers
        head = block([*pairs, (b"origin", b"http://evil.test")])
        at, beyond = 1, 0
        while beyond < 5:  # what the kernel takes comes first, and is another amount on each machine
            app.send(b"".join(whole(HEADERS, 0x5, one, head) for one in range(at, at + 1000, 2)))
            at += 1000
            await asyncio.sleep(0.01)
            assert world.weight(connection) < 4 << 20
            assert at < 60_000
            beyond += not connection._reading
        assert not connection._reading
        await world.works()
        app.wire.go_on()
        for one in range(999, at, 1000):  # each with its own patience
            await app.until(functools.partial(_is_over, one))
        assert {(seen.status, seen.grpc) for seen in app.streams.values()} == {
            (403, None) if pairs is GET else (200, 7)
        }


def _is_over(stream: int, app: Raw) -> bool:
    return stream in app.streams and app.streams[stream].over


async def test_many_requests_in_one_read_leave_others_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app(settings(window=LARGEST) + window(0, 1 << 30) + ACKNOWLEDGED)
        (connection,) = world.attackers
        head = block([*GET, (b"origin", b"http://evil.test")])
        turns: list[int] = []
        answered = connection.core.send_head

        def counted(*args: Any, **more: Any) -> None:
            turns[-1] += 1
            answered(*args, **more)

        monkeypatch.setattr(connection.core, "send_head", counted)
        app.send(each(lambda one: whole(HEADERS, 0x5, one, head), 3000))
        while len(app.streams) < 3000:
            turns.append(0)
            await asyncio.sleep(0)
            app.look()
        assert max(turns) < 600


async def test_a_goaway_that_nobody_reads_is_no_reason_to_stay(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app(settings(window=LARGEST) + window(0, 1 << 30) + ACKNOWLEDGED)
        (connection,) = world.attackers
        await clog(app, connection)
        app.send(window(0, LARGEST))
        await eventually(lambda: connection.core.failure is not None or not connection._reading, "it goes on")
        app.wire.go_on()
        app.wire.stall()
        await world.proxied.elapse(4000)
        await world.proxied.elapse(4000)
        await world.proxied.elapse(4000)
        await eventually(lambda: not world.attackers, "the connection is still there")
        await world.works()


async def clog(app: Raw, connection: Http2Downstream) -> None:
    """Answers that are refused wait for an app that does not read."""
    app.wire.stall()
    head = block([*GET, (b"origin", b"http://evil.test")])
    at = 1
    while not connection.transport.get_write_buffer_size():
        app.send(b"".join(whole(HEADERS, 0x5, one, head) for one in range(at, at + 400, 2)))
        at += 400
        await asyncio.sleep(0.005)


async def test_a_drain_has_its_end_whatever_the_app_asks_for_meanwhile(tmp_path: Path) -> None:
    """It neither answers the PING nor stops to ask."""
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        app.send(headers(1, GET, end=True))
        await app.done(1)
        world.attackers[0].drain()
        await app.until(lambda app: app.goaways)
        app.send(headers(3, GET, end=True))
        assert (await app.done(3)).clean  # it may not have known
        await world.proxied.elapse(2)
        await app.until(lambda app: len(app.goaways) == 2)
        assert app.goaways == [(LARGEST, 0), (3, 0)]
        await app.wire.gone()


# -- slow ones -----------------------------------------------------------------------------


def _have(octets: int, app: Raw) -> bool:
    return all(len(seen.body) >= octets for seen in app.streams.values())


async def test_a_window_of_one_octet_holds_up_nobody_else(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app(settings(window=1) + ACKNOWLEDGED)
        calls = range(1, 2 * 100, 2)
        app.send(*(headers(one, CALL) + data(one, b"x" * 600, end=True) for one in calls))
        await app.until(lambda app: all(app.stream(one).body for one in calls))
        for octets in range(2, 7):
            app.send(*(window(one, 1) for one in calls))
            await app.until(functools.partial(_have, octets))
        await world.works()
        app.send(settings(window=10_000))
        await app.until(lambda app: all(app.stream(one).clean for one in calls))


async def test_streams_whose_window_never_opens_end(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app(settings(window=0) + ACKNOWLEDGED)
        timed = [*CALL, (b"grpc-timeout", b"99999999H")]
        app.send(headers(1, timed), data(1, b"x" * 600, end=True), headers(3, CALL), data(3, b"y", end=True))
        await app.until(lambda app: app.stream(1).heads and app.stream(3).heads)
        (connection,) = world.attackers
        await eventually(lambda: not connection.exchanges, "the receiver's part is not over")
        await world.proxied.elapse(700)
        assert not (await app.done(1)).clean
        assert not (await app.done(3)).clean
        assert not connection.core.streams
        await world.works()


FIRST_WORDS = {
    "nothing": b"",
    "half a preface": PREFACE[:10],
    "a preface": PREFACE,
    "SETTINGS": PREFACE + settings(),
    "half a head": PREFACE + settings() + ACKNOWLEDGED + ENDLESS,
    "half a frame": PREFACE + settings() + ACKNOWLEDGED + headers(1, GET, end=True)[:-1],
}


@for_each("name", FIRST_WORDS)
async def test_who_says_no_more_is_not_waited_for(tmp_path: Path, name: str) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.proxied.connect()
        app.send(FIRST_WORDS[name])
        await eventually(lambda: bool(world.proxied.connections), "it was not taken")
        await world.works()
        await world.proxied.elapse_until(lambda: app.ended, 100)


async def test_small_pieces_that_wait_for_their_receiver_are_not_kept_one_by_one(tmp_path: Path) -> None:
    async def takes_nothing(wire: Wire) -> None:
        await Raw.receiver(wire, settings(window=0) + ACKNOWLEDGED)

    async with attacked(tmp_path, takes_nothing) as world:
        app = await world.app()
        app.send(headers(1, CALL), data(1, b"ab") * 50_000)
        (connection,) = world.attackers
        await eventually(lambda: world.pieces() == 100_000, "they did not come")
        assert connection.core.streams
        assert world.pieces(count=True) < 100


# -- receivers ----------------------------------------------------------------------------

HEAD = headers(1, OK)
GRPC_OK = [(b"grpc-status", b"0")]
HUGE = block([(b"x-%d" % n, b"y" * 15_000) for n in range(30)])

ANSWERS: dict[str, bytes] = {
    "no status": headers(1, [(b"x-a", b"b")], end=True),
    "a status of four digits": headers(1, [(b":status", b"2000")], end=True),
    "a status of letters": headers(1, [(b":status", b"ok!")], end=True),
    "two statuses": headers(1, [*OK, *OK], end=True),
    "a status behind a field": headers(1, [(b"x-a", b"b"), *OK], end=True),
    "a request's pseudo-field": headers(1, [*OK, (b":path", b"/")], end=True),
    "an upper-case name": headers(1, [*OK, (b"X-A", b"b")], end=True),
    "a name with a line end": headers(1, [*OK, (b"x\r\na", b"b")], end=True),
    "a value with a line end": headers(1, [*OK, (b"x-a", b"b\r\nset-cookie: c")], end=True),
    "a value with NUL": headers(1, [*OK, (b"x-a", b"b\0")], end=True),
    "transfer-encoding": headers(1, [*OK, (b"transfer-encoding", b"chunked")], end=True),
    "connection": headers(1, [*OK, (b"connection", b"close")], end=True),
    "two lengths": headers(1, [*OK, (b"content-length", b"0"), (b"content-length", b"0")], end=True),
    "a length that is none": headers(1, [*OK, (b"content-length", b"+0")], end=True),
    "too short for its length": headers(1, [*OK, (b"content-length", b"9")]) + data(1, b"x", end=True),
    "nothing for its length": headers(1, [*OK, (b"content-length", b"9")], end=True),
    "too long for its length": headers(1, [*OK, (b"content-length", b"1")]) + data(1, b"xx", end=True),
    "trailers short of the length": headers(1, [*OK, (b"content-length", b"9")])
    + headers(1, GRPC_OK, end=True),
    "trailers with a pseudo-field": HEAD + headers(1, [*OK, *GRPC_OK], end=True),
    "trailers with a line end": HEAD + headers(1, [(b"grpc-status", b"0\r\n")], end=True),
    "trailers with connection": HEAD + headers(1, [(b"connection", b"x"), *GRPC_OK], end=True),
    "trailers that are no end": HEAD + headers(1, GRPC_OK),
    "two heads": HEAD + headers(1, OK, end=True),
    "DATA before the head": data(1, b"x", end=True),
    "an interim answer for an end": headers(1, [(b":status", b"103")], end=True),
    "a 101": headers(1, [(b":status", b"101")]) + HEAD,
    "a 100 with a length": headers(1, [(b":status", b"100"), (b"content-length", b"1")]) + HEAD,
    "too many interim answers": headers(1, [(b":status", b"103")]) * 100 + headers(1, OK, end=True),
    "an answer to no request": HEAD + headers(3, OK, end=True),
    "a stream of its own": HEAD + headers(2, OK, end=True),
    "a promise": HEAD + frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block(GET)),
    "HPACK of nothing": frame(HEADERS, 0x5, 1, b"\x80"),
    "an index of nothing": frame(HEADERS, 0x5, 1, b"\xff\x7f"),
    "HPACK bomb": frame(HEADERS, 0x5, 1, block(OK) + BOMB + b"\xbe" * 5000),
    "a head without end": frame(HEADERS, 1, 1, block(OK)) + frame(CONTINUATION, 0, 1) * 100,
    "a head that is too large": frame(HEADERS, 1, 1, block(OK))
    + b"".join(frame(CONTINUATION, 0, 1, HUGE[at : at + 16_000]) for at in range(0, len(HUGE), 16_000)),
    "a frame that is too long": HEAD + frame(DATA, 1, 1, bytes(16_385)),
    "PING flood": HEAD + frame(PING, 0, 0, bytes(8)) * MANY,
    "SETTINGS flood": HEAD + settings(window=9) * MANY,
    "empty DATA flood": HEAD + data(1) * MANY,
    "WINDOW_UPDATE flood": HEAD + window(0, 1) * MANY,
    "WINDOW_UPDATE of 0": HEAD + window(1, 0),
    "WINDOW_UPDATE of too much": HEAD + window(0, LARGEST),
    "a first window of too much": HEAD + frame(SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"),
    "a frame size of too little": HEAD + frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\x01"),
    "SETTINGS on a stream": HEAD + frame(SETTINGS, 0, 1),
    "SETTINGS in odd octets": HEAD + frame(SETTINGS, 0, 0, b"x"),
    "a GOAWAY that grows": HEAD + goaway(1) + goaway(3),
    "a GOAWAY that is too short": HEAD + frame(7, 0, 0, b"x"),
    "an error for all": goaway(0, 2),
    "HTTP/1.1": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    **{f"reset with {code}": rst(1, code) for code in (*range(0xE), 99, LARGEST)},
    **{f"reset with {code} behind the head": HEAD + rst(1, code) for code in (0, 2, 7, 8)},
    **{f"reset with {code} behind DATA": HEAD + data(1, b"x") + rst(1, code) for code in (0, 2, 7, 8)},
}
# Behind these the receiver closes.
CLOSED: dict[str, bytes] = {
    "nothing": b"",
    "half a frame": HEAD[:-1],
    "a head": HEAD,
    "a part of its length": headers(1, [*OK, (b"content-length", b"9")]) + data(1, b"x"),
    "a part": HEAD + data(1, b"x"),
    "half of the trailers": HEAD + data(1, b"x") + headers(1, GRPC_OK, end=True)[:-1],
    "more than the window": HEAD + data(1, bytes(16_384)) * 200,
    "a polite GOAWAY": HEAD + data(1, b"x") + goaway(1),
}


def hostile(octets: bytes, *, closes: bool = False) -> Callable[[Wire], Awaitable[object]]:
    """A receiver's script: such an answer on each connection that is asked for /attacked, and good ones elsewhere."""

    async def script(wire: Wire) -> None:
        raw = await Raw.receiver(
            wire, settings(streams=100, window=LARGEST) + ACKNOWLEDGED + window(0, 1 << 30)
        )
        await raw.until(lambda raw: raw.streams)
        if raw.stream(1).all(b":path") == [b"/attacked"]:
            await raw.until(lambda raw: raw.stream(1).over)
            raw.send(octets)
            if closes:
                wire.close()
            else:
                await serve(wire, raw, begun=True)
        else:
            await serve(wire, raw)

    return script


CASES = [
    *((name, octets, False) for name, octets in ANSWERS.items()),
    *((f"{n}, and closes", o, True) for n, o in CLOSED.items()),
]


@for_each("kind", ["call", "plain", "HTTP/1.1"])
@for_each(("name", "octets", "closes"), CASES, ids=[name for name, *_ in CASES])
async def test_a_broken_answer_is_never_a_good_one(
    tmp_path: Path, *, name: str, octets: bytes, closes: bool, kind: str
) -> None:
    protocol = UpstreamProtocol.HTTP2 if kind == "HTTP/1.1" else UpstreamProtocol.AUTO
    async with attacked(tmp_path, hostile(octets, closes=closes), protocol=protocol) as world:
        if kind == "HTTP/1.1":
            await over_http1(world)
        else:
            app = await world.app()
            pairs = [
                (key, b"/attacked" if key == b":path" else value)
                for key, value in (CALL if kind == "call" else GET)
            ]
            app.send(headers(1, pairs, end=True))
            seen = await app.done(1)
            assert not seen.clean, seen
            assert seen.status != 200 or seen.grpc or seen.reset, seen
        await world.works()
        await world.proxied.settled()


async def over_http1(world: Attacked) -> None:
    app = await world.proxied.connect()
    app.send(b"GET /attacked HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        answer = await app.response()
        while answer.status < 200:
            answer = await app.response()
    except Ended:
        return
    assert answer.status >= 500, answer


async def test_a_receiver_that_never_acknowledges_is_none_the_worse(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        await serve(wire, await Raw.receiver(wire, settings()))

    async with attacked(tmp_path, script) as world:
        await world.works()
        await world.works()


BARREN = {
    "allows no streams": settings(streams=0) + ACKNOWLEDGED,
    "goes at once": settings() + ACKNOWLEDGED + goaway(0),
}


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("name", BARREN)
async def test_a_receiver_that_takes_nothing_is_not_dialled_without_end(
    tmp_path: Path, *, name: str, closes: bool
) -> None:
    async def script(wire: Wire) -> None:
        await Raw.receiver(wire, BARREN[name])
        if closes:
            wire.close()

    async with attacked(tmp_path, script) as world:
        app = await world.app()
        app.send(headers(1, CALL, end=True))
        assert (await app.done(1)).grpc == 14
        assert len(world.receiver.connections) <= 4
        await eventually(lambda: not world.proxied.pool.live, "connections that are good for nothing stay")


async def test_a_receiver_without_settings_leaves_no_connection_behind(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(PREFACE)

    async with attacked(tmp_path, script, timeouts=Timeouts(connect=0.1)) as world:
        app = await world.app()
        app.send(headers(1, CALL, end=True))
        assert (await app.done(1)).grpc == 14
        await eventually(lambda: not world.proxied.pool.live, "the connection is still there")
        await world.receiver.connections[0].gone()


async def test_a_receiver_that_reads_nothing_is_not_written_to_without_end(tmp_path: Path) -> None:
    stalled: list[Wire] = []

    async def script(wire: Wire) -> None:
        raw = await Raw.receiver(
            wire, settings(window=LARGEST, streams=100) + ACKNOWLEDGED + window(0, 1 << 30)
        )
        if stalled:
            await serve(wire, raw)
        stalled.append(wire)
        wire.stall()

    async with attacked(tmp_path, script) as world:
        app = await world.app()
        for one in range(1, 100, 2):
            app.send(headers(one, CALL), data(one, bytes(16_000)) * 16)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert world.upstream_weight() < 50 * (256 * 1024 + 1000)
        await world.works()  # on another connection
        app.close()


def _has_room(octets: int, app: Raw) -> bool:
    return 256 * 1024 + app.windows.get(1, 0) >= octets


async def test_an_upload_that_was_held_back_goes_on_elsewhere(tmp_path: Path) -> None:
    """The receiver's first window is small, and it goes before it has done anything."""
    gone: list[Wire] = []
    last: list[Raw] = []

    async def script(wire: Wire) -> None:
        raw = await Raw.receiver(
            wire, settings(window=10 if not gone else LARGEST) + ACKNOWLEDGED + window(0, 1 << 30)
        )
        last.append(raw)
        if gone:
            await serve(wire, raw)
        gone.append(wire)
        await raw.until(lambda raw: raw.stream(1).body)
        await go.wait()
        raw.send(goaway(0))

    go = asyncio.Event()
    async with attacked(tmp_path, script) as world:
        app = await world.app()
        app.send(headers(1, POST), data(1, b"x" * 1000))
        await eventually(lambda: any(one.held for one in world.attackers[0]._apps()), "it is not held")
        go.set()
        sent = 1000
        await eventually(lambda: len(world.receiver.connections) > 1, "it was not said again")
        while sent < 600_000:
            await app.until(functools.partial(_has_room, sent + 10_000))
            app.send(data(1, b"x" * 10_000))
            sent += 10_000
        app.send(data(1, end=True))
        assert (await app.done(1)).clean
        assert len(last[-1].stream(1).body) == sent


@pytest.mark.parametrize("behind", [b"", HEAD, HEAD + data(1, b"x")], ids=["at once", "the head", "DATA"])
async def test_a_reset_without_an_error_is_one_to_the_app(tmp_path: Path, behind: bytes) -> None:
    """NO_ERROR says that an answer is whole, and a client that is told so may believe it."""
    async with attacked(tmp_path, hostile(behind + rst(1, 0))) as world:
        app = await world.app()
        app.send(headers(1, [*GET[:3], (b":path", b"/attacked")], end=True))
        seen = await app.done(1)
        if behind:
            assert seen.reset == 2
        else:  # nothing of an answer has come: the proxy gives its own
            assert dict(seen.heads[0])[b":status"] == b"502"


async def test_a_length_of_nothing_and_an_end_that_comes_later(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        app.send(headers(1, [*CALL, (b"content-length", b"0")]))
        await eventually(lambda: world.received == 1, "it did not come")
        app.send(data(1, end=True))
        assert (await app.done(1)).clean
        app.send(headers(3, [*GET, (b"content-length", b"0")]), headers(3, [(b"x-a", b"b")], end=True))
        assert (await app.done(3)).clean
