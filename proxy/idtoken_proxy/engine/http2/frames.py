"""Frames: their types, flags and heads (RFC 9113 sections 4.1 and 6), and each kind as octets.

A `build_*` trusts its caller, which is this proxy; what a peer sent is for frame_reader.py to distrust.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # section 3.4

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

HEAD_OCTETS: Final = 9
MIN_MAX_FRAME_SIZE: Final = 1 << 14  # section 6.5.2: what everybody takes
MAX_MAX_FRAME_SIZE: Final = (1 << 24) - 1
MAX_STREAM_ID: Final = (1 << 31) - 1

# The length takes 24 bits and the type the next 8: one number of 32.
HEAD: Final = struct.Struct(">IBI")
_ONE: Final = struct.Struct(">I")
_TWO: Final = struct.Struct(">II")
_SETTING: Final = struct.Struct(">HI")

_pack_head = HEAD.pack


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return _pack_head(len(payload) << 8 | kind, flags, stream_id) + payload


def data_head(stream_id: int, length: int, *, end_stream: bool) -> bytes:
    """DATA's head alone: its payload is written behind it and not copied."""
    return _pack_head(length << 8 | DATA, END_STREAM if end_stream else 0, stream_id)


def build_headers(stream_id: int, block: bytes, max_frame_size: int, *, end_stream: bool) -> bytes:
    """HEADERS, and CONTINUATIONs for what the peer's SETTINGS_MAX_FRAME_SIZE does not let into it (section 6.10). In one
    piece, since no other frame may come between them.
    """
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame_size:
        return _pack_head(len(block) << 8 | HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [frame(HEADERS, flags, stream_id, block[:max_frame_size])]
    for at in range(max_frame_size, len(block), max_frame_size):
        piece = block[at : at + max_frame_size]
        last = at + max_frame_size >= len(block)
        parts.append(frame(CONTINUATION, END_HEADERS if last else 0, stream_id, piece))
    return b"".join(parts)


def build_rst_stream(stream_id: int, code: int) -> bytes:
    return _pack_head(4 << 8 | RST_STREAM, 0, stream_id) + _ONE.pack(code)


def build_settings(values: Mapping[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def build_ping(payload: bytes, *, ack: bool = False) -> bytes:
    """`payload`: 8 octets."""
    return frame(PING, ACK if ack else 0, 0, payload)


def build_goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, _TWO.pack(last_stream_id, code) + debug)


def build_window_update(stream_id: int, increment: int) -> bytes:
    return _pack_head(4 << 8 | WINDOW_UPDATE, 0, stream_id) + _ONE.pack(increment)


def parse_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """(identifier, value) in their order, which is the order they take effect in (section 6.5.3)."""
    return _SETTING.iter_unpack(payload)


def parse_code(payload: bytes) -> int:
    """RST_STREAM's error code."""
    (code,) = _ONE.unpack(payload)
    return int(code)


def parse_increment(payload: bytes) -> int:
    """WINDOW_UPDATE's; the reserved bit is ignored (section 6.9)."""
    (increment,) = _ONE.unpack(payload)
    return int(increment) & MAX_STREAM_ID


def parse_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """(last stream id, error code, debug data)."""
    last, code = _TWO.unpack_from(payload)
    return last & MAX_STREAM_ID, code, payload[8:]
