"""What becomes of a request's body over HTTP/2: it is given to its exchange, kept until it has somewhere to go, or held back
while the receiver reads slowly.
"""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http2.frames import HEAD_OCTETS
from idtoken_proxy.engine.http2.outbox import append
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.streams import CLOSED, HELD, REMOTE, Stream
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import ProxyError

_ITS_END: Final = frozenset({REMOTE, CLOSED})  # the app has said all


class BodyConnection(Protocol):
    """As far as bodies need it. `kept`: octets, for all its streams, beside what the peer's windows do not let out."""

    core: ServerConnection
    sweeper: Sweeper
    kept: int

    def soon(self) -> None: ...

    def on_held(self, *, answer: bool) -> None:
        """One side is held back for the other."""


Connection = TypeVar("Connection", bound=BodyConnection)


class Aside:
    """What few streams need. Of a request's body, `pending`: what came before it had somewhere to go; `owed`: credit that is
    kept back while the receiver reads slowly; `weight`: the stream's share of its connection's `kept`. Of an answer that the app
    does not get, `page`: its beginning, which becomes a gRPC status; `pieces`: how many that came in; `error`: in its place.
    """

    __slots__ = ("error", "owed", "page", "pending", "pieces", "weight")

    def __init__(self) -> None:
        self.pending: list[bytes] | None = None
        self.owed = 0
        self.weight = 0
        self.page = b""
        self.pieces = 0
        self.error: ProxyError | None = None


class AppBody(Stream, Generic[Connection]):
    """The reading half of a stream; http2_app.py has the writing half, and makes both."""

    __slots__ = ("_aside", "connection", "exchange")

    connection: Connection
    exchange: Exchange | None
    _aside: Aside | None

    @property
    def aside(self) -> Aside:
        made = self._aside
        if made is None:
            made = self._aside = Aside()
        return made

    @property
    def held(self) -> bool:
        return self.marks & HELD != 0

    @property
    def request_complete(self) -> bool:
        """It has ended, and none of it is kept."""
        aside = self._aside
        return self.state in _ITS_END and (aside is None or aside.pending is None)

    def on_data(self, payload: bytes, *, end_stream: bool) -> None:
        exchange = self.exchange
        if exchange is None:
            self.drop(len(payload), end_stream=end_stream)
            return
        aside = self._aside
        if (aside is not None and aside.pending is not None) or not exchange.takes_body:
            if payload:
                aside = self.aside
                if aside.pending is None:
                    aside.pending = []
                append(aside.pending, payload)
                self.weigh(len(payload))
            return
        if not payload:
            if end_stream:
                exchange.on_request_end()
            return
        octets = len(payload)
        if end_stream:
            exchange.on_request_data(payload, octets + HEAD_OCTETS, end=True)
            if self.marks & HELD:
                self._credit(octets)
            return  # a side that has ended needs no credit
        exchange.on_request_data(payload, octets + HEAD_OCTETS)
        self._credit(octets)

    def drop(self, octets: int, *, end_stream: bool) -> None:
        """What still comes of a request that has been answered."""
        raise NotImplementedError

    def on_end(self) -> None:
        """With trailers, which are dropped as those of HTTP/1.1 are."""
        self.on_data(b"", end_stream=True)

    def pump(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        aside = self._aside
        if aside is not None and aside.pending is not None:
            pending, aside.pending = aside.pending, None
            for payload in pending:
                self.weigh(-len(payload))
                exchange.on_request_data(payload, len(payload) + HEAD_OCTETS)
                self._credit(len(payload))
        self.connection.soon()
        if self.state in _ITS_END:
            exchange.on_request_end()

    def _credit(self, octets: int) -> None:
        if self.marks & HELD:
            self.aside.owed += octets
            self.weigh(octets)
        else:
            self.connection.core.release_credit(self, octets)

    def weigh(self, octets: int) -> None:
        """So much more is kept for this stream, or less."""
        if self.exchange is not None:  # else it has been let go
            self.aside.weight += octets
            self.connection.kept += octets

    def _let_go(self) -> None:
        """Of what an exchange had, once it is over."""
        aside = self._aside
        if aside is not None:
            pending, aside.pending = aside.pending, None
            aside.owed += sum(map(len, pending or ()))
            self.connection.kept -= aside.weight
            aside.weight = 0

    @property
    def holds(self) -> int:
        return self.held_octets + (0 if self._aside is None else self._aside.weight)

    def hold(self, *, held: bool) -> None:
        if held:
            self.marks |= HELD
            self.connection.on_held(answer=False)
            return
        self.marks &= ~HELD
        owed = 0
        aside = self._aside
        if aside is not None and aside.owed:
            owed, aside.owed = aside.owed, 0
            self.weigh(-owed)
        if owed or self.owed:
            self.connection.core.release_credit(self, owed)
            self.connection.soon()
