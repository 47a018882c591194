"""What an app over HTTP/2 is sent, stream by stream: heads, DATA and trailers, resets, and refusals in gRPC's own form.

The exchange says what the app is to be told (streams.py); how HTTP/2 says it is decided here alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from idtoken_proxy.engine import grpc_refusal, grpc_status, local_responses
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.frames import HEAD_OCTETS
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.streams import ENDED, OWNERS
from idtoken_proxy.engine.http2_app_body import AppBody, BodyConnection
from idtoken_proxy.engine.http2_blocks import answer_block
from idtoken_proxy.engine.http2_head_limits import USUAL, beyond_app
from idtoken_proxy.engine.http2_messages import pairs_of, response_pairs
from idtoken_proxy.engine.memory_budget import held_too_much
from idtoken_proxy.engine.streams import AnswerSide
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.errors import ProxyError, ReceiverReset
from idtoken_proxy.identity.answer import BODY
from idtoken_proxy.policy import cors
from idtoken_proxy.policy.headers import Peer
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.policy.tunnelled import Tunnelled
from idtoken_proxy.settings.model import Route

_MOST_PIECES: Final = 16  # of a page in place of an answer; nobody cuts one up like that
LINGER: Final = 2.0  # seconds, as over HTTP/1.1
# Of a stream's `marks`.
FULL: Final = OWNERS  # the app reads slower than it is written to
_LINGERS: Final = OWNERS << 1  # it has been answered, and what it still sends is read and dropped
_CURT: Final = OWNERS << 2  # what it still sends then is not even read
_NOT_PASSED: Final = OWNERS << 3  # it does not get the receiver's answer, but a gRPC status in its place
_WENT_WELL: Final = b"grpc-status: 0\r\n"
Explain = Callable[[Exchange], tuple[str, str | None] | None]


class AppConnection(BodyConnection, Protocol):
    """The connection that a stream is of. `number`: no other has it. `paused`: its app reads slower than it is written to."""

    number: int
    peer: Peer
    port: int | None
    paused: bool

    def on_stream_end(self, stream: AppStream, exchange: Exchange, *, whole: bool) -> None: ...

    def on_stream_gone(self, stream: AppStream) -> None:
        """All of it is out."""

    def explained(self, exchange: Exchange) -> tuple[str, str | None] | None:
        """What Google's refusal means, and its remedy; None: it is none."""


