"""The connections to one origin on which HTTP/2 is spoken: streams are handed out, and a connection is opened where they
are not enough. Google's front ends take 100 on each.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from idtoken_proxy.engine.http2_upstream import Http2Upstream, UpstreamStream
from idtoken_proxy.engine.stats import UpstreamCounts
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.tls import HTTP2
from idtoken_proxy.errors import BrokenOff, NoHttp2
from idtoken_proxy.identity.clock import SystemClock
from idtoken_proxy.settings.model import Upstream

_boot = SystemClock.boot
_UNSPOKEN_FOR: Final = 60.0  # seconds of running time; a receiver that is deployed anew may speak it
_STREAMS: Final = 100  # of a connection that is only coming about
_TAKES_NOTHING: Final = (
    "the receiver's connections take no request: it ends them at once, or allows no streams"
)


class Way(Protocol):
    """To the origin (dialer.py)."""

    upstream: Upstream
    counts: UpstreamCounts

    async def dial(
        self,
        make: Callable[[], Http2Upstream],
        *,
        unmade: Callable[[Http2Upstream], None],
        until: Callable[[Http2Upstream], asyncio.Future[None]],
        tls: ssl.SSLContext | None,
        alpn: tuple[str | None, ...],
    ) -> Http2Upstream: ...


class Http2Pool:
    def __init__(
        self,
        way: Way,
        sweeper: Sweeper,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        keepalive: float,
    ) -> None:
        self._way = way
        self.counts = way.counts
        self.sweeper = sweeper
        self._tls = tls
        self._keepalive = keepalive
        self._scheme = way.upstream.scheme.encode("ascii")
        self._usable: list[Http2Upstream] = []
        self._live: set[Http2Upstream] = set()
        self._closed = False
        self._dialling: asyncio.Task[Http2Upstream] | None = None
        self._waiting = 0  # for that one
        self._asking = 0  # for any
        self._unspoken_until = 0.0

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def connections(self) -> list[Http2Upstream]:
        """All that there are, in use and idle."""
        return list(self._live)

    @property
    def idle(self) -> int:
        return sum(not one.busy for one in self._live)

    @property
    def unspoken(self) -> bool:
        """The receiver has shown that it does not speak HTTP/2, and not long ago."""
        return self.sweeper.now < self._unspoken_until

    def take(self) -> UpstreamStream | None:
        """A stream on a connection that has room for it; None where there is none."""
        for connection in self._usable:
            core = connection.core
            if len(core.streams) < core.most and not (connection.paused and connection.clogged):
                if not core.streams and _boot() - connection.idle_since > self._keepalive:
                    # The sweeper's time stood still with this process; the receiver's did not.
                    connection.abort()
                    return self.take()
                self.counts.reused += 1
                return UpstreamStream(connection)
        return None

    async def connect(self, *, fresh: bool = False) -> UpstreamStream:
        """`fresh`: on a connection that does not exist yet. Raises ConnectFailed, TlsFailed, UpstreamTimeout, BrokenOff."""
        self._asking += 1
        try:
            return await self._connect(fresh=fresh)
        finally:
            self._asking -= 1
            self._give_up()

    async def _connect(self, *, fresh: bool) -> UpstreamStream:
        in_vain = 0
        while True:
            if not fresh:
                stream = self.take()
                if stream is not None:
                    return stream
            dialling = self._dialling
            if dialling is None or self._waiting >= _STREAMS:
                dialling = self._dialling = asyncio.ensure_future(self._dial())
                dialling.add_done_callback(self._dialled)
                self._waiting = 0
            self._waiting += 1
            # Shielded: it is for others too.
            connection = await asyncio.shield(dialling)
            if connection.usable:
                return UpstreamStream(connection)
            fresh = False
            if not connection.busy:  # others have not taken it all: there was nothing to be had
                in_vain += 1
                if in_vain > 1:  # else a receiver that allows no stream would be dialled without end
                    raise BrokenOff(_TAKES_NOTHING)

    def _give_up(self) -> None:
        """On what is coming about for nobody, where it is of no use to others either."""
        if self._closed and not self._asking and self._dialling is not None:
            self._dialling.cancel()

    async def _dial(self) -> Http2Upstream:
        tls = None
        if self._tls is not None and self._scheme == b"https":
            tls = await asyncio.to_thread(self._tls)  # the first time it reads the system's roots
        try:
            connection = await self._way.dial(
                lambda: Http2Upstream(self, self._scheme),
                unmade=Http2Upstream.unmade,
                until=lambda made: made.ready,
                tls=tls,
                alpn=HTTP2,
            )
        except NoHttp2:
            self._unspoken_until = self.sweeper.now + _UNSPOKEN_FOR
            raise
        connection.idle_since = _boot()
        connection.deadline = self.sweeper.now + self._keepalive  # whoever asked for it may have gone
        if not connection.usable or (self._closed and not self._asking):
            connection.close()
        elif not self._closed:
            self._usable.append(connection)
        return connection

    def _dialled(self, task: asyncio.Task[Http2Upstream]) -> None:
        if task is self._dialling:
            self._dialling = None
        if not task.cancelled():
            task.exception()  # whoever asked for it may have gone

    def register(self, connection: Http2Upstream) -> None:
        self.counts.opened += 1
        self._live.add(connection)
        self.sweeper.watch(connection)

    def unregister(self, connection: Http2Upstream) -> None:
        if connection in self._usable:
            self._usable.remove(connection)
        if connection.lost:
            self._live.discard(connection)
            self.sweeper.unwatch(connection)

    def on_idle(self, connection: Http2Upstream) -> None:
        if self._closed:
            connection.close()
            return
        connection.deadline = self.sweeper.now + self._keepalive
        connection.idle_since = _boot()

    def close(self) -> None:
        """Idle connections go; one in use goes when its last exchange ends."""
        self._closed = True
        self._usable.clear()
        self._give_up()
        for connection in list(self._live):
            if (
                not connection.busy and connection.ready.done()
            ):  # whoever waits for one that is coming about has yet to use it
                connection.close()
