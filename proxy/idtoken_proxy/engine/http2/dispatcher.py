"""Octets -> the handler of each frame, and the frames that are about the connection alone: SETTINGS and PING.

`receive` what came, then `take_output` and write it; `written` once the transport has no more of it. Nothing that a
peer sends raises here: a fault of a stream's is answered with RST_STREAM, one of the connection's with GOAWAY, after which
`failure` tells what it was, nothing more is read, and the owner closes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeAlias

from idtoken_proxy.engine.http2 import budgets, frames
from idtoken_proxy.engine.http2.budgets import Budget
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, StreamFault
from idtoken_proxy.engine.http2.frame_reader import DATA_AT_LEAST, TAKES_MORE, FrameReader
from idtoken_proxy.engine.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    HEAD,
    HEAD_OCTETS,
    HEADERS,
    MAX_STREAM_ID,
)
from idtoken_proxy.engine.http2.listener import StreamListener
from idtoken_proxy.engine.http2.outbox import Outbox
from idtoken_proxy.engine.http2.settings import HEADER_TABLE_SIZE, PeerSettings

# With more of our answers unwritten the peer does not read, and gets no further ones out of us.
MAX_UNWRITTEN_ANSWERS: Final = 64 * 1024
# What one read may make us do before others have their turn: frames, and octets of output. A request that the proxy answers
# by itself is thirty octets to its app, and there may be thousands in one read.
FRAMES_A_TURN: Final = 4096
OUTPUT_A_TURN: Final = 128 * 1024

_unpack_head = HEAD.unpack_from
# Flags, stream id, payload without padding, the payload's length with it.
Handler: TypeAlias = Callable[[int, int, bytes, int], None]


class Dispatcher(ABC):
    """`acknowledged`: the peer has applied our SETTINGS; how long that may take is for a deadline outside
    (SETTINGS_TIMEOUT).
    """

    _peer_is_server: bool

    def __init__(self, listener: StreamListener, clock: Callable[[], float]) -> None:
        self._listener = listener
        self._reader = FrameReader()
        self._control = Budget(budgets.CONTROL_FRAMES, budgets.CONTROL_FRAMES_A_SECOND, clock)
        self._outbox = Outbox()
        self._settled = False  # the peer's SETTINGS have come
        self.peer = PeerSettings()
        self.acknowledged = False
        self.failure: ConnectionFault | None = None
        self.put_off = False  # some of what came has yet to be looked at
        # The first frame is SETTINGS (section 3.4); the others have no handler before it.
        self._handlers: tuple[Handler, ...] = (self._not_settings,) * 10

    @property
    def settled(self) -> bool:
        """The peer's SETTINGS have come."""
        return self._settled

    def receive(self, data: bytes) -> None:
        if self.failure is None:
            self._reader.feed(data)
            self._process()

    def take_output(self) -> list[bytes | memoryview]:
        """In order; payloads stand by themselves, for whoever writes them without joining."""
        return self._outbox.take()

    @property
    def output_octets(self) -> int:
        return self._outbox.octets

    @property
    def held_octets(self) -> int:
        """What the peer's windows do not let out yet, of all streams."""
        return self._outbox.held_octets

    def written(self) -> None:
        """All that was taken has gone into the network: whoever waited for its answers goes on."""
        waited = self._outbox.answers > MAX_UNWRITTEN_ANSWERS
        self._outbox.answers = 0
        if waited and self.failure is None:
            self._process()

    @property
    def wants_input(self) -> bool:
        """False: the peer does not read our answers, or has said much at once; read no more of it for now."""
        return self.failure is None and not self.put_off and self._outbox.answers <= MAX_UNWRITTEN_ANSWERS

    def go_on(self) -> None:
        """With what was put off, once the output is taken and others have had their turn."""
        if self.failure is None:
            self._process()

    def _process(self) -> None:
        try:
            while True:
                try:
                    self._dispatch()
                except StreamFault as fault:
                    self._on_stream_fault(fault)
                else:
                    return
        except ConnectionFault as fault:
            self._fail(fault)

    def _dispatch(self) -> None:
        reader = self._reader
        next_frame = reader.next_frame
        outbox = self._outbox
        left = FRAMES_A_TURN
        longest = reader.max_frame_size << 8 | 0xFF
        self.put_off = False
        while outbox.answers <= MAX_UNWRITTEN_ANSWERS:
            left -= 1
            if left < 0 or outbox.octets > OUTPUT_A_TURN:
                self.put_off = reader.unread > 0
                return
            data, start = reader.data, reader.at + HEAD_OCTETS
            if start < len(data) and not reader.partial and not reader.continues:
                word, flags, stream_id = _unpack_head(data, start - HEAD_OCTETS)
                kind = word & 0xFF
                end = start + (word >> 8)
                if (
                    end <= len(data)
                    and (kind == DATA or (kind == HEADERS and flags & END_HEADERS))
                    and 0 < stream_id <= MAX_STREAM_ID
                    and word <= longest
                    and not flags & TAKES_MORE
                ):
                    # Nearly all there are, and nothing that the reader looks for is wrong with them.
                    reader.at = end
                    if kind == DATA and not flags and end - start >= DATA_AT_LEAST and end < len(data):
                        flags, payload = reader.gather(start, stream_id)
                        self._handlers[DATA](flags, stream_id, payload, len(payload))
                        continue
                    self._handlers[kind](flags, stream_id, data[start:end], word >> 8)
                    continue
            frame = next_frame()
            if frame is None:
                return
            kind, flags, stream_id, payload, length = frame
            if kind < 10:
                self._handlers[kind](flags, stream_id, payload, length)
            else:
                self._spend(1)

    def _spend(self, tokens: float) -> None:
        if not self._control.spend(tokens):
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM,
                "more frames without content than is borne",
                limit="control_frames",
            )

    # -- what a connection does with them -------------------------------------

    @abstractmethod
    def _fail(self, fault: ConnectionFault) -> None:
        """GOAWAY, and the end of all."""

    @abstractmethod
    def _on_stream_fault(self, fault: StreamFault) -> None:
        """RST_STREAM, or what the role makes of it."""

    @abstractmethod
    def _stream_handlers(self) -> dict[int, Handler]:
        """By the frame's type."""

    @abstractmethod
    def _on_window_change(self, change: int) -> None:
        """The peer's SETTINGS_INITIAL_WINDOW_SIZE."""

    # -- SETTINGS and PING ----------------------------------------------------

    def _not_settings(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _expect_settings(self) -> None:
        """Once the preface is read."""
        self._handlers = tuple(
            self._on_first_settings if kind == frames.SETTINGS else self._not_settings for kind in range(10)
        )

    def _on_first_settings(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        if flags & ACK:
            self._not_settings(flags, stream_id, payload, length)
        self._settled = True
        known = {
            frames.PRIORITY: self._on_priority,
            frames.SETTINGS: self._on_settings,
            frames.PING: self._on_ping,
            **self._stream_handlers(),
        }
        # What is left is PUSH_PROMISE, which the reader refuses.
        self._handlers = tuple(known.get(kind, self._not_settings) for kind in range(10))
        self._on_settings(flags, stream_id, payload, length)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        self._spend(1 + length // 6)
        if flags & ACK:
            self.acknowledged = True
            return
        peer = self.peer
        before = peer.initial_window_size
        for name, value in frames.parse_settings(payload):
            peer.apply(name, value, of_server=self._peer_is_server)
            if (
                name == HEADER_TABLE_SIZE
            ):  # each change between two blocks is to be told of, not the last alone
                self._outbox.encoder.limit_table(value)
        self._outbox.limit_frames(peer.max_frame_size)
        self._outbox.answer(frames.SETTINGS_ACK)
        change = peer.initial_window_size - before
        if change:
            self._on_window_change(change)

    def ping(self, payload: bytes) -> None:
        """`payload`: 8 octets, which `on_pong` gives back."""
        self._outbox.write(frames.build_ping(payload))

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        self._spend(1)
        if flags & ACK:
            self._listener.on_pong(payload)
        else:
            self._outbox.answer(frames.build_ping(payload, ack=True))

    def _on_priority(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        self._spend(1)  # section 5.3.2: ignored
