"""The connections to one origin: which is used again, and how a fresh one comes about.

Last in, first out, so that few connections stay warm and the rest run out. A connection that said anything while idle,
or whose last exchange did not end cleanly on both sides, is never used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final

import aiohappyeyeballs

from idtoken_proxy.engine.connect import open_tunnel
from idtoken_proxy.engine.hop import beyond, receiver, way_out
from idtoken_proxy.engine.sweeper import NEVER, Sweeper
from idtoken_proxy.engine.tally import UpstreamCounts
from idtoken_proxy.engine.tls import TlsTransport
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.identity.clock import SystemClock
from idtoken_proxy.settings.model import EgressProxy, Upstream

_boot = SystemClock.boot
# Connections that are coming about at one time. Many receivers' accept queues hold 100 or 128: what a burst sends
# beyond that is dropped and said again after a second or more. Those who wait for their turn often need none any more.
MAX_CONNECTING: Final = 64
_NEXT_ADDRESS_AFTER: Final = 0.25  # seconds, RFC 8305 section 5


class Pool:
    """The connections to one origin. `tls`: None for http. `egress`: what they lead through, always with TLS inside."""

    def __init__(
        self,
        upstream: Upstream,
        sweeper: Sweeper,
        *,
        tls: ssl.SSLContext | None,
        keepalive: float,
        connect: float,
        egress: EgressProxy | None = None,
        counts: UpstreamCounts | None = None,
    ) -> None:
        if egress is not None and tls is None:
            raise ValueError("without TLS the egress proxy would see the ID tokens")
        self.upstream = upstream
        self.counts = counts or UpstreamCounts()
        self._sweeper = sweeper
        self._tls = tls
        self._egress = egress
        self._first = receiver(upstream) if egress is None else way_out(egress, upstream)
        self._keepalive = keepalive
        self._connect_timeout = connect
        self._idle: list[UpstreamConnection] = []
        self._live: set[UpstreamConnection] = set()
        self._closed = False
        self._gate = asyncio.Semaphore(MAX_CONNECTING)

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.origin}: {len(self._live)} connections, {len(self._idle)} idle>"

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def connections(self) -> list[UpstreamConnection]:
        """All that there are, in use and idle."""
        return list(self._live)

    def take(self) -> UpstreamConnection | None:
        """An idle connection, the warmest first; None where there is none."""
        while self._idle:
            connection = self._idle.pop()
            if _boot() - connection.idle_since > self._keepalive:
                # The sweeper's time stood still with this process; the receiver's did not, and it may have closed.
                connection.abort()
            elif not connection.transport.is_closing():
                connection.deadline = NEVER
                self.counts.reused += 1
                return connection
        return None

    def put(self, connection: UpstreamConnection) -> None:
        if self._closed:
            connection.abort()
            return
        connection.deadline = self._sweeper.now + self._keepalive
        connection.idle_since = _boot()
        self._idle.append(connection)

    def register(self, connection: UpstreamConnection) -> None:
        self.counts.opened += 1
        self._live.add(connection)
        self._sweeper.watch(connection)

    def unregister(self, connection: UpstreamConnection) -> None:
        self._live.discard(connection)
        self._sweeper.unwatch(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def close(self) -> None:
        """Idle connections go; one in use goes when its exchange ends."""
        self._closed = True
        for connection in list(self._idle):
            connection.abort()

    async def connect(self, *, fresh: bool = False) -> UpstreamConnection:
        """A connection, TLS included; a fresh one, or one that has become idle while this one waited for its turn.
        Raises ConnectFailed, TlsFailed, UpstreamTimeout.
        """
        hop = self._first
        self.counts.connecting += 1
        try:
            async with asyncio.timeout(self._connect_timeout), self._gate:
                idle = None if fresh else self.take()
                if idle is not None:
                    return idle
                sock = await self._connected_socket()
                if self._egress is not None:
                    await self._tunnel(sock, self._egress)
                    hop = beyond(self._egress, self.upstream)
                return await self._wrap(sock)
        except TimeoutError:
            raise hop.late(self._connect_timeout) from None
        except OSError as error:
            raise hop.failed(error) from None
        finally:
            self.counts.connecting -= 1

    async def _connected_socket(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        # The egress proxy's is the one name to be resolved here: a network that demands it may know no other.
        at = self._egress or self.upstream
        found = await loop.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)
        return await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1, loop=loop
        )

    async def _tunnel(self, sock: socket.socket, egress: EgressProxy) -> None:
        try:
            await open_tunnel(sock, egress, self.upstream)
        except BaseException:
            sock.close()
            raise

    async def _wrap(self, sock: socket.socket) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(self)
        outer: asyncio.Protocol = connection
        if self._tls is not None:
            outer = TlsTransport(self._tls, self.upstream.host, connection)
        try:
            await loop.create_connection(lambda: outer, sock=sock)
            if isinstance(outer, TlsTransport):
                await outer.ready
        except BaseException:
            # Cancelled just as it came about, it would live on without an owner.
            made = vars(outer).get("transport")
            if made is not None:
                made.abort()
            else:
                sock.close()
            self.unregister(connection)  # uvloop tells nobody of the end of what it was cancelled in making
            raise
        return connection
