"""WebSockets: the handshake is judged, and after it the octets pass unread."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from idtoken_proxy.engine.downstream import WRITE_HIGH_WATER
from idtoken_proxy.engine.stats import RouteCounts
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.tunnel import Tunnel
from idtoken_proxy.settings.model import Timeouts
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import Proxied
from tests.engine.test_downstream import narrow, problem, widen
from tests.engine.wire import Receiver, Wire, answering, chunked, eventually, get, ok, running, turns
from tests.living import Watched

UPGRADE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: chat",
)
HANDSHAKE = get("/ws", *UPGRADE)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)


async def echo(wire: Wire) -> None:
    await wire.request()
    wire.send(SWITCHING)
    while True:
        wire.send(await wire.exactly(1))


@pytest.mark.parametrize("pieces", ["whole", "octets"])
async def test_bytes_both_ways(receive: Receive, start: Start, pieces: str) -> None:
    receiver = await receive(echo)
    proxied = await start(receiver)
    app = await proxied.connect()
    if pieces == "octets":
        await app.drip(HANDSHAKE)
    else:
        app.send(HANDSHAKE)
    answer = await app.response()
    assert answer.status == 101
    assert answer.one("upgrade") == "websocket"
    assert answer.one("connection") == "Upgrade"
    assert answer.one("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    (request,) = receiver.requests
    assert (request.one("upgrade"), request.one("connection")) == ("websocket", "Upgrade")
    assert request.one("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
    assert request.one("authorization") == f"Bearer {proxied.token}"
    frames = bytes(range(256)) + get("/not-a-request")
    app.send(frames)
    assert await app.exactly(len(frames)) == frames
    assert (proxied.pool.live, proxied.pool.idle) == (0, 0)  # it is no request's any more
    app.close()
    far = await receiver.connection()
    await far.gone()
    far.close()
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")


async def test_octets_that_come_right_behind_the_handshake(receive: Receive, start: Start) -> None:
    """From either side: RFC 6455 allows the server to speak first, and an app may be impatient."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(0.05)
        wire.send(SWITCHING + b"welcome")
        assert await wire.exactly(5) == b"early"
        wire.send(b"got it")

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(HANDSHAKE + b"early")
    assert (await app.response()).status == 101
    assert await app.exactly(13) == b"welcomegot it"


@for_each("at", range(len(SWITCHING) - 6, len(SWITCHING) + 6))
async def test_the_switch_cut_at_every_place(receive: Receive, start: Start, at: int) -> None:
    said = SWITCHING + b"welcome"

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(said[:at])
        await turns(4)
        wire.send(said[at:])

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(HANDSHAKE)
    assert (await app.response()).status == 101
    assert await app.exactly(7) == b"welcome"


