"""What goes out: heads, DATA as far as the peer's windows allow, and control frames, in the order of the wire.

DATA that no window has room for is held with its stream, and what ends the stream (END_STREAM or trailers) behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, cast

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.frames import MIN_MAX_FRAME_SIZE
from idtoken_proxy.engine.http2.hpack_encoder import Encoder
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.settings import DEFAULT_WINDOW
from idtoken_proxy.engine.http2.streams import BEHIND_OUR_END, IDLE, OPEN, SENDING, Stream, Unsent

# A frame is not interrupted: with the largest that a peer may allow (16 MiB), one stream would keep all others waiting.
_LARGEST_FRAME: Final = 64 * 1024
# Frames of an octet or two would each take fifty in memory, and as many as a window has octets may wait.
_SMALL: Final = 2048


def append(waiting: deque[bytes | memoryview] | list[bytes], payload: bytes) -> None:
    """What is small joins what is small before it."""
    if waiting and len(payload) < _SMALL and len(waiting[-1]) < _SMALL:
        waiting[-1] = b"".join((waiting[-1], payload))
    else:
        waiting.append(payload)


class Outbox:
    """`octets`: what is in `parts`. `held_octets`: of all streams. `waiting`: streams with something held, the longest waiting first. `answers`: octets of control frames that nobody has told us are written; what makes us
    answer without reading the answers must not fill memory (CVE-2019-9512, -9515).
    """

    __slots__ = (
        "_frame_size",
        "_last",
        "_last_stream",
        "answers",
        "encoder",
        "held_octets",
        "octets",
        "parts",
        "waiting",
        "window",
    )

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.octets = 0
        self.answers = 0
        self.encoder = Encoder()
        self.window = DEFAULT_WINDOW
        self._frame_size = MIN_MAX_FRAME_SIZE
        self._last = b""  # head of a DATA frame, of
        self._last_stream: Stream | None = None
        self.waiting: dict[int, Stream] = {}
        self.held_octets = 0

    def limit_frames(self, max_frame_size: int) -> None:
        """The peer's SETTINGS_MAX_FRAME_SIZE."""
        self._frame_size = min(max_frame_size, _LARGEST_FRAME)

    def take(self) -> list[bytes | memoryview]:
        parts = self.parts
        self.parts = []
        self.octets = 0
        return parts

    def write(self, octets: bytes) -> None:
        self.parts.append(octets)
        self.octets += len(octets)

    def answer(self, octets: bytes) -> None:
        """A control frame that the peer made us send."""
        self.parts.append(octets)
        self.octets += len(octets)
        self.answers += len(octets)

    def head(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        state = stream.state
        if state == IDLE:
            state = OPEN
        assert state in SENDING
        octets = frames.build_headers(stream.id, block, self._frame_size, end_stream=end_stream)
        self.parts.append(octets)
        self.octets += len(octets)
        stream.state = BEHIND_OUR_END[state] if end_stream else state

    def data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> int:
        """How much of it went out. "Frames with zero length with the END_STREAM flag set MAY be sent if there is no
        available space in either flow-control window" (section 6.9.1).
        """
        assert stream.state in SENDING
        size = len(payload)
        held = stream.unsent
        if held is None and (
            not size or (size <= self.window and size <= stream.send_window and size <= self._frame_size)
        ):
            if size or end_stream:
                self._data(stream, payload, end_stream=end_stream)
            return size
        if held is None and size <= self.window and size <= stream.send_window:
            most, view = self._frame_size, memoryview(payload)
            for at in range(0, size, most):
                self._data(stream, view[at : at + most], end_stream=end_stream and at + most >= size)
            return size
        assert held is None or held.end is None
        if size:
            if held is None:
                stream.unsent = held = Unsent()
            # In frames, each of which is let go as it leaves: a view of one piece would keep the whole of it.
            for at in range(0, size, self._frame_size):
                append(
                    held.pieces,
                    payload if not at and size <= self._frame_size else payload[at : at + self._frame_size],
                )
            held.octets += size
            self.held_octets += size
            self.waiting[stream.id] = stream
        if end_stream and held is not None:
            held.end = ()
        return self.drain(stream)

    def end(self, stream: Stream, trailers: Iterable[Pair] = ()) -> None:
        """The stream's end, behind whatever is held."""
        assert stream.state in SENDING
        if stream.unsent is not None:
            stream.unsent.end = tuple(trailers)
        else:
            self._end(stream, tuple(trailers))

    def drain(self, stream: Stream) -> int:
        """What its windows let out of what a stream holds."""
        sent = 0
        while piece := self._next_frame(stream):
            sent += piece
        return sent

    def drain_all(self) -> Iterator[tuple[Stream, int]]:
        """Likewise for all streams, a frame of each in turn, lest the first take all of the connection's window. Gives
        (stream, octets) at the end, one for each that moved.
        """
        moved: dict[int, tuple[Stream, int]] = {}
        turn = list(self.waiting.values())
        while turn and self.window > 0:
            again = []
            for stream in turn:
                piece = self._next_frame(stream)
                if piece:
                    moved[stream.id] = stream, moved.get(stream.id, (stream, 0))[1] + piece
                    again.append(stream)
            turn = again
        # Who got something waits behind who did not.
        for stream_id, (stream, _) in moved.items():
            if self.waiting.pop(stream_id, None) is not None:
                self.waiting[stream_id] = stream
        return iter(moved.values())

    def forget(self, stream: Stream) -> None:
        """What a stream holds that is no more."""
        if stream.unsent is not None:
            self.held_octets -= stream.unsent.octets
            stream.unsent = None
        self.waiting.pop(stream.id, None)

    def _next_frame(self, stream: Stream) -> int:
        """One frame of what is held, 0: nothing may go, or nothing is left."""
        held = stream.unsent
        if held is None:
            return 0
        room = min(self.window, stream.send_window, self._frame_size)
        if room <= 0:
            return 0
        payload = held.pieces[0]
        size = len(payload)
        if size <= room:
            held.pieces.popleft()
        else:
            view = memoryview(payload)
            # A view keeps the whole of what it is of: where that is twice as much, what is left is copied.
            held.pieces[0] = (
                view[room:] if 2 * (size - room) > len(cast("bytes", view.obj)) else bytes(view[room:])
            )
            payload = view[:room]
            size = room
        held.octets -= size
        self.held_octets -= size
        last = not held.pieces
        self._data(stream, payload, end_stream=last and held.end == ())
        if last:
            self.waiting.pop(stream.id, None)
            stream.unsent = None
            if held.end:
                self._end(stream, held.end)
        return size

    def _data(self, stream: Stream, payload: bytes | memoryview, *, end_stream: bool) -> None:
        size = len(payload)
        head = frames.data_head(stream.id, size, end_stream=end_stream)
        parts = self.parts
        parts.append(head)
        self.octets += size + frames.HEAD_OCTETS
        if size:
            parts.append(payload)
            self.window -= size
            stream.send_window -= size
        if end_stream:
            stream.state = BEHIND_OUR_END[stream.state]
        elif size:
            self._last, self._last_stream = head, stream

    def _end(self, stream: Stream, trailers: tuple[Pair, ...]) -> None:
        if trailers:
            self.head(stream, self.encoder.encode(trailers), end_stream=True)
        elif self._last_stream is stream and len(self.parts) > 1 and self.parts[-2] is self._last:
            # The stream's last DATA is the last of what is to be written: no frame of its own has to say that it ends.
            payload = self.parts[-1]
            self.parts[-2] = frames.data_head(stream.id, len(payload), end_stream=True)
            self._last_stream = None
            stream.state = BEHIND_OUR_END[stream.state]
        else:
            self._data(stream, b"", end_stream=True)
