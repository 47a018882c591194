"""Apps and receivers that speak HTTP/2, by another implementation than the proxy's, on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self, TypeAlias, cast

import h2.config
import h2.connection
import h2.events

from tests.engine.wire import PATIENCE

Pair: TypeAlias = tuple[bytes, bytes]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Stream:
    """What came on one, and what may be sent on it. `reset`: the code of the peer's RST_STREAM."""

    peer: Http2Peer
    id: int
    pairs: list[Pair] = field(default_factory=list)
    interim: list[list[Pair]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Pair] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    unacknowledged: int = 0

    def one(self, name: str) -> str | None:
        found = [value for key, value in self.pairs if key == name.encode()]
        assert len(found) < 2, (name, found)
        return found[0].decode("latin-1") if found else None

    @property
    def status(self) -> int:
        return int(self.one(":status") or 0)

    @property
    def grpc(self) -> tuple[int | None, str]:
        """grpc-status and grpc-message, wherever they are."""
        found = dict([*self.pairs, *self.trailers])
        status = found.get(b"grpc-status")
        return None if status is None else int(status), found.get(b"grpc-message", b"").decode()

    def head(self, *pairs: Pair, status: int = 200, end: bool = False) -> None:
        self.peer.h2.send_headers(self.id, [(b":status", b"%d" % status), *pairs], end_stream=end)
        self.peer.flush()

    def data(self, payload: bytes, *, end: bool = False) -> None:
        """As far as the windows let it, at once; the rest as they open."""
        self.peer.send(self.id, payload, end=end)

    def end(self, *trailers: Pair) -> None:
        if trailers:
            self.peer.h2.send_headers(self.id, list(trailers), end_stream=True)
        else:
            self.peer.h2.end_stream(self.id)
        self.peer.flush()

    def cancel(self, code: int = 8) -> None:
        self.peer.h2.reset_stream(self.id, code)
        self.peer.flush()

    def acknowledge(self) -> None:
        """Gives the sender its windows back."""
        octets, self.unacknowledged = self.unacknowledged, 0
        if octets:
            self.peer.h2.acknowledge_received_data(octets, self.id)
            self.peer.flush()

    async def until(self, condition: Callable[[Stream], bool]) -> Self:
        await self.peer.until(lambda: condition(self))
        return self

    async def sent(self) -> None:
        """All of its DATA is out."""
        await self.peer.until(lambda: self.id not in self.peer._waiting)

    async def done(self) -> Self:
        return await self.until(lambda self: self.ended or self.reset is not None)