class AppStream(AppBody[AppConnection]):
    """A RequestSide (streams.py). `until`: the app's own deadline, while its exchange is under way."""

    __slots__ = ("deadline", "until")

    deadline: float
    tunnelled: Tunnelled | None = None

    def __init__(
        self, connection: AppConnection, stream_id: int, state: str, send_window: int, receive_window: int
    ) -> None:
        AppBody.__init__(self, stream_id, state, send_window, receive_window)
        self.connection = connection
        self.exchange = None
        self._aside = None
        self.deadline = self.until = NEVER

    @property
    def full(self) -> bool:
        return self.marks & FULL != 0

    @property
    def peer(self) -> Peer:
        return self.connection.peer

    @property
    def port(self) -> int | None:
        return self.connection.port

    # -- the answer ------------------------------------------------------------

    def send_interim(self, response: Response) -> int:
        core = self.connection.core
        block = core.encode(response_pairs(response))
        core.send_interim(self, block)
        self.connection.soon()
        return len(block) + HEAD_OCTETS

    def send_head(self, response: Response, body: bytes | None) -> int:
        exchange = self.exchange
        assert exchange is not None
        request = exchange.request
        assert request is not None
        if request.grpc and response.status != 200:
            if body is None:
                self.marks |= _NOT_PASSED
                return 0
            return self._send_refusal(response.status, body)
        connection = self.connection
        core = connection.core
        if response.head_octets > USUAL:
            too_large = beyond_app(response, core.peer.max_header_list_size)
            if too_large is not None:
                return self._send_instead(too_large, whole=body is not None)
        block = answer_block(response, core.encoder, connection.number)
        core.send_head(self, block, end_stream=body is not None and not body)
        connection.soon()
        if body:
            return len(block) + HEAD_OCTETS + self._write(body, end_stream=True)
        if body is not None and request.grpc:
            grpc_refusal.note(exchange, response.passing)
        return len(block) + HEAD_OCTETS

    def _send_instead(self, error: ProxyError, *, whole: bool) -> int:
        """Nothing of the receiver's answer goes out. `whole`: it has come."""
        self.marks |= _NOT_PASSED
        self.aside.error = error
        exchange = self.exchange
        assert exchange is not None
        if whole:
            return self._send_error(exchange, error)
        asyncio.get_running_loop().call_soon(self._enough, exchange)
        return 0

    def _send_error(self, exchange: Exchange, error: ProxyError) -> int:
        exchange.status, exchange.error = error.status, error
        return self.send_problem(error, None)

    def send_data(self, payload: bytes, *, end: bool = False) -> int:
        if self.marks & _NOT_PASSED:
            aside = self.aside
            aside.page += payload[: BODY - len(aside.page)]
            aside.pieces += 1
            if end:
                return self.send_end(())
            if len(aside.page) == BODY or aside.pieces == _MOST_PIECES:
                # The rest of the page, which may have no end, tells nothing more.
                asyncio.get_running_loop().call_soon(self._enough, self.exchange)
            return 0
        return self._write(payload, end_stream=end)

    def _write(self, payload: bytes, *, end_stream: bool) -> int:
        connection = self.connection
        connection.core.send_data(self, payload, end_stream=end_stream)
        connection.soon()
        if self.unsent is not None or connection.paused:
            self.on_full()
        return len(payload) + HEAD_OCTETS

    def send_end(self, trailers: Sequence[bytes]) -> int:
        if self.marks & _NOT_PASSED:
            exchange = self.exchange
            assert exchange is not None
            aside = self.aside
            if aside.error is not None:
                return self._send_error(exchange, aside.error)
            return self._send_refusal(exchange.status, aside.page)
        self.connection.core.send_end(self, pairs_of(trailers))
        self.connection.soon()
        if trailers and _WENT_WELL not in trailers:
            self._note(trailers)
        return sum(map(len, trailers)) + HEAD_OCTETS

    def _note(self, lines: Sequence[bytes]) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.request is not None and exchange.request.grpc:
            grpc_refusal.note(exchange, lines)

    def _enough(self, exchange: Exchange | None) -> None:
        if exchange is not None and self.exchange is exchange:
            exchange.on_answer_end(())

    def _send_refusal(self, status: int, body: bytes) -> int:
        """By Google, or whoever answers gRPC with a page."""
        exchange = self.exchange
        assert exchange is not None
        told = self.connection.explained(exchange)
        if told is None:
            told = f"the receiver answered gRPC with HTTP {status}", None
        return self._send_only(
            grpc_status.trailers_only(grpc_status.of_http(status), grpc_status.message_of(*told))
        )

    def _send_only(self, pairs: list[Pair]) -> int:
        core = self.connection.core
        block = core.encode(pairs)
        core.send_head(self, block, end_stream=True)
        self.connection.soon()
        return len(block) + HEAD_OCTETS

    def send_problem(self, error: ProxyError, route: Route | None) -> int:
        return self._send_problem(error, route, None if self.exchange is None else self.exchange.request)

    def _send_problem(self, error: ProxyError, route: Route | None, request: Request | None) -> int:
        if request is not None and request.grpc:
            if isinstance(error, ReceiverReset):
                # Clients of gRPC make a status of each code, and try again after some.
                self._reset(_code_of(error))
                return 0
            status, message = grpc_status.of_error(error), grpc_status.message_for(error, route)
            return self._send_only(grpc_status.trailers_only(status, message))
        return self._send_own(
            local_responses.problem(
                error,
                route,
                head_only=request is not None and request.method == b"HEAD",
                closes=False,
                readable_by=cors.problem_lines(request),
            )
        )

    def send_preflight(self, lines: bytes) -> int:
        return self._send_own(local_responses.preflight(lines, closes=False))

    def _send_own(self, whole: bytes) -> int:
        """An answer as HTTP/1.1 has it."""
        head, _, body = whole.partition(b"\r\n\r\n")
        status, _, lines = head.partition(b"\r\n")
        core = self.connection.core
        block = core.encode([(b":status", status[9:12]), *pairs_of((lines,))])
        core.send_head(self, block, end_stream=not body)
        self.connection.soon()
        return len(block) + HEAD_OCTETS + (self._write(body, end_stream=True) if body else 0)

    def send_switch(self, response: Response) -> int:
        raise AssertionError("HTTP/2 has no 101 (RFC 9113 section 8.6)")

    def send_established(self, tunnelled: Tunnelled) -> int:
        raise AssertionError("CONNECT over HTTP/2 is refused (accept.py)")

    def on_switch(self, upstream: AnswerSide) -> None:
        raise AssertionError("HTTP/2 has no 101")

    # -- the end ---------------------------------------------------------------

    def on_exchange_end(self) -> None:
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        self._let_go()
        self.connection.on_stream_end(self, exchange, whole=True)
        if self.state in ENDED:
            self.connection.on_stream_gone(self)
        else:
            self._end(exchange.request)

    def _end(self, request: Request | None) -> None:
        if request is None or request.grpc or request.method == b"CONNECT":
            self.marks |= _CURT  # clients of gRPC know the reset; what CONNECT opens is no body
        self.settle()

    def settle(self) -> None:
        """What is still to be sent has a deadline; behind it, an app that still sends is told that nobody reads it."""
        connection = self.connection
        if self.state not in ENDED and self.unsent is None:
            if not self.marks & (_LINGERS | _CURT):
                self._linger()
                return
            # RFC 9113 section 8.1: "MAY request that the client abort transmission of a request without error".
            connection.core.reset(self, ErrorCode.NO_ERROR)
            connection.soon()
        if self.state in ENDED:
            connection.on_stream_gone(self)

    def _linger(self) -> None:
        """Reads on for a while: a reset that comes along with the answer costs curl its status, and others wait for a window
        that stays shut before they look at the answer.
        """
        self.marks |= _LINGERS
        self.deadline = self.connection.sweeper.now + LINGER
        self.hold(held=False)

    def drop(self, octets: int, *, end_stream: bool) -> None:
        if not self.marks & _LINGERS:
            return
        if end_stream:
            self.connection.on_stream_gone(self)
        else:
            self._credit(octets)
            self.connection.soon()

    def on_exchange_broken(self) -> None:
        """The answer's head is out; what it came to must not be taken for whole."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        self._let_go()
        error = exchange.error
        connection = self.connection
        connection.on_stream_end(self, exchange, whole=False)
        request = exchange.request
        if isinstance(error, ReceiverReset):
            self._reset(_code_of(error))
        elif error is not None and self.marks & _NOT_PASSED:  # nothing of an answer is out
            self._send_problem(error, None, request)
            self._end(request)
        elif request is not None and request.grpc and error is not None and self.unsent is None:
            # A status tells more than a reset, and no client takes this one for success.
            status = grpc_status.of_error(error)
            message = grpc_status.message_of(error.detail, error.remedy)
            connection.core.send_end(self, grpc_status.trailers(status, message))
            self._end(request)
            connection.soon()
        else:
            self._reset(ErrorCode.INTERNAL_ERROR)

    def _reset(self, code: int) -> None:
        self.connection.core.reset(self, code)
        self.connection.soon()
        if self.exchange is None:
            self.connection.on_stream_gone(self)

    def gone(self, code: int) -> None:
        """The app reset the stream, or its connection ended."""
        exchange, self.exchange = self.exchange, None
        self._let_go()
        if exchange is not None:
            exchange.abandon(code)
            self.connection.on_stream_end(self, exchange, whole=False)
        self.connection.on_stream_gone(self)

    # -- flow control, deadlines -------------------------------------------------

    def on_full(self) -> None:
        if not self.marks & FULL:
            self.marks |= FULL
            self.connection.on_held(answer=True)
            if self.exchange is not None:
                self.exchange.hold_answer(held=True)

    def on_sent(self, idle: float) -> None:
        """Something of what was held is out. `idle`: timeouts.idle."""
        if self.deadline != NEVER:
            self.deadline = self.connection.sweeper.now + idle
        if self.unsent is None:
            if self.exchange is None:
                self.settle()
            elif not self.connection.paused:
                self.on_drained()

    def on_drained(self) -> None:
        if self.marks & FULL:
            self.marks &= ~FULL
            if self.exchange is not None:
                self.exchange.hold_answer(held=False)

    def relieve(self) -> None:
        """It holds more than the proxy can bear."""
        if self.exchange is not None:
            self.exchange.fail(held_too_much())
        else:
            self._reset(ErrorCode.ENHANCE_YOUR_CALM)

    def expire(self) -> None:
        self.deadline = NEVER
        if self.exchange is not None:
            self.exchange.on_deadline()
        elif self.marks & _LINGERS:
            self.settle()
        else:
            self._reset(ErrorCode.INTERNAL_ERROR)  # it does not read what is left


def _code_of(error: ReceiverReset) -> int:
    """NO_ERROR says that the answer is whole (RFC 9113 section 8.1), and it is not."""
    return error.code or ErrorCode.INTERNAL_ERROR
