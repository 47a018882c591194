"""TLS to receivers: whose certificate is not good gets nothing, the token least of all."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import random
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from idtoken_proxy.engine.tls import TlsTransport
from idtoken_proxy.engine.tls_endings import TruncatedError
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.server import Server
from idtoken_proxy.settings.model import Settings, Timeouts, Upstream
from idtoken_proxy.tls_trust import tls_context
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import Proxied, route_to, settings_for
from tests.engine.test_downstream import problem
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Ended, Receiver, Wire, answering, chunked, eventually, get, ok, post, turns
from tests.living import Watched


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


def certified(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    ca.issue_cert(*names).configure_cert(context)
    return context


def https(receiver: Receiver, host: str = "127.0.0.1") -> dict[str, object]:
    return {"upstream": Upstream("https", host, receiver.port)}


async def test_a_good_certificate(receive: Receive, start: Start, ca: trustme.CA, ca_file: str) -> None:
    receiver = await receive(answering(ok(b"hello" * 100_000)), tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    app = await proxied.connect()
    for _ in range(3):
        app.send(get("/"))
        assert (await app.response()).body == b"hello" * 100_000
    app.send(post(bytes(1_000_000)))
    assert (await app.response()).status == 200
    assert len(receiver.requests[-1].body) == 1_000_000
    (wire,) = receiver.connections  # used again
    assert wire.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert wire.transport.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
    assert receiver.requests[0].one("authorization") == f"Bearer {proxied.token}"
    await proxied.settled(idle=1)


async def test_by_name_and_sni(receive: Receive, start: Start, ca: trustme.CA, ca_file: str) -> None:
    asked: list[str | None] = []
    context = certified(ca, "localhost")
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    receiver = await receive(answering(ok()), tls=context)
    proxied = await start(receiver, route=https(receiver, "localhost"), ca_file=ca_file)
    assert (await proxied.ask(get("/"))).status == 200
    assert asked == ["localhost"]


async def _refused(proxied: Proxied, receiver: Receiver) -> dict[str, object]:
    app = await proxied.connect()
    answer = None
    for request in (get("/"), post(b"hello")):
        app.send(request)
        answer = await app.response()
        assert answer.status == 502
        assert "tls_certificate_error" in (answer.one("proxy-status") or "")
    assert answer is not None
    assert receiver.received.strip(b"|") == b""
    await proxied.settled(idle=0)
    return problem(answer)


async def test_a_certificate_of_an_unknown_ca(receive: Receive, start: Start, ca_file: str) -> None:
    receiver = await receive(answering(ok()), tls=certified(trustme.CA(), "127.0.0.1"))
    told = await _refused(await start(receiver, route=https(receiver), ca_file=ca_file), receiver)
    assert "ca_file" in str(told["remedy"])


async def test_without_the_ca_file(receive: Receive, start: Start, ca: trustme.CA) -> None:
    receiver = await receive(answering(ok()), tls=certified(ca, "127.0.0.1"))
    await _refused(await start(receiver, route=https(receiver)), receiver)


async def test_a_certificate_of_another_host(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    receiver = await receive(answering(ok()), tls=certified(ca, "other.example"))
    await _refused(await start(receiver, route=https(receiver), ca_file=ca_file), receiver)
    await _refused(await start(receiver, route=https(receiver, "localhost"), ca_file=ca_file), receiver)


async def test_a_certificate_that_has_expired(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    ca.issue_cert("127.0.0.1", not_after=past).configure_cert(context)
    receiver = await receive(answering(ok()), tls=context)
    await _refused(await start(receiver, route=https(receiver), ca_file=ca_file), receiver)


@pytest.mark.parametrize(
    "said", [b"", ok(), b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff" + bytes(100)]
)
async def test_a_receiver_that_speaks_no_tls(receive: Receive, start: Start, said: bytes, token: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.exactly(5)
        wire.send(said)
        await turns(3)
        wire.close()

    receiver = await receive(script)
    proxied = await start(receiver, route=https(receiver))
    answer = await proxied.ask(get("/"))
    assert answer.status == 502
    problem(answer)
    assert token.encode() not in receiver.received
    assert b"GET" not in receiver.received
    await proxied.settled(idle=0)


async def test_a_handshake_that_takes_too_long(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.exactly(5)

    receiver = await receive(silent)
    proxied = await start(receiver, route=https(receiver), timeouts=Timeouts(connect=0.1))
    answer = await proxied.ask(get("/"))
    assert answer.status == 504
    assert "connection_timeout" in (answer.one("proxy-status") or "")
    await (await receiver.connection()).gone()


async def test_an_app_that_goes_during_the_handshake(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.exactly(5)

    receiver = await receive(silent)
    proxied = await start(receiver, route=https(receiver))
    app = await proxied.connect()
    app.send(get("/"))
    wire = await receiver.connection()
    await wire.wait(lambda: len(wire.received) > 5)
    app.close()
    await wire.gone()
    await proxied.settled(idle=0)


async def test_apps_that_go_at_every_moment(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    receiver = await receive(answering(ok()), tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    for number in range(60):
        app = await proxied.connect()
        app.send(get("/"))
        await turns(number)
        app.reset()
    await eventually(lambda: proxied.server.context.busy == 0, "connections are left")
    await proxied.settled()
    await eventually(
        lambda: sum(not wire.ended for wire in receiver.connections) == proxied.pool.idle,
        "the receiver has connections that no pool knows",
    )
    assert (await proxied.ask(get("/"))).status == 200


async def test_octets_one_by_one(receive: Receive, start: Start, ca: trustme.CA, ca_file: str) -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.drip(ok(b"hello"))

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    app = await proxied.connect()
    for _ in range(2):
        await app.drip(get("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"one", b"two"))
        assert (await app.response()).body == b"hello"
    assert receiver.requests[1].body == b"onetwo"
    assert len(receiver.connections) == 1


class Cutter:
    """Between the proxy and a TLS receiver: cuts the connection without TLS's own goodbye (close_notify)."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    async def __call__(self, near: Wire) -> None:
        _, far = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", self.receiver.port)
        near_seen = far_seen = 0
        while not (far.ended or near.ended):
            if len(near.received) > near_seen:
                far.send(bytes(near.received[near_seen:]))
                near_seen = len(near.received)
            if len(far.received) > far_seen:
                near.send(bytes(far.received[far_seen:]))
                far_seen = len(far.received)
            await asyncio.sleep(0.001)
            if any(wire.requests for wire in self.receiver.connections) and far_seen == len(far.received):
                await asyncio.sleep(0.1)
                near.send(bytes(far.received[far_seen:]))
                break
        near.close()
        far.close()


