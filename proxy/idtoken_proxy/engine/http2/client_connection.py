"""The role towards the receiver: we open streams. Whatever the receiver does wrong with frames ends its connection; a
message that is malformed, and nothing else, ends its stream alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from idtoken_proxy.engine.http2 import budgets
from idtoken_proxy.engine.http2.block_memo import BlockMemo
from idtoken_proxy.engine.http2.connection import TOO_SHORT, Connection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, StreamFault
from idtoken_proxy.engine.http2.fields import response_fields
from idtoken_proxy.engine.http2.frames import MAX_STREAM_ID, PREFACE, parse_goaway
from idtoken_proxy.engine.http2.heads import MalformedMessage, ResponseHead, response_head
from idtoken_proxy.engine.http2.listener import BY_GOAWAY, BY_PEER, ClientListener, Reset
from idtoken_proxy.engine.http2.settings import ENABLE_PUSH, Limits
from idtoken_proxy.engine.http2.streams import (
    HEAD_CAME,
    IDLE,
    RECV_HEADERS,
    RESET,
    Stream,
    transition,
)

# Until its SETTINGS say more: section 6.5.2 recommends that nobody allow fewer.
_ASSUMED_STREAMS: Final = 100


class ClientConnection(Connection):
    """`most`: how many streams may be open at a time, 0 where none may be opened any more. `goaway`: the id beyond which the receiver processes nothing, once it has said so; no stream is opened any more."""

    _peer_is_server = True

    def __init__(self, listener: ClientListener, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(listener, response_fields, limits, clock, {ENABLE_PUSH: 0}, PREFACE)
        self._responses = listener
        self._heads: BlockMemo[ResponseHead] = BlockMemo()
        self._next_id = 1
        self.goaway: int | None = None
        self._settle_most()
        self._expect_settings()

    @property
    def capacity(self) -> int:
        """How many streams may be opened now."""
        return max(0, self.most - len(self.streams))

    def _settle_most(self) -> None:
        if self.goaway is not None or self.failure is not None or self._next_id > MAX_STREAM_ID:
            self.most = 0
            return
        most = self.peer.max_concurrent_streams
        if most is None:
            most = _ASSUMED_STREAMS if not self._settled else MAX_STREAM_ID
        self.most = min(most, self._limits.max_streams)

    def _fail(self, fault: ConnectionFault) -> None:
        self.most = 0
        super()._fail(fault)

    # -- what is sent ---------------------------------------------------------

    def open(self, block: bytes, *, end_stream: bool = False, answer_has_body: bool = True) -> Stream:
        """As `begin`, on a stream that is nobody's."""
        stream = Stream(0, IDLE, 0, 0)
        self.begin(stream, block, end_stream=end_stream, answer_has_body=answer_has_body)
        return stream

    def begin(
        self, stream: Stream, block: bytes, *, end_stream: bool = False, answer_has_body: bool = True
    ) -> None:
        """Only with `capacity`, and on a stream that is IDLE, which becomes this connection's next one. `block`: of `encode`, and
        never-indexed fields behind it. `answer_has_body`: not to HEAD.
        """
        assert len(self.streams) < self.most
        stream.id = self._next_id
        stream.send_window = self.peer.initial_window_size
        stream.left = self._limits.stream_window
        if not answer_has_body:
            stream.body_left = 0
        self._next_id += 2
        if self._next_id > MAX_STREAM_ID:
            self.most = 0
        self.streams[stream.id] = stream
        control = self._control
        if control.left < control.capacity:
            control.earn(budgets.EARNED_BY_STREAM)
        self._outbox.head(stream, block, end_stream=end_stream)

    # -- what is received -----------------------------------------------------

    def _on_block(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._decode(block)
            if self._is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a response to no request")
            self._on_late(stream_id, RECV_HEADERS)
            return
        if stream.marks & HEAD_CAME:
            self._on_trailers(stream, block, end_stream=end_stream)
            return
        stream.state = transition(stream_id, stream.state, RECV_HEADERS)
        head = self._heads.get(block)
        if head is None:
            fields = self._decode(block)
            try:
                head = response_head(fields)
            except MalformedMessage as malformed:
                self._abort(stream, ErrorCode.PROTOCOL_ERROR, malformed.reason)
                return
            head.octets = self._decoder.octets
            if self._decoder.stands_still and not self._decoder.secret:
                head.kept = self._heads.keep(block, head, self._decoder.octets)
        if head.status < 200:
            self._on_interim(stream, head, end_stream=end_stream)
        else:
            self._on_final(stream, head, end_stream=end_stream)

    def _on_interim(self, stream: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        if end_stream:
            # Section 8.1: "MUST treat ... as malformed".
            self._abort(stream, ErrorCode.PROTOCOL_ERROR, "an interim answer that ends the stream")
            return
        self._spend(1)
        self._responses.on_interim(stream, head)

    def _on_final(self, stream: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        stream.marks |= HEAD_CAME
        if stream.body_left is None:
            # RFC 9110 section 6.4.1: neither has content, whatever Content-Length says.
            stream.body_left = 0 if head.status in (204, 304) else head.content_length
        if end_stream:
            if stream.body_left:
                self._abort(stream, ErrorCode.PROTOCOL_ERROR, TOO_SHORT)
                return
            self._peer_ended(stream)
        self._responses.on_response(stream, head, end_stream=end_stream)

    def _forget_heads(self) -> None:
        super()._forget_heads()
        self._heads.clear()

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or not stream_id & 1

    def _last_processed(self) -> int:
        return 0  # a server opens none

    def _on_stream_fault(self, fault: StreamFault) -> None:
        raise ConnectionFault(fault.code, fault.reason)

    def _reset_by_peer(self, stream: Stream, code: int) -> Reset:
        # Section 8.7: "the stream is being closed prior to any processing having occurred".
        unprocessed = code == ErrorCode.REFUSED_STREAM and not stream.marks & HEAD_CAME
        return Reset(code, BY_PEER, unprocessed=unprocessed)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        before = self.capacity
        super()._on_settings(flags, stream_id, payload, length)
        self._settle_most()
        if self.capacity > before:
            self._responses.on_capacity()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        last, _, _ = parse_goaway(payload)
        if self.goaway is not None and last > self.goaway:
            # Section 6.8: "Endpoints MUST NOT increase the value they send in the last stream identifier".
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY takes back what it said of streams")
        self.goaway = last
        self.most = 0
        super()._on_goaway(flags, stream_id, payload, length)
        for stream in list(self.streams.values()):
            if stream.id > last and stream.id in self.streams:
                # Nothing is sent: the receiver has forgotten them.
                self._reset_unsaid(stream)
                self._responses.on_reset(
                    stream,
                    Reset(
                        ErrorCode.REFUSED_STREAM, BY_GOAWAY, "the receiver is going away", unprocessed=True
                    ),
                )

    def _reset_unsaid(self, stream: Stream) -> None:
        """As `reset`, of a stream that the peer has forgotten."""
        self._forget(stream, RESET)
        self._remember_reset(stream.id, stream.left)