@pytest.mark.parametrize(
    "status", [b"400 Bad Request", b"401 Unauthorized", b"426 Upgrade Required", b"200 OK"]
)
async def test_octets_behind_a_refused_handshake_go_nowhere(
    receive: Receive, start: Start, status: bytes
) -> None:
    """They may be a request that is to be smuggled past the guard (Envoy CVE-2024-23326)."""
    refusal = b"HTTP/1.1 %b\r\nContent-Length: 2\r\nUpgrade: websocket\r\n\r\nno" % status
    receiver = await receive(answering(refusal, ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(HANDSHAKE + get("/smuggled"))
    answer = await app.response()
    assert (answer.body, answer.one("connection"), answer.one("upgrade")) == (b"no", "close", None)
    assert await app.to_end() == b""
    assert [request.target for request in receiver.requests] == ["/ws"]

    await proxied.settled(idle=1)  # the receiver has seen none of it
    assert (await proxied.ask(get("/"))).body == b"hello"
    assert len(receiver.connections) == 1


@pytest.mark.parametrize(
    "said",
    [
        SWITCHING.replace(b"Upgrade: websocket\r\n", b""),
        SWITCHING.replace(b"Connection: Upgrade\r\n", b""),
        SWITCHING.replace(b"websocket", b"h2c"),
        SWITCHING.replace(b"Upgrade: websocket\r\n", b"Upgrade: websocket, h2c\r\n"),
    ],
)
async def test_a_switch_to_something_else_is_502(receive: Receive, start: Start, said: bytes) -> None:
    receiver = await receive(answering(said + b"poison"))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(HANDSHAKE)
    answer = await app.response()
    assert answer.status == 502
    problem(answer)
    await (await receiver.connection()).gone()
    assert b"poison" not in app.received


@for_each(
    ("request_", "status"),
    [
        (get("/", *UPGRADE, "Content-Length: 5") + b"hello", 400),
        (get("/", *UPGRADE, "Transfer-Encoding: chunked") + chunked(b"hello"), 400),
        (get("/", *UPGRADE, method="POST"), 400),
        (get("/", *UPGRADE, "Origin: http://evil.example"), 403),
        (get("/", *UPGRADE, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket"), 403),
    ],
)
async def test_handshakes_that_are_not_passed_on(
    receive: Receive, start: Start, request_: bytes, status: int
) -> None:
    receiver = await receive(echo)
    proxied = await start(receiver)
    answer = await proxied.ask(request_)
    assert answer.status == status
    problem(answer)
    assert not receiver.connections


@for_each(
    "fields",
    [
        ("Upgrade: websocket",),
        ("Connection: upgrade",),
        ("Connection: Upgrade", "Upgrade: TLS/1.0"),
        ("Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Upgrade: h2c, websocket"),
    ],
)
async def test_what_is_no_handshake_is_a_request(
    receive: Receive, start: Start, fields: tuple[str, ...]
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    assert (await proxied.ask(get("/", *fields))).status == 200
    (request,) = receiver.requests
    assert request.one("upgrade") is None
    assert request.one("connection") is None


async def _open(receiver: Receiver, proxied_app: Wire) -> Wire:
    proxied_app.send(HANDSHAKE)
    assert (await proxied_app.response()).status == 101
    return await receiver.connection()


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_the_end_of_one_side_is_the_end_of_the_other(
    receive: Receive, start: Start, side: str, way: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    first, second = (app, far) if side == "app" else (far, app)
    first.send(b"last words")
    await turns(10)
    if way == "close":
        first.close()
    else:
        first.reset()
    await second.gone()
    if way == "close":
        assert second.received.endswith(b"last words")
        assert not second.lost  # it may still have something to say
        second.close()
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_last_words_are_flushed(receive: Receive, start: Start, side: str) -> None:
    size = 3_000_000

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    first, second = (app, far) if side == "app" else (far, app)
    taken = len(second.received)
    second.stall()
    first.send(bytes(size))
    first.close()
    await asyncio.sleep(0.2)
    second.go_on()
    await second.gone()
    assert len(second.received) - taken == size
    second.close()


async def silent_after_switch(wire: Wire) -> None:
    await wire.request()
    wire.send(SWITCHING)


Sides = tuple[Proxied, Wire, Wire]


async def half_closed(receive: Receive, start: Start, side: str, **options: Any) -> Sides:
    """The proxy, the side that has ended its direction, and the other, which has been told."""
    receiver = await receive(silent_after_switch)
    proxied = await start(receiver, **options)
    app = await proxied.connect()
    far = await _open(receiver, app)
    first, second = (app, far) if side == "app" else (far, app)
    first.send(b"that is all")
    first.half_close()
    await second.gone()
    assert second.received.endswith(b"that is all")
    assert not second.lost
    return proxied, first, second


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_a_half_close_ends_one_direction_and_the_other_goes_on(
    receive: Receive, start: Start, side: str
) -> None:
    proxied, first, second = await half_closed(receive, start, side)
    counts = proxied.server.context.router.entries[0].counts
    had, before = len(first.received), (counts.received, counts.sent)
    for number in range(20):
        second.send(b"%d" % (number % 10))
        await first.wait(lambda number=number: len(first.received) == had + number + 1)  # type: ignore[misc]
    answered = bytes(3_000_000)
    second.send(answered)
    await first.wait(lambda: len(first.received) == had + 20 + len(answered))
    assert not first.ended
    moved = (counts.received - before[0], counts.sent - before[1])
    assert moved == ((0, 20 + len(answered)) if side == "app" else (20 + len(answered), 0))
    second.half_close()
    await first.gone()
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")
    assert counts.tunnels == 0


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_a_stalled_side_stalls_the_other_after_a_half_close_too(
    receive: Receive, start: Start, side: str
) -> None:
    """And its being let go on reads no end a second time, which would be taken for the other's."""
    _, first, second = await half_closed(receive, start, side)
    had = len(first.received)
    first.stall()
    before = second.sent
    with pytest.raises(TimeoutError):
        await second.pour(bytes(100 * 1024 * 1024), limit=0.2)
    sent = second.sent - before
    assert sent < 16 * 1024 * 1024
    first.go_on()
    await first.wait(lambda: len(first.received) - had == sent)
    second.send(b"more")
    await first.wait(lambda: len(first.received) - had == sent + 4)
    assert not first.ended
    second.close()
    await first.gone()


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_an_end_that_waits_for_a_slow_reader_comes_behind_all_octets(
    receive: Receive, start: Start, side: str
) -> None:
    """The writer's side is full as it ends; what is let go on afterwards has no end to read again."""
    receiver = await receive(silent_after_switch)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    first, second = (app, far) if side == "app" else (far, app)
    had = len(second.received)
    second.stall()
    first.send(bytes(6_000_000))
    first.half_close()
    await turns(50)
    second.go_on()
    await second.gone()
    assert len(second.received) - had == 6_000_000
    had = len(first.received)
    second.send(b"thanks")
    await first.wait(lambda: bytes(first.received[had:]) == b"thanks")
    second.close()
    await first.gone()


async def test_both_end_at_once(receive: Receive, start: Start) -> None:
    receiver = await receive(silent_after_switch)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    for one in (app, far):
        one.send(b"bye")
        one.half_close()
    for one in (app, far):
        await one.gone()
        assert one.received.endswith(b"bye")
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_a_reset_after_a_half_close_ends_both(receive: Receive, start: Start, side: str) -> None:
    proxied, first, second = await half_closed(receive, start, side)
    second.reset()
    await first.gone()
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_whoever_ends_and_then_breaks_off_is_found_out_by_the_next_octets(
    receive: Receive, start: Start, side: str
) -> None:
    proxied, first, second = await half_closed(receive, start, side)
    first.reset()
    while not second.lost:
        second.send(b"x")
        await asyncio.sleep(0.01)
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_a_half_closed_tunnel_ends_at_its_deadline(receive: Receive, start: Start, side: str) -> None:
    proxied, first, _ = await half_closed(receive, start, side, timeouts=Timeouts(idle=30))
    await proxied.elapse(29)
    assert proxied.server.context.busy == 1
    await proxied.elapse(2)
    await first.gone()
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")
    assert proxied.server.context.stats.limits["tunnel_idle_timeout"] == 1


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_a_half_close_while_it_drains(receive: Receive, start: Start, side: str) -> None:
    receiver = await receive(silent_after_switch)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    first, second = (app, far) if side == "app" else (far, app)
    async with running(proxied.server.stop(drain=30)) as stopping:
        await turns(10)
        first.half_close()
        await second.gone()
        assert not stopping.done()
        second.send(b"last words")
        second.close()
        await first.gone()
        assert first.received.endswith(b"last words")
        await stopping
    assert proxied.server.context.busy == 0


async def test_a_half_closed_tunnel_that_outlasts_the_drain_is_ended(receive: Receive, start: Start) -> None:
    proxied, first, _ = await half_closed(receive, start, "app")
    await proxied.server.stop(drain=0.1)
    await first.gone()
    assert proxied.server.context.busy == 0


@pytest.mark.parametrize("side", ["app", "receiver"])
async def test_a_stalled_side_stalls_the_other(receive: Receive, start: Start, side: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    first, second = (app, far) if side == "app" else (far, app)
    second.stall()
    total = 100 * 1024 * 1024
    before = first.sent
    with pytest.raises(TimeoutError):
        await first.pour(bytes(total), limit=0.2)
    assert first.sent - before < 16 * 1024 * 1024
    had = len(second.received)
    sent = first.sent - before
    second.go_on()
    await second.wait(lambda: len(second.received) - had >= sent)


async def test_a_silent_tunnel_ends_at_its_deadline(receive: Receive, start: Start) -> None:
    receiver = await receive(echo)
    proxied = await start(receiver, timeouts=Timeouts(idle=30))
    app = await proxied.connect()
    far = await _open(receiver, app)
    for _ in range(4):
        await proxied.elapse(20)
        app.send(b"x")
        assert await app.exactly(1) == b"x"
    await proxied.elapse(31)
    await far.gone()
    await app.gone()


async def test_a_receiver_that_never_answers_a_handshake(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver, timeouts=Timeouts(response=30))
    app = await proxied.connect()
    app.send(HANDSHAKE)
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    await proxied.elapse(31)
    answer = await app.response()
    assert answer.status == 504
    problem(answer)


async def test_a_tunnel_that_outlasts_the_drain_is_ended(receive: Receive, start: Start) -> None:
    receiver = await receive(echo)
    proxied = await start(receiver)
    app = await proxied.connect()
    far = await _open(receiver, app)
    await proxied.server.stop(drain=0.1)
    await app.gone()
    await far.gone()
    assert proxied.server.context.busy == 0


async def test_an_app_that_does_not_read_what_comes_with_the_switch_stalls_the_receiver(
    receive: Receive, start: Start
) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app, connection = await narrow(proxied)
    app.send(HANDSHAKE)
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    (upstream,) = proxied.pool.connections
    early = bytes(4 * WRITE_HIGH_WATER)
    upstream.data_received(SWITCHING + early)
    assert connection.full
    (far,) = receiver.connections
    far.send(b"later")
    held = connection.transport.get_write_buffer_size()
    await asyncio.sleep(0.1)
    assert connection.transport.get_write_buffer_size() <= held
    widen(app, connection)
    assert (await app.response()).status == 101
    assert await app.exactly(len(early) + 5) == early + b"later"


class Side(asyncio.Transport):
    """A side that is closing. Whatever else is asked of it raises, as the base class has it."""

    def is_closing(self) -> bool:
        return True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.end = cast("asyncio.Protocol", protocol)


async def test_a_side_that_is_gone_is_neither_held_nor_let_go_on() -> None:
    sweeper = Sweeper(0.1)
    sides = Side(), Side()
    Tunnel(
        *sides,
        sweeper=sweeper,
        idle=60,
        counts=RouteCounts(),
        on_end=lambda: None,
        on_idle=lambda: None,
    )
    for side in sides:
        side.end.pause_writing()
        side.end.resume_writing()
    sweeper.close()


async def test_an_ended_tunnel_goes_at_once(receive: Receive, start: Start) -> None:
    """And not when the collector comes by, which does not look at what was there at a reload."""
    proxied = await start(await receive(echo))
    app = await proxied.connect()
    app.send(HANDSHAKE)
    assert (await app.response()).status == 101
    tunnels = Watched(proxied.server.context.tunnels)
    assert len(tunnels) == 1
    gc.collect()
    gc.disable()
    try:
        app.reset()
        await eventually(lambda: len(tunnels) == 0, "it holds itself")
    finally:
        gc.enable()