async def test_a_close_delimited_answer_that_is_cut_is_not_whole(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    """A truncation attack: TCP's end, which anybody on the way can forge, is not TLS's (RFC 9112 section 9.8)."""

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    cutter = await receive(Cutter(receiver))
    proxied = await start(cutter, route=https(cutter), ca_file=ca_file)
    app = await proxied.connect()
    app.send(get("/"))
    with pytest.raises(Ended):
        await app.response()
    assert b"hello" in app.received


async def test_a_close_delimited_answer_that_ends_is_whole(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        wire.close()

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    assert (await proxied.ask(get("/"))).body == b"hello"


async def test_an_idle_connection_that_the_receiver_closes(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(ok())
        await asyncio.sleep(0.05)
        wire.close()

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    for _ in range(2):
        assert (await proxied.ask(get("/"))).status == 200
        await proxied.settled(idle=0)


async def test_a_websocket(receive: Receive, start: Start, ca: trustme.CA, ca_file: str) -> None:
    async def echo(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING + b"welcome")
        while True:
            wire.send(await wire.exactly(1))

    receiver = await receive(echo, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    app = await proxied.connect()
    app.send(HANDSHAKE + b"early")
    assert (await app.response()).status == 101
    assert await app.exactly(12) == b"welcomeearly"
    app.close()
    await (await receiver.connection()).gone()


@pytest.mark.parametrize("way", ["upload", "download"])
async def test_backpressure(receive: Receive, start: Start, ca: trustme.CA, ca_file: str, way: str) -> None:
    total = 100 * 1024 * 1024
    gate = asyncio.Event()

    async def script(wire: Wire) -> None:
        if way == "upload":
            wire.stall()
            return
        await wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            await wire.pour(bytes(total), limit=0.5)
        gate.set()

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    app = await proxied.connect()
    if way == "upload":
        app.send(get("/", f"Content-Length: {total}", method="POST"))
        with pytest.raises(TimeoutError):
            await app.pour(bytes(total), limit=0.5)
        assert app.sent < 20 * 1024 * 1024
    else:
        app.send(get("/"))
        await app.until(b"\r\n\r\n")
        app.stall()
        async with asyncio.timeout(20):
            await gate.wait()
        assert (await receiver.connection()).sent < 20 * 1024 * 1024
    app.reset()


async def test_everything_arrives_both_ways(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    body = bytes(range(256)) * 4 * 8_000  # 8 MB

    async def script(wire: Wire) -> None:
        request = await wire.request()
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(request.body)}\r\n\r\n".encode())
        await wire.pour(request.body)

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    app = await proxied.connect()
    app.send(get("/", f"Content-Length: {len(body)}", method="POST"))
    await app.pour(body)
    assert (await app.response()).body == body


class Near(asyncio.Transport):
    """The TCP transport of a connection whose other end is in the test's hands."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return name


class Far:
    """The receiver's end of TLS, in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake(self, outer: TlsTransport, near: Near) -> None:
        for _ in range(4):
            self._incoming.write(near.written)
            near.written = b""
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            outer.data_received(self._outgoing.read())

    def sealed(self, plain: bytes) -> bytes:
        self.tls.write(plain)
        return self._outgoing.read()

    def opened(self, near: Near) -> bytes:
        """What has come; b"" is our close_notify."""
        self._incoming.write(near.written)
        near.written = b""
        try:
            return self.tls.read(65536)
        except ssl.SSLZeroReturnError:  # where it has said goodbye, too
            return b""

    def goodbye(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()


class Inner(asyncio.Protocol):
    """`goes_on`: after the receiver's end."""

    def __init__(self, *, goes_on: bool = False) -> None:
        self.received: list[bytes] = []
        self.ends = 0
        self.errors: list[Exception | None] = []
        self._goes_on = goes_on

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors.append(exc)

    def eof_received(self) -> bool:
        self.ends += 1
        return self._goes_on

    def data_received(self, data: bytes) -> None:
        self.received.append(data)


def established(
    ca: trustme.CA, ca_file: str, *, goes_on: bool = False, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[TlsTransport, Near, Far, Inner]:
    inner, near = Inner(goes_on=goes_on), Near()
    outer = TlsTransport(tls_context(ca_file), "127.0.0.1", inner)
    context = certified(ca, "127.0.0.1")
    context.maximum_version = version
    far = Far(context)
    outer.connection_made(near)
    far.shake(outer, near)
    assert outer.ready.done()
    return outer, near, far, inner


@for_each("size", [1, 16 * 1024, 240 * 1024, 240 * 1024 + 1, 256 * 1024, 1_000_000])
async def test_what_comes_at_once_is_delivered_at_once(ca: trustme.CA, ca_file: str, size: int) -> None:
    """What stands behind the end of an answer would otherwise be a connection's that is in the pool again."""
    outer, near, far, inner = established(ca, ca_file)
    body = random.Random(1).randbytes(size)
    outer.data_received(far.sealed(body))
    assert inner.received == [body]
    outer.data_received(far.sealed(body) + far.goodbye())
    assert inner.received == [body, body]
    assert near.closed
    outer.connection_lost(None)
    assert outer.get_extra_info("socket") == "socket"


async def test_what_comes_behind_the_end_of_a_connection_is_not_delivered(
    ca: trustme.CA, ca_file: str
) -> None:
    outer, _, far, inner = established(ca, ca_file)
    outer.connection_lost(None)
    outer.data_received(far.sealed(b"late"))
    assert inner.received == []


async def test_a_record_that_was_tampered_with_ends_the_connection(ca: trustme.CA, ca_file: str) -> None:
    outer, near, far, inner = established(ca, ca_file)
    sealed = bytearray(far.sealed(b"hello" * 100))
    sealed[50] ^= 1
    outer.data_received(bytes(sealed))
    assert inner.received == []
    assert near.closed
    outer.write(b"x")  # as one that does not know it yet
    outer.close()
    outer.connection_lost(None)


async def test_a_ca_file_that_cannot_be_read_is_a_mistake_in_the_settings(
    tmp_path: Path, token_file: Path
) -> None:
    for content in (None, "no certificate"):
        path = tmp_path / "broken.pem"
        if content is not None:
            path.write_text(content)
        settings: Settings = settings_for(
            route_to(1, token_file, upstream=Upstream("https", "127.0.0.1", 1)), ca_file=str(path)
        )
        with pytest.raises(ConfigError, match="ca_file"):
            await Server(settings, {}).start()


# -- the ends of a stream, and its pauses ------------------------------------------------------------


class Told(Inner):
    def __init__(self) -> None:
        super().__init__()
        self.news: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.news.append("made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.news.append(exc)

    def pause_writing(self) -> None:
        self.news.append("pause")

    def resume_writing(self) -> None:
        self.news.append("resume")


async def test_pauses_are_passed_on_and_an_announced_end_is_no_truncation(
    ca: trustme.CA, ca_file: str
) -> None:
    outer, near, far, _ = established(ca, ca_file)
    told = Told()
    outer.set_protocol(told)
    outer.pause_writing()
    outer.resume_writing()
    outer.data_received(far.goodbye())
    assert near.closed
    assert not outer.eof_received()
    outer.connection_lost(None)
    assert told.news == ["pause", "resume", None]


async def test_octets_that_were_not_read_before_the_end_are_a_truncation(
    ca: trustme.CA, ca_file: str
) -> None:
    outer, _, far, _ = established(ca, ca_file)
    told = Told()
    outer.set_protocol(told)
    outer._incoming.write(far.sealed(b"late"))
    assert not outer.eof_received()
    outer.connection_lost(None)
    (error,) = told.news
    assert isinstance(error, TruncatedError)
    assert told.received == []


async def test_a_handshake_that_nobody_waits_for_any_more_may_still_end(ca: trustme.CA, ca_file: str) -> None:
    told, near = Told(), Near()
    outer = TlsTransport(tls_context(ca_file), "127.0.0.1", told)
    outer.ready.cancel()
    outer.connection_made(near)
    Far(certified(ca, "127.0.0.1")).shake(outer, near)
    assert told.news == ["made"]
    assert outer.ready.cancelled()


# -- a direction that ends ------------------------------------------------------


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "octets"])
async def test_the_receiver_s_close_notify_ends_its_direction_alone(
    ca: trustme.CA, ca_file: str, *, cut: bool
) -> None:
    outer, near, far, inner = established(ca, ca_file, goes_on=True)
    near.written = b""
    said = far.sealed(b"that is all") + far.goodbye()
    for piece in [said[at : at + 1] for at in range(len(said))] if cut else [said]:
        outer.data_received(piece)
    assert (b"".join(inner.received), inner.ends, near.closed) == (b"that is all", 1, False)
    for _ in range(3):
        outer.write(b"still here")
        assert far.opened(near) == b"still here"
    assert outer.eof_received()  # TCP's end behind it: nothing new, and ours goes on
    outer.write(b"and on")
    assert far.opened(near) == b"and on"
    outer.close()
    assert far.opened(near) == b""
    assert (inner.ends, near.closed) == (1, True)
    outer.connection_lost(None)


async def test_where_the_inner_protocol_has_nothing_to_say_it_ends_the_connection(
    ca: trustme.CA, ca_file: str
) -> None:
    outer, near, far, inner = established(ca, ca_file)
    outer.data_received(far.goodbye())
    assert (inner.ends, near.closed) == (1, True)
    outer.connection_lost(None)


async def test_ours_ends_with_close_notify_and_the_receiver_s_goes_on(ca: trustme.CA, ca_file: str) -> None:
    outer, near, far, inner = established(ca, ca_file, goes_on=True)
    near.written = b""
    assert outer.can_write_eof()
    outer.write(b"that is all")
    outer.write_eof()
    assert far.opened(near) == b"that is all"
    assert far.opened(near) == b""
    outer.write_eof()
    assert near.written == b""
    outer.data_received(far.sealed(b"and mine"))
    assert (inner.received, near.closed) == ([b"and mine"], False)
    outer.data_received(far.sealed(b", and so on") + far.goodbye())
    assert (inner.received[1:], inner.ends) == ([b", and so on"], 1)
    outer.close()
    assert (near.written, near.closed) == (b"", True)  # it has been said
    outer.connection_lost(None)
    assert inner.errors == [None]


async def test_a_record_that_is_half_there_when_ours_ends_is_read_to_its_end(
    ca: trustme.CA, ca_file: str
) -> None:
    outer, near, far, inner = established(ca, ca_file, goes_on=True)
    record = far.sealed(b"half and half")
    outer.data_received(record[:3])
    outer.data_received(record[3:9])
    outer.write_eof()
    outer.data_received(record[9:])
    outer.data_received(far.sealed(b", and more"))
    assert b"".join(inner.received) == b"half and half, and more"
    assert not near.closed
    outer.close()
    outer.connection_lost(None)


async def test_tls_1_2_knows_no_half_close(ca: trustme.CA, ca_file: str) -> None:
    """RFC 5246 section 7.2.1: whoever gets a close_notify drops what it has yet to send."""
    outer, _, _, _ = established(ca, ca_file, version=ssl.TLSVersion.TLSv1_2)
    assert not outer.can_write_eof()
    outer.close()
    outer.connection_lost(None)


async def test_tcp_s_end_without_close_notify_is_a_break(ca: trustme.CA, ca_file: str) -> None:
    outer, _, _, inner = established(ca, ca_file, goes_on=True)
    assert not outer.eof_received()
    assert inner.ends == 0
    outer.connection_lost(None)
    (error,) = inner.errors
    assert isinstance(error, TruncatedError)


async def test_an_app_that_half_closes_its_tunnel_ends_it_in_tls_too(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    receiver = await receive(script, tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    app = await proxied.connect()
    app.send(HANDSHAKE)
    assert (await app.response()).status == 101
    app.send(b"that is all")
    app.half_close()
    far = await receiver.connection()
    await far.gone()  # a receiver that closes at a close_notify, as asyncio's do
    assert far.received.endswith(b"that is all")
    await app.gone()
    await eventually(lambda: proxied.server.context.busy == 0, "the tunnel is left")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """As what the collector never looks at again is: behind a reload, all that was there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_a_connection_that_is_lost_goes_at_once_with_all_that_it_holds(
    receive: Receive, start: Start, ca: trustme.CA, ca_file: str, uncollected: None
) -> None:
    """Its trust store above all: what holds itself in a circle waits for the collector."""
    receiver = await receive(answering(ok()), tls=certified(ca, "127.0.0.1"))
    proxied = await start(receiver, route=https(receiver), ca_file=ca_file)
    assert (await proxied.ask(get("/"))).status == 200
    await proxied.settled(idle=1)
    ends = Watched(
        one for connection in proxied.pool.connections for one in (connection, connection.transport)
    )
    assert len(ends) == 2
    proxied.pool.close()
    await eventually(lambda: len(ends) == 0, "they hold each other")


async def test_what_comes_behind_the_end_is_not_kept(ca: trustme.CA, ca_file: str) -> None:
    outer, near, far, inner = established(ca, ca_file, goes_on=True)
    outer.data_received(far.goodbye())
    for _ in range(100):
        outer.data_received(bytes(64 * 1024))
    assert outer._incoming.pending < 1024  # all that a peer could make grow
    near.written = b""
    outer.write(b"still here")
    assert far.opened(near) == b"still here"
    assert (inner.received, near.closed) == ([], False)
    outer.connection_lost(None)
