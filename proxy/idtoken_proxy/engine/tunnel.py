"""Bytes both ways after 101: no messages any more, so nothing is parsed and neither connection is used again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.tally import RouteCounts


class Tunnel:
    """`on_end` is called once, when both sides are gone. A side that ends takes the other with it, as soon as what
    was written to it is flushed: WebSocket has its own close handshake (RFC 6455 section 7) and no half-open state.
    """

    def __init__(
        self,
        app: asyncio.Transport,
        receiver: asyncio.Transport,
        *,
        sweeper: Sweeper,
        idle: float,
        counts: RouteCounts,
        on_end: Callable[[], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._sweeper = sweeper
        self._idle = idle
        self._counts = counts
        self._on_end = on_end
        self._on_idle = on_idle
        self._open = 2
        self._transports = (app, receiver)
        for transport, other in ((app, receiver), (receiver, app)):
            transport.set_protocol(_End(self, transport, other))
        self.deadline = 0.0
        self._touch()
        counts.tunnels += 1
        sweeper.watch(self)

    def _touch(self) -> None:
        self.deadline = self._sweeper.now + self._idle

    def moved(self, source: asyncio.Transport, octets: int) -> None:
        self._touch()
        if source is self._transports[0]:
            self._counts.received += octets
        else:
            self._counts.sent += octets

    def expire(self) -> None:
        self._on_idle()
        self.abort()

    def abort(self) -> None:
        for transport in self._transports:
            transport.abort()

    def end_lost(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._sweeper.unwatch(self)
            self._counts.tunnels -= 1
            self._on_end()


class _End(asyncio.Protocol):
    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, other: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._transport = transport
        self._other = other

    def data_received(self, data: bytes) -> None:
        self._tunnel.moved(self._transport, len(data))
        self._other.write(data)

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._other.close()
        self._tunnel.end_lost()
