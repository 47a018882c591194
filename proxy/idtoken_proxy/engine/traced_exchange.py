"""An exchange that is sampled: what its spans are made of, taken down as it goes on. Every other exchange is an Exchange and
knows nothing of this.

Each attempt to have the request answered is a span of its own, and goes upstream with a `traceparent` that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from random import getrandbits
from time import monotonic
from typing import Any

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.sampler import Sampler
from idtoken_proxy.engine.streams import AnswerSide, RequestSide
from idtoken_proxy.engine.trace import Trace, parent_of, with_parent, without_context
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.errors import UpstreamError
from idtoken_proxy.identity.token import Token
from idtoken_proxy.policy.headers import TokenLines
from idtoken_proxy.policy.request import Request, Response

_GRPC_STATUS = b"grpc-status"


class Attempt:
    """One request to the receiver. `started` and `ended`: by `monotonic`; 0.0 while it goes on, and it then ends with its
    exchange. `http2`: None before there is a connection. `status`: of an answer that did not become the exchange's.
    """

    __slots__ = ("ended", "error", "http2", "span_id", "started", "status")

    def __init__(self, span_id: int) -> None:
        self.span_id = span_id
        self.started = monotonic()
        self.ended = 0.0
        self.http2: bool | None = None
        self.status = 0
        self.error: UpstreamError | None = None


class TracedExchange(Exchange):
    """In place of `plain`, which has just begun. `parent`: the app's own span, or None. `spoilt`: what the app says of a trace does not go on. `recorded`: False where it
    is here for that alone, and becomes no span. `grpc_status`: the receiver's.
    """

    __slots__ = (
        "_tracer", "attempts", "grpc_status", "parent", "recorded", "span_id", "spoilt", "trace_id", "waits",
    )  # fmt: skip

    def __init__(
        self,
        plain: Exchange,
        app: RequestSide,
        request: Request,
        tracer: Tracer,
        parent: Trace | None,
        trace_id: int,
        *,
        spoilt: bool,
        recorded: bool,
    ) -> None:
        super().__init__(app, plain.router, plain.received)
        self.started = plain.started
        self.request = request  # it may be refused before it is looked at
        self._tracer = tracer
        self.parent = parent
        self.trace_id = trace_id
        self.span_id = span_id_of() if recorded else 0
        self.spoilt = spoilt
        self.recorded = recorded
        self.attempts: list[Attempt] = []
        self.grpc_status: int | None = None
        self.waits = False  # for a token

    @property
    def trace(self) -> Trace:
        """Its own span, for the log."""
        return Trace(f"{self.trace_id:032x}", f"{self.span_id:016x}", sampled=True)

    def told(self) -> None:
        """It has ended."""
        if self.waits:
            self._tracer.waits_no_more(self)
        if self.recorded:
            self._tracer.record(self)

    # -- what it takes down ------------------------------------------------------

    def _await_token(self, fetch: Coroutine[Any, Any, Token]) -> None:
        super()._await_token(fetch)
        if self.recorded:
            self.waits = True
            self._tracer.waits_for_token(self)

    def _on_token(self, token: Token) -> None:
        if self.waits:
            self._tracer.waits_no_more(self)
        super()._on_token(token)

    def _dispatch(self, token: TokenLines) -> None:
        request = self._accepted.request
        if not self.recorded:
            if not self.attempts:
                self._accepted = self._accepted.saying(_with(request, without_context(request.passing)))
                self.attempts.append(Attempt(0))
        elif (
            not self.attempts or self.attempts[-1].ended
        ):  # else that one had found no HTTP/2, and goes on without
            attempt = Attempt(span_id_of())
            line = b"traceparent: 00-%032x-%016x-01\r\n" % (self.trace_id, attempt.span_id)
            lines = without_context(request.passing) if self.spoilt else request.passing
            self._accepted = self._accepted.saying(_with(request, with_parent(lines, line)))
            self.attempts.append(attempt)
        super()._dispatch(token)

    def _send(self, token: TokenLines, connection: AnswerSide) -> None:
        self.attempts[-1].http2 = not isinstance(connection, UpstreamConnection)
        super()._send(token, connection)

    def _renews(self, response: Response, body: bytes | None) -> bool:
        again = super()._renews(response, body)
        if again:
            attempt = self.attempts[-1]
            attempt.ended = monotonic()
            attempt.status = response.status
        return again

    def on_upstream_lost(self, error: UpstreamError) -> None:
        attempt = self.attempts[-1]
        attempt.ended = monotonic()
        attempt.error = error
        super().on_upstream_lost(error)

    def on_answer(self, response: Response, body: bytes | None) -> None:
        if body is not None and self._accepted.request.grpc:
            self._look_for_status(response.passing)
        super().on_answer(response, body)

    def on_answer_end(self, trailers: Sequence[bytes]) -> None:
        if trailers and self._accepted.request.grpc:
            self._look_for_status(trailers)
        super().on_answer_end(trailers)

    def _look_for_status(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            name, _, value = line.partition(b":")
            if name.lower() == _GRPC_STATUS:
                digits = value.strip()
                self.grpc_status = int(digits) if len(digits) <= 3 and digits.isdigit() else None


class Tracer:
    """Says which exchanges are traced. `record`: takes each of them at its end."""

    def __init__(self, sampler: Sampler, record: Callable[[TracedExchange], None]) -> None:
        self._sampler = sampler
        self.record = record
        self._waiting: dict[object, list[TracedExchange]] = {}

    def begin(self, exchange: Exchange, app: RequestSide, request: Request) -> Exchange:
        """`exchange`, which has just begun, or what takes its place where it is sampled; else nothing more is made."""
        parent, spoilt = parent_of(request.passing)
        trace_id = trace_id_of() if parent is None else int(parent.id, 16)
        recorded = self._sampler.takes(trace_id, parent)
        if not recorded and not spoilt:
            return exchange
        return TracedExchange(
            exchange, app, request, self, parent, trace_id, spoilt=spoilt, recorded=recorded
        )

    # -- who waits for a token -----------------------------------------------------

    def waits_for_token(self, exchange: TracedExchange) -> None:
        entry = exchange.entry
        assert entry is not None
        self._waiting.setdefault(entry.slot, []).append(exchange)

    def waits_no_more(self, exchange: TracedExchange) -> None:
        exchange.waits = False
        entry = exchange.entry
        assert entry is not None
        waiting = self._waiting.get(entry.slot)
        if waiting is not None and exchange in waiting:
            waiting.remove(exchange)
            if not waiting:
                del self._waiting[entry.slot]

    def waiting_for(self, slot: object) -> Sequence[TracedExchange]:
        """Those that wait for the token that has just been fetched, or not, into `slot`."""
        return tuple(self._waiting.get(slot, ()))

    def takes_root(self, trace_id: int) -> bool:
        """Whether a span without a parent is recorded."""
        return self._sampler.takes(trace_id, None)


def trace_id_of() -> int:
    """A random one: 128 bits, and not all of them 0."""
    return getrandbits(128) or 1


def span_id_of() -> int:
    """Likewise, of 64 bits."""
    return getrandbits(64) or 1


def _with(request: Request, lines: list[bytes]) -> Request:
    """The same with these lines to pass on; nothing is remembered of it for the next one, whose lines are others."""
    mine = request.copy()
    mine.passing = lines
    mine.shape = mine.verdict = mine.outbound = mine.encoded = None
    mine.varying = ()
    mine.repeats = False
    return mine


def recorded(exchange: Exchange) -> Trace | None:
    """The span that `exchange` becomes, if it becomes one."""
    return exchange.trace if isinstance(exchange, TracedExchange) and exchange.recorded else None
