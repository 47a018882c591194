"""The connections to one origin: which is used again, and how a fresh one comes about.

Last in, first out, so that few connections stay warm and the rest run out. A connection that said anything while idle,
or whose last exchange did not end cleanly on both sides, is never used again.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

from idtoken_proxy.engine.dialer import Dialer
from idtoken_proxy.engine.http2_pool import Http2Pool
from idtoken_proxy.engine.stats import UpstreamCounts
from idtoken_proxy.engine.sweeper import NEVER, Sweeper
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.identity.clock import SystemClock
from idtoken_proxy.settings.model import EgressProxy, Upstream

_boot: Final = SystemClock.boot


class Pool(Dialer):
    """The connections to one origin. `tls`: None for http. `egress`: what they lead through, always with TLS inside.
    `http2_tls`: where TLS has to lead to HTTP/2.
    """

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
        http2_tls: Callable[[], ssl.SSLContext] | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        counts = counts or UpstreamCounts()
        super().__init__(upstream, tls=tls, connect=connect, egress=egress, counts=counts, on_step=on_step)
        self._sweeper = sweeper
        self._keepalive = keepalive
        self._http2_tls = http2_tls
        self._http2: Http2Pool | None = None
        self._idle: list[UpstreamConnection] = []
        self._live: set[UpstreamConnection] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.origin}: {len(self._live)} connections, {len(self._idle)} idle>"

    @property
    def http2(self) -> Http2Pool:
        """The connections to the same origin on which HTTP/2 is spoken; made when the first is asked for."""
        if self._http2 is None:
            self._http2 = Http2Pool(self, self._sweeper, tls=self._http2_tls, keepalive=self._keepalive)
            if self._closed:
                self._http2.close()
        return self._http2

    @property
    def idle(self) -> int:
        return len(self._idle) + (0 if self._http2 is None else self._http2.idle)

    @property
    def live(self) -> int:
        return len(self._live) + (0 if self._http2 is None else self._http2.live)

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
        if self._http2 is not None:
            self._http2.close()

    def connect(self, *, fresh: bool = False) -> Coroutine[Any, Any, UpstreamConnection]:
        """A connection, TLS included; a fresh one, or one that has become idle while this one waited for its turn.
        Raises ConnectFailed, TlsFailed, UpstreamTimeout.
        """
        return self.dial(
            lambda: UpstreamConnection(self),
            unmade=UpstreamConnection.unmade,
            ready_made=(lambda: None) if fresh else self.take,
        )