class Http2Peer(asyncio.Protocol):
    """`reads`: whether what comes is acknowledged at once. `goaways`: (last stream, code) of each GOAWAY."""

    transport: asyncio.Transport

    def __init__(self, *, client: bool, on_request: Callable[[Stream], object] | None = None) -> None:
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.streams: dict[int, Stream] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pings = 0  # of the other end's
        self.acknowledged = 0  # SETTINGS of ours
        self.reads = True
        self.lost = False
        self.settled = False
        self._on_request = on_request
        self._partial = b""
        self._begun = False
        self._waiting: dict[int, tuple[bytes, bool]] = {}
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        self._partial += data
        if not self.h2.config.client_side and not self._begun:
            if len(self._partial) < len(PREFACE):
                return
            self._begun, self._partial = True, self._partial[len(PREFACE) :]
            self.h2.receive_data(PREFACE)
        while len(self._partial) >= 9:
            size = 9 + int.from_bytes(self._partial[:3], "big")
            if len(self._partial) < size:
                break
            frame, self._partial = self._partial[:size], self._partial[size:]
            for event in self.h2.receive_data(frame):
                self._on(event)
            if self.goaways:
                self._go_on()
        for stream_id in list(self._waiting):
            payload, end = self._waiting.pop(stream_id)
            self.send(stream_id, payload, end=end)
        self.flush()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._news.set()

    def _go_on(self) -> None:
        """The other implementation takes a GOAWAY for the end of the connection, which it is not (RFC 9113 section 6.8)."""
        states = h2.connection.ConnectionState
        self.h2.state_machine.state = states.CLIENT_OPEN if self.h2.config.client_side else states.SERVER_OPEN

    def goaway(self, last: int, code: int = 0) -> None:
        self.flush()
        self.transport.write(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big"))

    def flush(self) -> None:
        octets = self.h2.data_to_send()
        if octets and not self.lost:
            self.transport.write(octets)

    def _on(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                stream = self._at(event.stream_id)
                stream.pairs = cast("list[Pair]", [tuple(pair) for pair in event.headers])
                if self._on_request is not None:
                    self._on_request(stream)
            case h2.events.ResponseReceived():
                self._at(event.stream_id).pairs = cast("list[Pair]", [tuple(pair) for pair in event.headers])
            case h2.events.InformationalResponseReceived():
                self._at(event.stream_id).interim.append(
                    cast("list[Pair]", [tuple(pair) for pair in event.headers])
                )
            case h2.events.TrailersReceived():
                self._at(event.stream_id).trailers = cast(
                    "list[Pair]", [tuple(pair) for pair in event.headers]
                )
            case h2.events.DataReceived():
                stream = self._at(event.stream_id)
                stream.body += event.data or b""
                stream.unacknowledged += event.flow_controlled_length or 0
                if self.reads:
                    stream.acknowledge()
            case h2.events.StreamEnded():
                self._at(event.stream_id).ended = True
            case h2.events.StreamReset():
                self._at(event.stream_id).reset = int(event.error_code or 0)
                self._waiting.pop(event.stream_id or 0, None)
            case h2.events.ConnectionTerminated():
                self.goaways.append((event.last_stream_id or 0, int(event.error_code or 0)))
            case h2.events.SettingsAcknowledged():
                self.acknowledged += 1
            case h2.events.PingReceived():
                self.pings += 1
            case h2.events.RemoteSettingsChanged():
                self.settled = True

    def _at(self, stream_id: int | None) -> Stream:
        assert stream_id is not None
        return self.streams.setdefault(stream_id, Stream(self, stream_id))

    def request(
        self,
        *pairs: Pair,
        path: str = "/",
        method: str = "GET",
        end: bool = True,
        authority: bytes = b"localhost",
    ) -> Stream:
        head = [
            (b":method", method.encode()),
            (b":scheme", b"http"),
            (b":authority", authority),
            (b":path", path.encode()),
        ]
        return self.open([*head, *pairs], end=end)

    def open(self, head: Sequence[Pair], *, end: bool = False) -> Stream:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, list(head), end_stream=end)
        self.flush()
        return self._at(stream_id)

    def call(self, *pairs: Pair, body: bytes = b"", end: bool = True, path: str = "/Echo/Unary") -> Stream:
        """A gRPC request."""
        stream = self.request(
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *pairs,
            path=path,
            method="POST",
            end=False,
        )
        stream.data(body, end=end)
        return stream

    def send(self, stream_id: int, payload: bytes, *, end: bool) -> None:
        while payload or end:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if payload and room <= 0:
                self._waiting[stream_id] = payload, end
                break
            piece, payload = payload[:room], payload[room:]
            self.h2.send_data(stream_id, piece, end_stream=end and not payload)
            if not payload:
                break
        self.flush()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert not self.lost, f"the connection ended first: {self.goaways}"
                self._news.clear()
                await self._news.wait()

    async def until_lost(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.lost:
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        self.transport.close()


@dataclass
class Http2Receiver:
    """`script` is called with each request's head. `peers`: its connections, the latest last."""

    port: int
    peers: list[Http2Peer]

    @property
    def streams(self) -> list[Stream]:
        return [stream for peer in self.peers for stream in peer.streams.values()]


@asynccontextmanager
async def http2_receiver(
    script: Callable[[Stream], object], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Http2Receiver]:
    peers: list[Http2Peer] = []

    def make() -> Http2Peer:
        peers.append(Http2Peer(client=False, on_request=script))
        return peers[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield Http2Receiver(server.sockets[0].getsockname()[1], peers)
    finally:
        server.close()
        for peer in peers:
            if not peer.lost and hasattr(peer, "transport"):  # whose handshake came to its end
                peer.transport.abort()
        await server.wait_closed()


async def http2_app(at: int | str) -> Http2Peer:
    """`at`: a port, or a unix socket's path."""
    loop = asyncio.get_running_loop()

    def make() -> Http2Peer:
        return Http2Peer(client=True)

    if isinstance(at, str):
        _, peer = await loop.create_unix_connection(make, at)
    else:
        _, peer = await loop.create_connection(make, "127.0.0.1", at)
    await peer.until(lambda: peer.settled)
    return peer


def echo(stream: Stream) -> None:
    """A receiver's script: a unary answer of gRPC with what was asked, once it has been read."""

    async def answer() -> None:
        await stream.until(lambda stream: stream.ended)
        stream.head((b"content-type", b"application/grpc"))
        if stream.body:
            stream.data(stream.body)
        await stream.sent()
        stream.end((b"grpc-status", b"0"))

    TASKS.add(task := asyncio.ensure_future(answer()))
    task.add_done_callback(TASKS.discard)


def nothing(_: Stream) -> None:
    """A receiver's script: no answer."""


def fixed(*pairs: Pair, status: int = 200, body: bytes = b"") -> Callable[[Stream], None]:
    """A receiver's script: the same answer at once."""

    def answer(stream: Stream) -> None:
        stream.head(*pairs, status=status, end=not body)
        if body:
            stream.data(body, end=True)

    return answer


TASKS: set[asyncio.Future[None]] = set()


def values(pairs: Sequence[Pair], name: bytes) -> list[bytes]:
    return [value for key, value in pairs if key == name]
