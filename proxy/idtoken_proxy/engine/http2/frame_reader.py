"""Octets -> frames, whole or at any split, and every rule of RFC 9113 sections 4 and 6 that one frame alone can break.

A frame is refused as soon as its nine octets of head show the fault: nothing of it is kept waiting for the rest.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, StreamFault
from idtoken_proxy.engine.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEAD,
    HEAD_OCTETS,
    HEADERS,
    MAX_STREAM_ID,
    MIN_MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

# (type, flags, stream id, payload without padding and priority fields, length of the payload as it came).
# The last is what flow control counts (section 6.1: "The entire DATA frame payload is included in flow control").
Frame: TypeAlias = tuple[int, int, int, bytes, int]

_unpack_head = HEAD.unpack_from

# Which streams a type may name: section 6, each "MUST be associated with a stream" or "MUST NOT".
_ON_A_STREAM: Final = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_ON_THE_CONNECTION: Final = frozenset({SETTINGS, PING, GOAWAY})
TAKES_MORE: Final = PADDED | PRIORITY_FLAG  # than the payload
# DATA of less is not gathered: each of its frames counts where that is what an attack is made of.
DATA_AT_LEAST: Final = 1024
_MOST_GATHERED: Final = 64 * 1024
# Types of one length.
_LENGTHS: Final = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_NAMES: Final = (
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
)  # fmt: skip


class FrameReader:
    """`feed` octets, then ask for `next_frame` until it has none. `max_frame_size`: what our SETTINGS allow.

    `data`, from `at` on, is what has yet to be read, where there is neither a `partial` frame nor a header block that
    `continues` (on that stream): whoever reads many frames takes those that nothing can be wrong with by itself.

    Raises ConnectionFault, after which nothing more may be asked, or StreamFault, after which the next frame may be.
    """

    __slots__ = ("_wanted", "at", "continues", "data", "max_frame_size", "partial")

    def __init__(self, max_frame_size: int = MIN_MAX_FRAME_SIZE) -> None:
        self.max_frame_size = max_frame_size
        self.data = b""
        self.at = 0
        # A frame that came in part: gathered by itself, so that what was read in one go is never copied whole for the
        # sake of its last frame, and a frame in many pieces is joined once.
        self.partial = bytearray()
        self._wanted = 0  # the partial frame's length, once its head is there
        self.continues = 0  # the stream whose header block is not complete

    def feed(self, data: bytes) -> None:
        """Only once `next_frame` has none left, or with what is yet unread kept: it is, at the price of a copy."""
        if self.at < len(self.data):
            data = self.data[self.at :] + data
        self.data = data
        self.at = 0

    @property
    def unread(self) -> int:
        """Octets that were fed and not yet given as frames."""
        return len(self.data) - self.at + len(self.partial)

    def gather(self, start: int, stream_id: int) -> tuple[int, bytes]:
        """The DATA frame whose payload stands between `start` and `at`, and those behind it that are wholly there, on the
        same stream and of a size worth it, as one: (the last one's flags, the payload). A body of megabytes comes in frames
        of 16 KiB, and each by itself costs ten times what it takes to read its head.
        """
        data, at = self.data, self.at
        view = memoryview(data)
        pieces = [view[start:at]]
        octets, flags = at - start, 0
        longest = self.max_frame_size << 8
        while not flags and octets < _MOST_GATHERED and at + HEAD_OCTETS < len(data):
            word, more, on = _unpack_head(data, at)
            length = word >> 8
            end = at + HEAD_OCTETS + length
            # A word without its last eight bits is DATA's.
            if word & 0xFF or on != stream_id or more & TAKES_MORE or word > longest or end > len(data):
                break
            if length < DATA_AT_LEAST:
                break
            pieces.append(view[at + HEAD_OCTETS : end])
            octets += length
            at = end
            flags = more
        self.at = at
        return flags, b"".join(pieces)

    def next_frame(self) -> Frame | None:
        data = self.data
        at = self.at
        left = len(data) - at
        if self.partial:
            return self._complete(data, at, left)
        if left < HEAD_OCTETS:
            if left:
                self.partial += data[at:]
            self.data = b""  # of a connection at rest nothing is kept of what was read, which may be 256 KiB
            self.at = 0
            return None
        word, flags, stream_id = _unpack_head(data, at)
        kind = word & 0xFF
        length = word >> 8
        stream_id &= MAX_STREAM_ID  # the reserved bit "MUST be ignored when receiving" (section 4.1)
        end = at + HEAD_OCTETS + length
        fault = self._check(kind, flags, stream_id, length)
        if end > len(data):
            self.partial += data[at:]
            self.at = len(data)
            self._wanted = HEAD_OCTETS + length
            return None
        self.at = end
        if fault is not None:
            raise fault
        return self._frame(kind, flags, stream_id, data[at + HEAD_OCTETS : end])

    def _complete(self, data: bytes, at: int, left: int) -> Frame | None:
        partial = self.partial
        if not self._wanted:
            taken = min(HEAD_OCTETS - len(partial), left)
            partial += data[at : at + taken]
            self.at = at = at + taken
            left -= taken
            if len(partial) < HEAD_OCTETS:
                return None
            word, flags, stream_id = _unpack_head(partial)
            # Again at the end, for a fault of the stream's alone.
            self._check(word & 0xFF, flags, stream_id & MAX_STREAM_ID, word >> 8)
            self._wanted = HEAD_OCTETS + (word >> 8)
        taken = min(self._wanted - len(partial), left)
        partial += data[at : at + taken]
        self.at = at + taken
        if len(partial) < self._wanted:
            return None
        word, flags, stream_id = _unpack_head(partial)
        kind = word & 0xFF
        stream_id &= MAX_STREAM_ID
        payload = bytes(partial[HEAD_OCTETS:])
        self.partial = bytearray()
        self._wanted = 0
        fault = self._check(kind, flags, stream_id, len(payload))
        if fault is not None:
            raise fault
        return self._frame(kind, flags, stream_id, payload)

    def _check(self, kind: int, flags: int, stream_id: int, length: int) -> StreamFault | None:
        """The head's own faults. A stream's fault is given and not raised: its frame has to be read past first."""
        if length > self.max_frame_size:
            # Section 4.2 lets some of these be a stream's alone; whoever does not keep to our size will not do so later.
            raise ConnectionFault(
                ErrorCode.FRAME_SIZE_ERROR, "a frame is longer than SETTINGS_MAX_FRAME_SIZE"
            )
        if self.continues and (kind != CONTINUATION or stream_id != self.continues):
            # Section 6.10, and 4.3: "with no interleaved frames of any other type or from any other stream".
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame came within a header block")
        if kind <= HEADERS:  # DATA too: nearly all there are
            if not stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{_NAMES[kind]} on stream 0")
            return None
        if kind > CONTINUATION:
            return None  # section 4.1: "MUST ignore and discard frames of unknown types"
        if kind in _ON_A_STREAM:
            if not stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{_NAMES[kind]} on stream 0")
        elif kind in _ON_THE_CONNECTION and stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{_NAMES[kind]} on a stream")
        fixed = _LENGTHS.get(kind)
        if fixed is not None and length != fixed:
            if kind == PRIORITY:  # section 6.3: the only length that is a stream's fault
                return StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has a wrong length")
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{_NAMES[kind]} has a wrong length")
        if kind == SETTINGS:
            if flags & ACK and length:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR, "an acknowledgment of SETTINGS has a payload"
                )
            if length % 6:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS has a wrong length")
        elif kind == GOAWAY:
            if length < 8:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has a wrong length")
        elif kind == CONTINUATION:
            if not self.continues:
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block to go on"
                )
        elif kind == PUSH_PROMISE:
            # We send SETTINGS_ENABLE_PUSH 0 as a client, and no client may push (sections 6.6 and 8.4).
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which nobody may send here")
        return None

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Frame:
        length = len(payload)
        if kind <= HEADERS:
            if flags & PADDED or (kind == HEADERS and flags & PRIORITY_FLAG):
                payload = _unpadded(kind, flags, payload)
            if kind == HEADERS and not flags & END_HEADERS:
                self.continues = stream_id
        elif kind == CONTINUATION and flags & END_HEADERS:
            self.continues = 0
        return kind, flags, stream_id, payload, length


def _unpadded(kind: int, flags: int, payload: bytes) -> bytes:
    """Without the Pad Length, the padding and, in HEADERS, what told of priority before RFC 9113 section 5.3.2 let it be
    ignored. The padding's value is not looked at, which section 6.1 leaves free.
    """
    start = end = 0
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(
                ErrorCode.FRAME_SIZE_ERROR, f"{_NAMES[kind]} has no room for its Pad Length"
            )
        start = 1
        end = payload[0]
    if kind == HEADERS and flags & PRIORITY_FLAG:
        start += 5
        if start > len(payload):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS has no room for its priority fields")
    if start + end > len(payload):
        # "the length of the padding is the length of the frame payload or greater" (section 6.1), and 6.2's likewise.
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{_NAMES[kind]} is padded beyond its length")
    return payload[start : len(payload) - end]
