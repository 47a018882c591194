"""HTTP/2 towards receivers: one connection carries many exchanges, each of which has a stream."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, Protocol

from idtoken_proxy.engine.connect_errors import told
from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.heads import ResponseHead
from idtoken_proxy.engine.http2.listener import BY_CONNECTION, Reset
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import ANSWERED, CLOSED, ENDED, HELD, IDLE, OWNERS, SENDING, Stream
from idtoken_proxy.engine.http2_blocks import RequestBlocks
from idtoken_proxy.engine.http2_head_limits import USUAL, beyond_receiver
from idtoken_proxy.engine.http2_liveness import SILENT, Liveness, Verdict
from idtoken_proxy.engine.http2_losses import error_of, gone_silent, no_http2
from idtoken_proxy.engine.http2_messages import response_of
from idtoken_proxy.engine.http2_transport import Http2Transport, clock
from idtoken_proxy.engine.interim import check_interim
from idtoken_proxy.engine.stats import UpstreamCounts
from idtoken_proxy.engine.streams import CANCEL, AnswerListener
from idtoken_proxy.engine.sweeper import NEVER, Sweeper
from idtoken_proxy.engine.upstream import MAX_RESPONSE_HEAD
from idtoken_proxy.errors import MalformedResponse, UpstreamError
from idtoken_proxy.policy.headers import Outbound
from idtoken_proxy.policy.request import Request

_LIMITS: Final = Limits(header_octets=MAX_RESPONSE_HEAD)
_NOT_HTTP2: Final = b"HTTP/1."
_ARE_YOU_THERE: Final = b"no sound"
# Of a stream's `marks`, of which the upper part counts.
_FULL: Final = OWNERS  # the receiver reads slower than it is written to
_ONE_INTERIM: Final = OWNERS << 1
_ANY: Final = Request()  # to a 101 alone does it matter, and heads.py refuses that


class Owner(Protocol):
    """The pool that a connection is of."""

    counts: UpstreamCounts
    sweeper: Sweeper

    def register(self, connection: Http2Upstream) -> None:
        """It has come about."""

    def unregister(self, connection: Http2Upstream) -> None:
        """It is gone, or takes no stream any more."""

    def on_idle(self, connection: Http2Upstream) -> None:
        """Its last stream has ended."""


class Http2Upstream(Http2Transport[ClientConnection]):
    """`ready`: its SETTINGS have come, so that it speaks HTTP/2 and has said how many streams it takes."""

    block_of: Callable[[Outbound], bytes]

    def __init__(self, pool: Owner, scheme: bytes) -> None:
        super().__init__()
        self.pool = pool
        self.scheme = scheme
        self._sweeper = pool.sweeper
        # In clear text it is on this machine: no way is lost there, and who stands still is in a debugger.
        self._asks = scheme != b"http"
        self.liveness = Liveness(pool.sweeper.now)
        self.deadline = NEVER
        self.idle_since = 0.0  # by the clock that runs through suspend
        self.lost = False
        self.made = False
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._first = b""

    @property
    def busy(self) -> bool:
        return bool(self.core.streams)

    @property
    def usable(self) -> bool:
        """For another stream."""
        return self.core.capacity > 0 and not self.lost and not self.transport.is_closing()

    # -- asyncio ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.made = True
        self.core = ClientConnection(self, _LIMITS, clock)
        self.block_of = RequestBlocks(self.core.encoder, self.scheme).block_of
        self.pool.register(self)
        self.flush()

    def data_received(self, data: bytes) -> None:
        liveness = self.liveness
        liveness.heard, liveness.silent = self._sweeper.now, False
        if not self.ready.done():
            self._first += data[: len(_NOT_HTTP2)]
        super().data_received(data)
        if not self.ready.done() and self.core.settled:
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.pool.unregister(self)
        self._fail_ready(told(exc)[0] if isinstance(exc, ssl.SSLError) else None)
        self.core.lost()

    def unmade(self) -> None:
        """It did not come about after all."""
        self.lost = True
        self.pool.unregister(self)
        if self.made:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        for stream in list(self.core.streams.values()):
            if isinstance(stream, UpstreamStream):
                stream.on_full()

    def resume_writing(self) -> None:
        super().resume_writing()
        for stream in list(self.core.streams.values()):
            if isinstance(stream, UpstreamStream) and stream.unsent is None:
                stream.on_drained()

    def expire(self) -> None:
        """Idle for too long, or silent for too long."""
        if self.busy:
            self.look()
        else:
            self.close()

    def begin(self) -> None:
        """A stream has been opened where there was none."""
        if not self._asks:
            self.deadline = NEVER
        elif (now := self._sweeper.now) < self.liveness.heard + SILENT:
            self.deadline = now + SILENT
        else:
            self.look()

    def look(self) -> None:
        """Whether the receiver is there still: time has passed, or it was idle for long."""
        now = self._sweeper.now
        verdict = self.liveness.look(now)
        self.deadline = self.liveness.next_look(now)
        if verdict is Verdict.ASK:
            self.core.ping(_ARE_YOU_THERE)
            self.soon()
        elif verdict is Verdict.GONE:
            self.abort()

    def close(self) -> None:
        """With nothing under way on it."""
        self.pool.unregister(self)
        self.core.close()
        self._end()

    def _end(self) -> None:
        """A receiver that does not read is not told why: to wait for it would have no end."""
        self.flush()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def abort(self) -> None:
        self.pool.unregister(self)
        self.transport.abort()

    def _fail_ready(self, said: str | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(no_http2(self._first, said))
            self.ready.exception()  # whoever waited may have gone

    # -- streams ---------------------------------------------------------------

    def ended(self) -> None:
        """One of its streams."""
        core = self.core
        if core.streams or self.lost:
            return
        if core.goaway is not None or core.failure is not None:
            self.close()
        else:
            self.pool.on_idle(self)

    # -- what the core tells (listener.py) --------------------------------------

    def on_response(self, stream: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        self.liveness.spoke = True
        if isinstance(stream, UpstreamStream):
            stream.on_response(head, end_stream=end_stream)

    def on_interim(self, stream: Stream, head: ResponseHead) -> None:
        if isinstance(stream, UpstreamStream):
            stream.on_interim(head)

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        self.liveness.spoke = True
        if isinstance(stream, UpstreamStream):
            stream.on_data(payload, end_stream=end_stream)

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        if isinstance(stream, UpstreamStream):
            stream.on_end([field.wire for field in trailers])

    def on_sent(self, stream: Stream, octets: int) -> None:
        if stream.unsent is None and isinstance(stream, UpstreamStream) and not self.paused:
            stream.on_drained()

    def on_reset(self, stream: Stream, reset: Reset) -> None:
        if isinstance(stream, UpstreamStream) and stream.has_listener:
            self.pool.counts.reset(reset.by, reset.code)
            stream.on_lost(gone_silent() if self.liveness.gone else error_of(reset))
        if reset.by != BY_CONNECTION:
            self.ended()

    def on_capacity(self) -> None:
        """Whoever waits for a stream waits for a connection (http2_pool.py)."""

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self.pool.counts.goaways += 1
        self.pool.unregister(self)
        if not self.core.streams:
            self.ended()

    def on_pong(self, payload: bytes) -> None: ...

    def on_fault(self, fault: ConnectionFault) -> None:
        """The streams have been told."""
        self._fail_ready(fault.reason)
        self.pool.unregister(self)
        self._end()


class UpstreamStream(Stream):
    """An AnswerSide (streams.py): one stream of a connection."""

    __slots__ = ("_connection", "_listener")

    def __init__(self, connection: Http2Upstream) -> None:
        Stream.__init__(self, 0, IDLE, 0, 0)
        self._connection = connection
        self._listener: AnswerListener | None = None

    @property
    def lost(self) -> bool:
        return self._connection.lost

    @property
    def answered(self) -> bool:
        return self.marks & ANSWERED != 0

    @property
    def answering(self) -> bool:
        return False  # a head comes whole or not at all

    @property
    def has_listener(self) -> bool:
        """Somebody wants to hear of it still."""
        return self._listener is not None

    # -- the exchange's side ---------------------------------------------------

    def send_head(self, outbound: Outbound, listener: AnswerListener) -> None:
        connection = self._connection
        self._listener = listener
        request = outbound.request
        core = connection.core
        if request.head_octets > USUAL or not request.http2:
            too_large = beyond_receiver(outbound, core.peer.max_header_list_size)
            if too_large is not None:
                self.state = CLOSED  # nothing goes out on it
                asyncio.get_running_loop().call_soon(self.on_lost, too_large)
                return
        was_idle = not core.streams
        core.begin(
            self,
            connection.block_of(outbound),
            end_stream=not request.has_body,
            answer_has_body=request.method != b"HEAD",
        )
        if was_idle:
            connection.begin()
        connection.soon()
        if connection.paused:
            self.on_full()

    def send_data(self, payload: bytes, *, end: bool = False) -> None:
        connection = self._connection
        connection.core.send_data(self, payload, end_stream=end)
        connection.soon()
        if self.unsent is not None:
            self.on_full()

    def send_end(self) -> None:
        if self.state in SENDING:  # else the head was the end
            self._connection.core.send_end(self)
            self._connection.soon()

    def hold(self, *, held: bool) -> None:
        if held:
            self.marks |= HELD
            return
        self.marks &= ~HELD
        if self.owed:
            self._connection.core.release_credit(self, 0)
            self._connection.soon()

    def release(self) -> None:
        self._leave(CANCEL)  # where the receiver has yet to take what it did not wait for

    def abort(self, code: int = CANCEL) -> None:
        self._leave(code)

    def _leave(self, code: int) -> None:
        self._listener = None
        connection = self._connection
        if self.state not in ENDED:
            connection.core.reset(self, code)
            connection.soon()
        connection.ended()

    def take_over(self) -> NoReturn:
        raise AssertionError("HTTP/2 has no 101 (RFC 9113 section 8.6)")

    # -- the receiver's --------------------------------------------------------

    def on_response(self, head: ResponseHead, *, end_stream: bool) -> None:
        self.marks |= ANSWERED
        if self._listener is not None:
            response = head.made
            if response is None:
                response = response_of(head)
                if head.kept and not head.special:
                    response.encoded = {}
                    head.made = response
            self._listener.on_answer(response, b"" if end_stream else None)

    def on_interim(self, head: ResponseHead) -> None:
        self.marks |= ANSWERED
        listener = self._listener
        if listener is None:
            return
        self.marks += _ONE_INTERIM
        response = response_of(head)
        try:
            check_interim(response, _ANY, self.marks // _ONE_INTERIM)
        except MalformedResponse as error:
            self.abort(ErrorCode.ENHANCE_YOUR_CALM)
            listener.on_upstream_lost(error)
            return
        listener.on_interim(response)

    def on_data(self, payload: bytes, *, end_stream: bool) -> None:
        listener = self._listener
        if listener is None:
            return
        if not payload:
            if end_stream:
                listener.on_answer_end(())
            return
        if end_stream:
            listener.on_answer_data(payload, end=True)
            return  # no credit for a side that has ended
        listener.on_answer_data(payload)
        self._connection.core.release_credit(self, len(payload))

    def on_end(self, trailers: Sequence[bytes]) -> None:
        if self._listener is not None:
            self._listener.on_answer_end(trailers)

    def on_full(self) -> None:
        if not self.marks & _FULL and self._listener is not None:
            self.marks |= _FULL
            self._listener.on_upstream_full(full=True)

    def on_drained(self) -> None:
        if self.marks & _FULL and self._listener is not None:
            self.marks &= ~_FULL
            self._listener.on_upstream_full(full=False)

    def on_lost(self, error: UpstreamError) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_upstream_lost(error)
