"""HTTP/2 frame by frame, from either side of a proxy, so that all that no library would send can be sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from hpack import Decoder

from idtoken_proxy.engine.http2_downstream import Http2Downstream
from idtoken_proxy.server import Server
from idtoken_proxy.settings.model import LogSettings, UpstreamProtocol
from tests.engine.http2.peer import GET, data, headers
from tests.engine.proxied import Proxied, make_token, route_to, settings_for
from tests.engine.wire import PATIENCE, Receiver, Wire, connect

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
LARGEST: Final = (1 << 31) - 1
CALL = [(b":method", b"POST"), *GET[1:], (b"content-type", b"application/grpc"), (b"te", b"trailers")]
OK = [(b":status", b"200")]


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload


def settings(**values: int) -> bytes:
    names = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
    pairs = b"".join(names[name].to_bytes(2) + value.to_bytes(4) for name, value in values.items())
    return frame(SETTINGS, 0, 0, pairs)


def window(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream_id, increment.to_bytes(4))


def rst(stream_id: int, code: int = 8) -> bytes:
    return frame(RST, 0, stream_id, code.to_bytes(4))


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4))


ACKNOWLEDGED: Final = frame(SETTINGS, ACK)


@dataclass
class Seen:
    """What came on one stream. `heads`: interim ones and trailers too."""

    heads: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    def all(self, name: bytes) -> list[bytes]:
        return [value for head in self.heads for key, value in head if key == name]

    @property
    def status(self) -> int | None:
        found = self.all(b":status")
        return int(found[-1]) if found else None

    @property
    def grpc(self) -> int | None:
        found = self.all(b"grpc-status")
        return int(found[-1]) if found else None

    @property
    def clean(self) -> bool:
        """Whether a client takes it for a whole answer, and for a good one."""
        return self.ended and self.reset in (None, 0) and self.status == 200 and self.grpc in (None, 0)


class Raw:
    """One end. `goaways`: (last stream, code); `answered`: octets of frames that are no stream's."""

    def __init__(self, wire: Wire, begun: bytes = b"") -> None:
        self.wire = wire
        self.streams: dict[int, Seen] = {}
        self.goaways: list[tuple[int, int]] = []
        self.settings: list[bytes] = []
        self.pongs = 0
        self.windows: dict[int, int] = {}
        self._decoder = Decoder()
        self._decoder.max_header_list_size = 1 << 24
        self._at = len(begun)

    @classmethod
    async def app(cls, port: int, first: bytes = settings() + ACKNOWLEDGED) -> Self:
        made = cls(await connect(port))
        made.wire.send(PREFACE + first)
        return made

    @classmethod
    async def receiver(cls, wire: Wire, first: bytes = settings() + ACKNOWLEDGED) -> Self:
        """On what a proxy has opened."""
        await wire.until(PREFACE)
        made = cls(wire, PREFACE)
        wire.send(first)
        return made

    def send(self, *octets: bytes) -> None:
        self.wire.send(b"".join(octets))

    def stream(self, stream_id: int) -> Seen:
        return self.streams.setdefault(stream_id, Seen())

    def look(self) -> None:
        received = self.wire.received
        while len(received) - self._at >= 9:
            length = int.from_bytes(received[self._at : self._at + 3])
            if len(received) - self._at < 9 + length:
                return
            kind, flags = received[self._at + 3 : self._at + 5]
            stream_id = int.from_bytes(received[self._at + 5 : self._at + 9])
            payload = bytes(received[self._at + 9 : self._at + 9 + length])
            self._at += 9 + length
            self._on(kind, flags, stream_id, payload)

    def _on(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == DATA:
            seen = self.stream(stream_id)
            seen.body += payload
            seen.ended = bool(flags & END_STREAM)
        elif kind == HEADERS:
            assert flags & END_HEADERS
            seen = self.stream(stream_id)
            pairs = self._decoder.decode(payload, raw=True)
            seen.heads.append([(bytes(name), bytes(value)) for name, value in pairs])
            seen.ended = bool(flags & END_STREAM)
        elif kind == RST:
            self.stream(stream_id).reset = int.from_bytes(payload)
        elif kind == GOAWAY:
            self.goaways.append((int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])))
        elif kind == SETTINGS and not flags & ACK:
            self.settings.append(payload)
        elif kind == PING and flags & ACK:
            self.pongs += 1
        elif kind == WINDOW:
            self.windows[stream_id] = self.windows.get(stream_id, 0) + int.from_bytes(payload)

    async def until(self, condition: Callable[[Self], object]) -> Self:
        """Or until the connection is over."""

        def met() -> bool:
            self.look()
            return bool(condition(self)) or self.wire.ended

        await self.wire.wait(met)
        assert condition(self), (self.goaways, self.streams)
        return self

    async def done(self, stream_id: int) -> Seen:
        await self.until(lambda self: self.stream(stream_id).over)
        return self.stream(stream_id)

    async def gone(self) -> int | None:
        """The code of the GOAWAY it ended with, where there was one."""
        await self.wire.gone()
        self.look()
        return self.goaways[-1][1] if self.goaways else None

    def close(self) -> None:
        self.wire.transport.abort()


