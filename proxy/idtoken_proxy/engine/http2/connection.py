"""What both ends of a connection do with a stream's frames, and with what is sent.

A listener is called when the state is already the one behind the frame, and may call back.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from idtoken_proxy.engine.http1 import MAX_FIELDS
from idtoken_proxy.engine.http2 import budgets, frames
from idtoken_proxy.engine.http2.block_memo import BlockMemo
from idtoken_proxy.engine.http2.dispatcher import Dispatcher, Handler
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, StreamFault
from idtoken_proxy.engine.http2.fields import FieldTable, HeaderField
from idtoken_proxy.engine.http2.flow_control import ReceiveWindow, is_beyond
from idtoken_proxy.engine.http2.frames import END_HEADERS, END_STREAM
from idtoken_proxy.engine.http2.header_block import HeaderBlock, too_large
from idtoken_proxy.engine.http2.heads import MalformedMessage, trailer_fields
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import Encoder
from idtoken_proxy.engine.http2.listener import BY_CONNECTION, BY_FAULT, BY_PEER, Reset, StreamListener
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.settings import (
    DEFAULT_WINDOW,
    INITIAL_WINDOW_SIZE,
    MAX_HEADER_LIST_SIZE,
    Limits,
)
from idtoken_proxy.engine.http2.streams import (
    BEHIND_ITS_END,
    CLOSED,
    ENDED,
    HEAD_CAME,
    IDLE,
    RECEIVING,
    RECV_DATA,
    RECV_HEADERS,
    RECV_RST,
    RECV_WINDOW,
    RESET,
    SEND_RST,
    TRANSITIONS,
    Stream,
    transition,
)

# Streams that we reset and the peer may not know of yet; the oldest are forgotten, and then known as closed. At the rate
# of budgets.EARLY_ENDS that is half a minute, and no frame is under way for as long.
_MOST_RESETS: Final = 1024


class Connection(Dispatcher):
    """`streams`: those that are open or half-closed, by their ids."""

    def __init__(
        self,
        listener: StreamListener,
        fields: FieldTable,
        limits: Limits,
        clock: Callable[[], float],
        settings: dict[int, int],
        preface: bytes = b"",
    ) -> None:
        super().__init__(listener, clock)
        self._limits = limits
        self._most_header_octets = limits.most_header_octets
        self._decoder = Decoder(fields, limits.most_header_octets, MAX_FIELDS * limits.room)
        self._block: HeaderBlock | None = None
        self._trailers: BlockMemo[tuple[HeaderField, ...]] = BlockMemo()
        self._window = ReceiveWindow(limits.connection_window, DEFAULT_WINDOW)
        self._resets: dict[int, int] = {}  # id -> what the peer may still send on it
        self.streams: dict[int, Stream] = {}
        own = {INITIAL_WINDOW_SIZE: limits.stream_window, MAX_HEADER_LIST_SIZE: limits.header_octets}
        self._outbox.write(preface + frames.build_settings({**settings, **own}))
        self._give_connection(0)

    # -- the ends -------------------------------------------------------------

    def lost(self) -> None:
        """The connection is gone, whoever ended it."""
        self._end_all(Reset(ErrorCode.NO_ERROR, BY_CONNECTION, "the connection ended"))

    def close(self) -> None:  # with nothing under way
        if self.failure is None:
            self._outbox.write(frames.build_goaway(self._last_processed(), ErrorCode.NO_ERROR))

    def _fail(self, fault: ConnectionFault) -> None:
        self.failure = fault
        goaway = frames.build_goaway(self._last_processed(), fault.code, fault.reason.encode("ascii"))
        self._outbox.write(goaway)
        self._end_all(Reset(fault.code, BY_CONNECTION, fault.reason))
        self._listener.on_fault(fault)

    def _end_all(self, reset: Reset) -> None:
        for stream in list(self.streams.values()):
            if stream.state not in ENDED:
                self._forget(stream, CLOSED)
                self._listener.on_reset(stream, reset)

    def _forget(self, stream: Stream, state: str) -> None:
        """The stream is no more, as far as this connection goes."""
        stream.state = state
        self.streams.pop(stream.id, None)
        if stream.unsent is not None:
            self._outbox.forget(stream)

    def _send_reset(self, stream_id: int, code: int, left: int) -> None:
        self._outbox.answer(frames.build_rst_stream(stream_id, code))
        self._remember_reset(stream_id, left)

    def _remember_reset(self, stream_id: int, window_left: int) -> None:
        if len(self._resets) >= _MOST_RESETS:
            del self._resets[next(iter(self._resets))]
        self._resets[stream_id] = window_left

    def reset(self, stream: Stream, code: int) -> None:
        """Our own decision; the listener is not told."""
        if stream.state not in ENDED:
            self._forget(stream, str(TRANSITIONS[stream.state][SEND_RST]))
            self._send_reset(stream.id, code, stream.left)

    def _abort(self, stream: Stream, code: ErrorCode, reason: str) -> None:
        """For a fault of the peer's that is the stream's alone."""
        self._forget(stream, RESET)
        self._send_reset(stream.id, code, stream.left)
        self._before_reset(stream)
        self._listener.on_reset(stream, Reset(code, BY_FAULT, reason))
        self._after_reset(stream, BY_FAULT)

    def _on_stream_fault(self, fault: StreamFault) -> None:
        stream = self.streams.get(fault.stream_id)
        if stream is not None:
            self._abort(stream, fault.code, fault.reason)
        elif self._is_idle(fault.stream_id):
            # "RST_STREAM frames MUST NOT be sent for a stream in the "idle" state" (section 6.4).
            raise ConnectionFault(fault.code, fault.reason)
        else:
            self._spend(1)

    # -- what the roles do differently ----------------------------------------

    @abstractmethod
    def _on_block(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """A whole header block."""

    def _stream_handlers(self) -> dict[int, Handler]:
        return {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.RST_STREAM: self._on_rst_stream,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    @abstractmethod
    def _is_idle(self, stream_id: int) -> bool:
        """Whether nobody has opened it yet."""

    @abstractmethod
    def _last_processed(self) -> int:
        """For GOAWAY: of the peer's streams."""

    def _before_reset(self, stream: Stream) -> None:
        """The listener is about to be told that a stream was reset by the peer, or for its fault."""

    def _after_reset(self, stream: Stream, by: str) -> None:
        """It was told."""

    # -- heads ----------------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        end_stream = bool(flags & END_STREAM)
        if not flags & END_HEADERS:
            self._block = HeaderBlock(stream_id, payload, self._most_header_octets, end_stream=end_stream)
        elif len(payload) > self._most_header_octets:
            raise too_large()
        else:
            self._on_block(stream_id, payload, end_stream=end_stream)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        block = self._block
        assert block is not None  # the reader lets none through without HEADERS before it
        block.go_on(payload)
        if flags & END_HEADERS:
            self._block = None
            self._on_block(stream_id, block.whole(), end_stream=block.end_stream)

    def _on_trailers(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        """A field section behind the head. It has been decoded whatever becomes of it."""
        trailers = self._trailers.get(block)
        fault = ""
        if trailers is None:
            fields = self._decode(block)
            try:
                trailers = trailer_fields(fields)
            except MalformedMessage as malformed:
                fault = malformed.reason
                trailers = ()
            else:
                if self._decoder.stands_still and not self._decoder.secret:
                    self._trailers.keep(block, trailers, self._decoder.octets)
        stream.state = transition(stream.id, stream.state, RECV_HEADERS)
        if not end_stream:
            fault = "a second head, or trailers that do not end the stream"  # section 8.1
        if fault or stream.body_left:
            self._abort(stream, ErrorCode.PROTOCOL_ERROR, fault or TOO_SHORT)
            return
        self._peer_ended(stream)
        self._listener.on_end(stream, trailers)

    def _decode(self, block: bytes) -> list[HeaderField]:
        fields = self._decoder.decode(block)
        if not self._decoder.stands_still:
            self._forget_heads()
        return fields

    def _forget_heads(self) -> None:
        """Octets mean something else once the table has changed."""
        self._trailers.clear()

    # -- DATA and windows -----------------------------------------------------

    def _on_data(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        if not self._window.take(length):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        self._give_connection(length)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_late_data(stream_id, length)
            return
        if stream.state not in RECEIVING:
            transition(stream_id, stream.state, RECV_DATA)
        if not stream.take(length):
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
        size = len(payload)
        if not stream.marks & HEAD_CAME:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before the response's head")
        left = stream.body_left
        end_stream = flags & END_STREAM
        if left is not None:
            stream.body_left = left = left - size
            if left < 0 or (end_stream and left):
                # Section 8.1.1: "malformed if the value of a content-length header field does not equal the sum of the
                # DATA frame payload lengths".
                self._abort(stream, ErrorCode.PROTOCOL_ERROR, TOO_LONG if left < 0 else TOO_SHORT)
                return
        if end_stream:
            stream.state = state = BEHIND_ITS_END[stream.state]
            if state == CLOSED:
                self._forget(stream, CLOSED)
            self._listener.on_data(stream, payload, end_stream=True)
            return
        if length != size:
            self.release_credit(stream, length - size)
        if size:
            self._listener.on_data(stream, payload, end_stream=False)
        else:
            self._spend(1)  # CVE-2019-9518

    def _peer_ended(self, stream: Stream) -> None:
        stream.state = state = BEHIND_ITS_END[stream.state]
        if state == CLOSED:
            self._forget(stream, CLOSED)

    def _on_late_data(self, stream_id: int, length: int) -> None:
        # Its octets are bounded by the window, so that only those without any have to be counted.
        self._on_late(stream_id, RECV_DATA, cost=0 if length else 1)
        # A peer that does not know yet that its stream was reset sends as far as it may, and no further.
        self._resets[stream_id] = left = self._resets[stream_id] - length
        if left < 0:
            raise ConnectionFault(
                ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the window of a stream that was reset"
            )

    def _on_late(self, stream_id: int, event: str, cost: int = 1) -> None:
        """A frame on a stream that is not there: not yet, or no more. Raises, or it is ignored."""
        if self._is_idle(stream_id):
            transition(stream_id, IDLE, event)
        transition(stream_id, RESET if stream_id in self._resets else CLOSED, event)
        self._spend(cost)

    def release_credit(self, stream: Stream, octets: int) -> None:
        """So much of the stream's DATA has left for where it goes."""
        if stream.state in RECEIVING and (increment := stream.give(octets, self._limits.stream_window)):
            self._outbox.answer(frames.build_window_update(stream.id, increment))

    def _give_connection(self, octets: int) -> None:
        increment = self._window.give(octets)
        if increment:
            self._outbox.answer(frames.build_window_update(0, increment))

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        self._spend(1)
        increment = frames.parse_increment(payload)
        if not stream_id:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._outbox.window += increment
            if is_beyond(self._outbox.window):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is above 2^31-1")
            if self._outbox.waiting:
                self._drain_all()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_late(stream_id, RECV_WINDOW)
        elif not increment:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        else:
            stream.send_window += increment
            if is_beyond(stream.send_window):
                raise StreamFault(
                    stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is above 2^31-1"
                )
            if stream.unsent is not None:
                self._sent(stream, self._outbox.drain(stream))

    def _drain_all(self) -> None:
        for stream, octets in self._outbox.drain_all():
            self._sent(stream, octets)

    def _sent(self, stream: Stream, octets: int) -> None:
        """What was held is out, and perhaps the stream's end with it."""
        if octets:
            self._earn(octets)
            self._after_send(stream)
            self._listener.on_sent(stream, octets)

    def _earn(self, octets: int) -> None:
        if octets >= budgets.LEAST_EARNING_OCTETS:
            self._control.earn(budgets.EARNED_BY_DATA * (1 + octets // budgets.EARNING_OCTETS))

    # -- what is sent ---------------------------------------------------------

    def encode(self, pairs: Iterable[Pair]) -> bytes:
        """A block, to be sent before the next is made; and again while `encoder.generation` is what it was all through."""
        return self._outbox.encoder.encode(pairs)

    @property
    def encoder(self) -> Encoder:
        return self._outbox.encoder

    def send_data(self, stream: Stream, payload: bytes, *, end_stream: bool = False) -> int:
        """How many octets went out; `on_sent` tells of the others. A stream that was reset takes nothing."""
        if stream.state in ENDED:
            return len(payload)
        sent = self._outbox.data(stream, payload, end_stream=end_stream)
        if sent == len(payload):
            if self._control.left < self._control.capacity:
                self._control.earn(budgets.EARNED_BY_DATA * (1 + sent // budgets.EARNING_OCTETS))
            if end_stream and stream.state == CLOSED:
                self._forget(stream, CLOSED)
        else:
            self._earn(sent)
        return sent

    def send_end(self, stream: Stream, trailers: Iterable[Pair] = ()) -> None:
        """The end of our side, behind what is held."""
        if stream.state not in ENDED:
            self._outbox.end(stream, trailers)
            self._after_send(stream)

    def _after_send(self, stream: Stream) -> None:
        if stream.state == CLOSED:
            self._forget(stream, CLOSED)

    def _on_window_change(self, change: int) -> None:
        for stream in self.streams.values():
            stream.send_window += change
            if is_beyond(stream.send_window):
                # Section 6.9.2: "any change ... that causes any flow-control window to exceed the maximum size".
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is above 2^31-1")
        if change > 0:
            self._drain_all()

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_late(stream_id, RECV_RST)
            return
        self._forget(stream, transition(stream_id, stream.state, RECV_RST))
        self._before_reset(stream)
        self._listener.on_reset(stream, self._reset_by_peer(stream, frames.parse_code(payload)))
        self._after_reset(stream, BY_PEER)

    def _reset_by_peer(self, stream: Stream, code: int) -> Reset:
        return Reset(code, BY_PEER)

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        self._spend(1)
        self._listener.on_goaway(*frames.parse_goaway(payload))


TOO_LONG: Final = "DATA beyond Content-Length"
TOO_SHORT: Final = "DATA short of Content-Length"
