"""Bytes both ways after 101: no messages any more, so nothing is parsed and neither connection is used again.

A side that ends its direction (TCP's FIN, TLS's close_notify) ends that one alone: the other side is told so in the
same way, once all that came before it is flushed, and may go on sending. A side that breaks off takes the other with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from idtoken_proxy.engine.stats import RouteCounts
from idtoken_proxy.engine.sweeper import Sweeper


class Tunnel:
    """`on_end` is called once, when both sides are gone. What is left of it after one direction has ended has the same
    deadlines as before: `idle` seconds without an octet, and the drain's.
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
        self._ended: set[asyncio.Transport] = set()  # sides that send no more
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

    def ended(self, source: asyncio.Transport) -> bool:
        """It sends no more. Whether the other side still may."""
        self._touch()
        self._ended.add(source)
        return len(self._ended) < len(self._transports)

    def reads(self, source: asyncio.Transport) -> bool:
        """Whether there is anything to hold back or to let go on: read again, an end would be told again."""
        return source not in self._ended and not source.is_closing()

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
            on_end, self._on_end = self._on_end, _told
            self._on_idle = _told
            on_end()  # whoever is told holds this tunnel, and it them no longer


def _told() -> None:
    """Once is enough."""


class _End(asyncio.Protocol):
    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, other: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._transport = transport
        self._other = other

    def data_received(self, data: bytes) -> None:
        self._tunnel.moved(self._transport, len(data))
        self._other.write(data)

    def pause_writing(self) -> None:
        if self._tunnel.reads(self._other):
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if self._tunnel.reads(self._other):
            self._other.resume_reading()

    def eof_received(self) -> bool:
        """True: this side's connection stays, for what the other still has to say to it."""
        other = self._other
        if not self._tunnel.ended(self._transport):
            other.close()  # flushed first, as this one is
            return False
        if other.is_closing() or not other.can_write_eof():
            return False
        other.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._other.close()
        self._tunnel.end_lost()
