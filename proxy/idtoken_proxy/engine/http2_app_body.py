"""What becomes of a request's body over HTTP/2: it is given to its exchange, kept until it has somewhere to go, or held back
while the receiver reads slowly.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http2.frames import HEAD_OCTETS
from idtoken_proxy.engine.http2.outbox import append
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.streams import Stream
from idtoken_proxy.engine.sweeper import Sweeper


class BodyConnection(Protocol):
    """As far as bodies need it. `kept`: octets, for all its streams, beside what the peer's windows do not let out."""

    core: ServerConnection
    sweeper: Sweeper
    kept: int

    def soon(self) -> None: ...

    def on_held(self, *, answer: bool) -> None:
        """One side is held back for the other."""


Connection = TypeVar("Connection", bound=BodyConnection)


class AppBody(Generic[Connection]):
    """The reading half of a stream; http2_app.py has the writing half."""

    __slots__ = (
        "_ended", "_owed", "_pending", "connection", "exchange", "held", "request_complete", "stream", "weight",
    )  # fmt: skip

    exchange: Exchange | None

    def __init__(self, connection: Connection, stream: Stream, *, complete: bool) -> None:
        self.connection = connection
        self.stream = stream
        self.exchange = None
        self.request_complete = complete
        self.held = False
        self._pending: list[bytes] | None = None  # what came before it has somewhere to go
        self._ended = complete
        self._owed = 0  # credit that is kept back while the receiver reads slowly
        self.weight = 0  # its share of the connection's `kept`

    def on_data(self, payload: bytes, *, end_stream: bool) -> None:
        exchange = self.exchange
        self._ended = end_stream
        if exchange is None:
            self.drop(len(payload), end_stream=end_stream)
            return
        if self._pending is not None or not exchange.takes_body:
            if payload:
                if self._pending is None:
                    self._pending = []
                append(self._pending, payload)
                self.weigh(len(payload))
            return
        if not payload:
            if end_stream:
                self._complete(exchange)
            return
        octets = len(payload)
        if end_stream:
            self.request_complete = True
            exchange.on_request_data(payload, octets + HEAD_OCTETS, end=True)
            if self.held:
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
        if exchange is None or not exchange.takes_body:
            return
        pending, self._pending = self._pending, None
        for payload in pending or ():
            self.weigh(-len(payload))
            exchange.on_request_data(payload, len(payload) + HEAD_OCTETS)
            self._credit(len(payload))
        self.connection.soon()
        if self._ended and not self.request_complete:
            self._complete(exchange)

    def _complete(self, exchange: Exchange) -> None:
        self.request_complete = True
        exchange.on_request_end()

    def _credit(self, octets: int) -> None:
        if self.held:
            self._owed += octets
            self.weigh(octets)
        else:
            self.connection.core.release_credit(self.stream, octets)

    def weigh(self, octets: int) -> None:
        """So much more is kept for this stream, or less."""
        if self.exchange is not None:  # else it has been let go
            self.weight += octets
            self.connection.kept += octets

    def _let_go(self) -> None:
        """Of what an exchange had, once it is over."""
        pending, self._pending = self._pending, None
        self._owed += sum(map(len, pending or ()))
        self.connection.kept -= self.weight
        self.weight = 0

    @property
    def holds(self) -> int:
        return self.weight + self.stream.held_octets

    def hold(self, *, held: bool) -> None:
        self.held = held
        if held:
            self.connection.on_held(answer=False)
        elif self._owed:
            owed, self._owed = self._owed, 0
            self.weigh(-owed)
            self.connection.core.release_credit(self.stream, owed)
            self.connection.soon()