Script = Callable[[Wire], Awaitable[object]]


@dataclass
class Attacked:
    """`attackers`: the connections of HTTP/2 from apps that are open, as the proxy has them."""

    proxied: Proxied
    receiver: Receiver

    @property
    def attackers(self) -> list[Http2Downstream]:
        connections: set[Any] = set(self.proxied.server.context.connections)
        return [one for one in connections if isinstance(one, Http2Downstream)]

    @property
    def received(self) -> int:
        """Requests over HTTP/2 that the receiver has got, each with one token and no more."""
        count = 0
        for wire in self.receiver.connections:
            raw = Raw(wire, PREFACE)
            raw.look()
            for seen in raw.streams.values():
                if seen.heads:
                    count += 1
                    assert seen.all(b"authorization") == [f"Bearer {self.proxied.token}".encode()]
        return count

    @staticmethod
    def weight(connection: Http2Downstream) -> int:
        """Octets that it keeps: what it has yet to write, and to look at."""
        core = connection.core
        held = sum(stream.held_octets for stream in core.streams.values())
        return connection.transport.get_write_buffer_size() + core.output_octets + held + core._reader.unread

    @property
    def upstream_streams(self) -> int:
        return sum(len(one.core.streams) for one in self.proxied.pool.http2._live)

    def upstream_weight(self) -> int:
        total = 0
        for one in self.proxied.pool.http2._live:
            held = sum(stream.held_octets for stream in one.core.streams.values())
            total += one.transport.get_write_buffer_size() + one.core.output_octets + held
        return total

    def pieces(self, *, count: bool = False) -> int:
        """Of bodies that wait for their receiver: octets, or how many there are."""
        streams = [s for one in self.proxied.pool.http2._live for s in one.core.streams.values()]
        if count:
            return sum(len(stream.unsent.pieces) for stream in streams if stream.unsent is not None)
        return sum(stream.held_octets for stream in streams)

    @property
    def port(self) -> int:
        return self.proxied.port

    async def app(self, first: bytes = settings() + ACKNOWLEDGED) -> Raw:
        made = await Raw.app(self.port, first)
        self.proxied.clients.append(made.wire)
        return await made.until(lambda made: made.settings)

    async def works(self) -> None:
        """On another connection, both to a call and to a plain request."""
        app = await self.app()
        app.send(headers(1, CALL), data(1, b"probe", end=True), headers(3, GET, end=True))
        call, plain = await app.done(1), await app.done(3)
        assert (call.clean, call.grpc, call.body) == (True, 0, b"probe"), call
        assert plain.clean, plain
        app.close()


@contextlib.asynccontextmanager
async def attacked(
    directory: Path,
    script: Script,
    *,
    protocol: UpstreamProtocol = UpstreamProtocol.AUTO,
    **changes: Any,
) -> AsyncIterator[Attacked]:
    """A proxy in front of a receiver. Whatever ends in an exception on the loop fails the test."""
    token = make_token()
    (directory / "token").write_text(token)
    caught: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: caught.append(context))
    async with Receiver(script) as receiver:
        server = Server(
            settings_for(
                route_to(
                    receiver,
                    directory / "token",
                    protocol=protocol,
                ),
                **{"log": LogSettings(access="off"), **changes},
            ),
            {},
        )
        await server.start()
        async with asyncio.timeout(PATIENCE):
            while not server.ready:
                await asyncio.sleep(0.001)
        proxied = Proxied(server, token)
        try:
            yield Attacked(proxied, receiver)
        finally:
            await proxied.end()
    assert not caught, caught


async def serve(wire: Wire, raw: Raw | None = None, *, begun: bool = False) -> None:
    """A receiver's script: what was asked comes back, as gRPC's answers do where it was a call. `begun`: the first has
    been answered.
    """
    first = settings(streams=100, window=LARGEST) + ACKNOWLEDGED + window(0, 1 << 30)
    raw = raw or await Raw.receiver(wire, first)
    answered = {1} if begun else set[int]()
    while not wire.ended:
        raw.look()
        for stream_id, seen in list(raw.streams.items()):
            if seen.over and stream_id not in answered:
                answered.add(stream_id)
                if seen.reset is None:
                    raw.send(*answer_to(stream_id, seen))
        wire._news.clear()
        await wire._news.wait()


def answer_to(stream_id: int, seen: Seen) -> Sequence[bytes]:
    if not seen.all(b"content-type"):
        return (headers(stream_id, OK, end=True),)
    return (
        headers(stream_id, [*OK, (b"content-type", b"application/grpc")]),
        data(stream_id, seen.body) if seen.body else b"",
        headers(stream_id, [(b"grpc-status", b"0")], end=True),
    )
