"""The role towards the app: it opens streams, and is held to budgets for what it opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from idtoken_proxy.engine.http2 import budgets, frames
from idtoken_proxy.engine.http2.block_memo import BlockMemo
from idtoken_proxy.engine.http2.budgets import Budget
from idtoken_proxy.engine.http2.connection import TOO_SHORT, Connection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import FieldTable, request_fields
from idtoken_proxy.engine.http2.frames import MAX_STREAM_ID, PREFACE
from idtoken_proxy.engine.http2.head_shapes import ShapeMemo
from idtoken_proxy.engine.http2.heads import MalformedMessage, RequestHead, request_head
from idtoken_proxy.engine.http2.listener import BY_FAULT, ServerListener
from idtoken_proxy.engine.http2.settings import MAX_CONCURRENT_STREAMS, Limits
from idtoken_proxy.engine.http2.streams import (
    ANSWERED,
    ENDED,
    HEAD_CAME,
    OPEN,
    RECV_HEADERS,
    REMOTE,
    MakeStream,
    Stream,
)

_DRAIN_PING: Final = b"draining"
_MOST_GAPS: Final = 32
# A stream beyond the limit costs a decoded head and an answer, and nothing upstream; a client that has yet to read our
# SETTINGS may open some hundreds at once.
_REFUSAL_COSTS: Final = 2


class ServerConnection(Connection):
    """`make_stream`: of each that the app opens. `drained`: GOAWAY has told the last stream's id, and that stream and all before it have ended."""

    _peer_is_server = False

    def __init__(
        self,
        listener: ServerListener,
        limits: Limits,
        clock: Callable[[], float],
        fields: FieldTable = request_fields,
        make_stream: MakeStream = Stream,
    ) -> None:
        super().__init__(listener, fields, limits, clock, {MAX_CONCURRENT_STREAMS: limits.max_streams})
        self._requests = listener
        self._make_stream = make_stream
        self._preface = PREFACE  # what of it has yet to come
        self._heads: BlockMemo[RequestHead] = BlockMemo()
        self._shapes = ShapeMemo()
        self._early_ends = Budget(budgets.EARLY_ENDS, budgets.EARLY_ENDS_A_SECOND, clock)
        self.block_octets = 0  # of the last head
        self._last_id = 0
        self._last_taken: int | None = None  # what the last GOAWAY said, once it is the real one
        self._draining = False
        self._gaps: list[range] = []
        self._cancelled: set[int] = set()  # streams that were reset while their upstream side goes on

    def receive(self, data: bytes) -> None:
        if self._preface and self.failure is None:
            begun = data[: len(self._preface)]
            if not self._preface.startswith(begun):
                self._fail(ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no connection preface"))
                return
            self._preface = self._preface[len(begun) :]
            if self._preface:
                return
            self._expect_settings()
            data = data[len(begun) :]
        super().receive(data)

    @property
    def open_streams(self) -> int:
        """With those that were cancelled and still have their upstream side: otherwise who cancels at once would have any
        number of requests upstream (CVE-2023-44487).
        """
        return len(self.streams) + len(self._cancelled)

    def release_slot(self, stream: Stream) -> None:
        """Nothing is left upstream of a stream whose `on_reset` was told."""
        self._cancelled.discard(stream.id)

    # -- what is sent ---------------------------------------------------------

    def send_interim(self, stream: Stream, block: bytes) -> None:
        """A 1xx."""
        if stream.state not in ENDED:
            self._outbox.head(stream, block, end_stream=False)

    def send_head(self, stream: Stream, block: bytes, *, end_stream: bool = False) -> None:
        """`block`: of `encode`, and never-indexed fields behind it."""
        if stream.state not in ENDED:
            stream.marks |= ANSWERED
            self._outbox.head(stream, block, end_stream=end_stream)
            if end_stream:
                self._after_send(stream)

    # -- the end --------------------------------------------------------------

    def drain(self) -> None:
        """Section 6.8: first a GOAWAY that takes all streams still, then, when the answer to a PING shows that it was read,
        one with the real id. A request that was under way is not lost so.
        """
        if not self._draining and self.failure is None:
            self._draining = True
            self._outbox.write(frames.build_goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR))
            self.ping(_DRAIN_PING)

    def finish_drain(self) -> None:
        """The second GOAWAY, for a peer that does not answer the PING in time, too."""
        self._draining = True
        if self._last_taken is None and self.failure is None:
            self._last_taken = self._last_id
            self._outbox.write(frames.build_goaway(self._last_id, ErrorCode.NO_ERROR))

    @property
    def drained(self) -> bool:
        return self._last_taken is not None and not self.streams

    # -- what is received -----------------------------------------------------

    def _on_block(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        self.block_octets = len(block)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, block, end_stream=end_stream)
            return
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's stream has an even id")
        if stream_id <= self._last_id:
            self._decode(block)
            if any(stream_id in gap for gap in self._gaps):
                # Section 5.1.1: "MUST be numerically greater than all streams that the initiating endpoint has opened".
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream id below the last one")
            self._on_late(stream_id, RECV_HEADERS)
            return
        # Those between are closed with it; that they never were open is told from streams that were.
        if stream_id > self._last_id + 2:
            self._gaps.append(range(self._last_id + 1, stream_id))
            del self._gaps[:-_MOST_GAPS]
        self._last_id = stream_id
        head = self._heads.get(block)
        fault = ""
        if head is None:
            head = self._shapes.head(block, self._decoder.fields, self._most_header_octets)
            if head is not None:
                head.kept = self._heads.keep(block, head, head.octets)
            else:
                fields = self._decode(block)
                try:
                    head = request_head(fields)
                except MalformedMessage as malformed:
                    fault = malformed.reason
                else:
                    head.octets = self._decoder.octets
                    if self._decoder.stands_still and not self._decoder.secret:
                        head.kept = self._heads.keep(block, head, head.octets)
                        self._shapes.keep(block, head, fields)
        if self._last_taken is not None:
            # Section 6.8: what comes behind the real GOAWAY is ignored; its sender knows that nobody processes it.
            self._remember_reset(stream_id, self._limits.stream_window)
            self._spend(_REFUSAL_COSTS)
        elif len(self.streams) + len(self._cancelled) >= self._limits.max_streams:
            self._send_reset(stream_id, ErrorCode.REFUSED_STREAM, self._limits.stream_window)
            self._spend(_REFUSAL_COSTS)
        elif head is None or (end_stream and head.content_length):
            answer = self._requests.on_malformed(stream_id, fault or TOO_SHORT, fields if fault else ())
            if answer:
                self._outbox.head(Stream(stream_id, OPEN, 0, 0), self.encode(answer), end_stream=True)
            self._send_reset(stream_id, ErrorCode.PROTOCOL_ERROR, self._limits.stream_window)
            self._spend_early_end()
        else:
            self._open(stream_id, head, end_stream=end_stream)

    def _open(self, stream_id: int, head: RequestHead, *, end_stream: bool) -> None:
        state, window = REMOTE if end_stream else OPEN, self._limits.stream_window
        stream = self._make_stream(stream_id, state, self.peer.initial_window_size, window)
        stream.marks = HEAD_CAME
        stream.body_left = head.content_length
        self.streams[stream_id] = stream
        control = self._control
        if control.left < control.capacity:
            control.earn(budgets.EARNED_BY_STREAM)
        self._requests.on_request(stream, head, end_stream=end_stream)

    def _forget_heads(self) -> None:
        super()._forget_heads()
        self._heads.clear()
        self._shapes.clear()

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id > self._last_id or not stream_id & 1

    def _last_processed(self) -> int:
        return self._last_id if self._last_taken is None else self._last_taken

    def _before_reset(self, stream: Stream) -> None:
        self._cancelled.add(stream.id)

    def _after_reset(self, stream: Stream, by: str) -> None:
        # After the answer's head a cancellation is how streams of events end; a fault is one at any time.
        if by == BY_FAULT or not stream.marks & ANSWERED:
            self._spend_early_end()

    def _spend_early_end(self) -> None:
        if not self._early_ends.spend():
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM,
                "more streams that end before their answer than are borne",
                limit="early_ends",
            )

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        if flags & frames.ACK and payload == _DRAIN_PING and self._draining:
            self.finish_drain()
        super()._on_ping(flags, stream_id, payload, length)
