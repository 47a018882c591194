"""The admin listener's connections, bounded in number and in time, so that the data path keeps its descriptors.

aiohttp has neither bound: whoever opened a thousand connections there and finished no head took every descriptor of the
process, and the listener may face other machines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import structlog

MOST: Final = (
    64  # probes and scrapers are a handful; Envoy and nginx have no limit here, and are told to be kept apart
)
TAKING: Final = (
    30.0  # seconds within which an answer is to be taken whole: of ten thousand routes it has 8 MB
)
KEEPALIVE: Final = 75.0  # seconds that a scraper's connection may rest; Prometheus comes back within 60

log = structlog.get_logger("idtoken_proxy.server")


class Connections:
    """Called, it makes a listener's protocol. `handler` makes aiohttp's, which has its connection to itself; `head_timeout`
    tells the
    seconds from a request's first octet, or the connection's beginning, to the end of its head.
    """

    def __init__(
        self,
        handler: Callable[[], asyncio.Protocol],
        head_timeout: Callable[[], float],
        *,
        most: int = MOST,
        taking: float = TAKING,
        keepalive: float = KEEPALIVE,
        listener: str = "admin",
    ) -> None:
        """`listener`: whose they are, for the log."""
        self._too_many = f"too many connections to the {listener} listener"
        self.refused = 0
        self.taking = taking
        self.keepalive = keepalive
        self._handler = handler
        self._head_timeout = head_timeout
        self._most = most
        self._open: dict[_Connection, None] = {}  # the one that has rested longest is the first

    @property
    def busy(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def __call__(self) -> _Connection:
        return _Connection(self._handler(), self)

    def of(self, transport: asyncio.BaseTransport | None) -> _Connection | None:
        return next((one for one in self._open if one.transport is transport), None)

    def enter(self, connection: _Connection) -> bool:
        """Whether there is room for it. One that rests makes room: a probe must not wait for a scraper."""
        if len(self._open) >= self._most:
            resting = next((one for one in self._open if one.rests), None)
            if resting is None:
                self.refused += 1
                log.warning(self._too_many, limit=self._most)
                return False
            resting.cut()
        self._open[connection] = None
        return True

    def leave(self, connection: _Connection) -> None:
        self._open.pop(connection, None)

    def close(self) -> None:
        for connection in list(self._open):
            connection.cut()

    @property
    def head_timeout(self) -> float:
        return self._head_timeout()


class _Connection(asyncio.Protocol):
    """In front of aiohttp's protocol. `rests`: it has had an answer, and has not begun the next request."""

    def __init__(self, handler: asyncio.Protocol, connections: Connections) -> None:
        self.rests = False
        self.transport: asyncio.Transport | None = None
        self._handler = handler
        self._connections = connections
        self._working = False  # a head has come, and its answer has yet to begin
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if not self._connections.enter(self):
            self._handler = asyncio.Protocol()  # nobody hears of it
            self.transport.abort()
            return
        self._wind()
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.rests:
            self.rests = False
            self._wind()
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def begin(self) -> None:
        """A head has come."""
        self._working = True

    def answer(self) -> None:
        """What it asked for is about to be written."""
        self._working = False
        self.rests = True
        self._wind()

    def cut(self) -> None:
        self._connections.leave(self)
        if self.transport is not None:
            self.transport.abort()

    def _wind(self) -> None:
        self._since = asyncio.get_running_loop().time()
        self._look_again()

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._connections.head_timeout, self._look)

    def _look(self) -> None:
        assert self.transport is not None
        limit = self._connections.head_timeout
        if self.rests:
            taken = not self.transport.get_write_buffer_size()
            limit = self._connections.keepalive if taken else self._connections.taking
        if self._working or asyncio.get_running_loop().time() - self._since < limit:
            self._look_again()
        else:
            self.cut()
