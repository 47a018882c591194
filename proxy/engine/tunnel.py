"""Bytes both ways after 101: no messages any more, so nothing is parsed and neither connection is used again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.engine.sweeper import Sweeper


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
        on_end: Callable[[], None],
    ) -> None:
        self._sweeper = sweeper
        self._idle = idle
        self._on_end = on_end
        self._open = 2
        self._transports = (app, receiver)
        for transport, other in ((app, receiver), (receiver, app)):
            transport.set_protocol(_End(self, transport, other))
        self.deadline = 0.0
        self.touch()
        sweeper.watch(self)

    def touch(self) -> None:
        self.deadline = self._sweeper.now + self._idle

    def expire(self) -> None:
        self.abort()

    def close(self) -> None:
        for transport in self._transports:
            transport.close()

    def abort(self) -> None:
        for transport in self._transports:
            transport.abort()

    def end_lost(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._sweeper.unwatch(self)
            self._on_end()


class _End(asyncio.Protocol):
    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, other: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._transport = transport
        self._other = other

    def data_received(self, data: bytes) -> None:
        self._tunnel.touch()
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
