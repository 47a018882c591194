"""Frames whole and in pieces, and each fault that one frame alone can have (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, Http2Error, StreamFault
from idtoken_proxy.engine.http2.frame_reader import Frame, FrameReader
from idtoken_proxy.engine.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from tests.cases import for_each

UNKNOWN = 0x42
WELL_FORMED = b"".join(
    (
        frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64"),
        frame(HEADERS, PADDED | PRIORITY_FLAG, 1, b"\3\0\0\0\0\x10block\0\0\0"),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, END_HEADERS, 1, b"more"),
        frame(DATA, 0, 1, b"hello"),
        frame(DATA, PADDED | END_STREAM, 1, b"\2hi\0\0"),
        frame(UNKNOWN, 0xFF, 77, b"whatever"),
        frame(PRIORITY, 0, 9, b"\0\0\0\0\1"),
        frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
        frame(PING, ACK, 0, b"12345678"),
        frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0debug"),
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        frame(SETTINGS, ACK, 0),
        frame(DATA, 0, 3, b"x" * 16384),
    )
)
FRAMES: list[Frame] = [
    (SETTINGS, 0, 0, b"\0\3\0\0\0\x64", 6),
    (HEADERS, PADDED | PRIORITY_FLAG, 1, b"block", 14),
    (CONTINUATION, 0, 1, b"", 0),
    (CONTINUATION, END_HEADERS, 1, b"more", 4),
    (DATA, 0, 1, b"hello", 5),
    (DATA, PADDED | END_STREAM, 1, b"hi", 5),
    (UNKNOWN, 0xFF, 77, b"whatever", 8),
    (PRIORITY, 0, 9, b"\0\0\0\0\1", 5),
    (RST_STREAM, 0, 1, b"\0\0\0\x08", 4),
    (PING, ACK, 0, b"12345678", 8),
    (GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0debug", 13),
    (WINDOW_UPDATE, 0, 0, b"\0\0\0\1", 4),
    (SETTINGS, ACK, 0, b"", 0),
    (DATA, 0, 3, b"x" * 16384, 16384),
]


def read(*pieces: bytes, reader: FrameReader | None = None) -> list[Frame]:
    reader = reader or FrameReader()
    found = []
    for piece in pieces:
        reader.feed(piece)
        found += list(iter(reader.next_frame, None))
    return found


def outcome(*pieces: bytes) -> tuple[type[Http2Error], ErrorCode, int] | list[Frame]:
    try:
        return read(*pieces)
    except StreamFault as fault:
        return type(fault), fault.code, fault.stream_id
    except ConnectionFault as fault:
        return type(fault), fault.code, 0


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def test_frames_are_read_whole() -> None:
    assert read(WELL_FORMED) == FRAMES


def test_frames_are_the_same_at_every_split() -> None:
    few = WELL_FORMED[: -9 - 16384 + 30]
    whole = read(few)
    for at in range(len(few) + 1):
        assert read(few[:at], few[at:]) == whole


def test_frames_are_the_same_octet_by_octet() -> None:
    assert read(*octet_by_octet(WELL_FORMED)) == FRAMES


@given(st.lists(st.integers(0, len(WELL_FORMED)), max_size=8))
def test_frames_are_the_same_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WELL_FORMED)]
    assert read(*(WELL_FORMED[a:b] for a, b in itertools.pairwise(edges))) == FRAMES


def test_what_is_fed_before_the_last_was_read_is_kept() -> None:
    reader = FrameReader()
    reader.feed(WELL_FORMED[:100])
    assert reader.next_frame() == FRAMES[0]
    reader.feed(WELL_FORMED[100:])
    assert list(iter(reader.next_frame, None)) == FRAMES[1:]
    assert reader.unread == 0


C, S = ConnectionFault, StreamFault
FAULTS = {
    # Section 4.2.
    "a frame over our size": (frame(DATA, 0, 1, b"x" * 16385), C, ErrorCode.FRAME_SIZE_ERROR),
    "an unknown frame over our size": (frame(UNKNOWN, 0, 1, b"x" * 16385), C, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.1.
    "DATA on the connection": (frame(DATA, 0, 0, b"x"), C, ErrorCode.PROTOCOL_ERROR),
    "DATA padded by its length": (frame(DATA, PADDED, 1, b"\1"), C, ErrorCode.PROTOCOL_ERROR),
    "DATA padded beyond its length": (frame(DATA, PADDED, 1, b"\xffabc"), C, ErrorCode.PROTOCOL_ERROR),
    "DATA without its Pad Length": (frame(DATA, PADDED, 1), C, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.2.
    "HEADERS on the connection": (frame(HEADERS, END_HEADERS, 0, b"\x82"), C, ErrorCode.PROTOCOL_ERROR),
    "HEADERS padded beyond": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\2\x82"),
        C,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "HEADERS padded over its priority": (
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, b"\1\0\0\0\0\0"),
        C,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "HEADERS without its Pad Length": (frame(HEADERS, PADDED, 1), C, ErrorCode.FRAME_SIZE_ERROR),
    "HEADERS too short for priority": (
        frame(HEADERS, PRIORITY_FLAG, 1, b"1234"),
        C,
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "HEADERS too short for both": (
        frame(HEADERS, PADDED | PRIORITY_FLAG, 1, b"\0" * 5),
        C,
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    # Section 6.3.
    "PRIORITY on the connection": (frame(PRIORITY, 0, 0, b"\0" * 5), C, ErrorCode.PROTOCOL_ERROR),
    "a short PRIORITY": (frame(PRIORITY, 0, 1, b"\0" * 4), S, ErrorCode.FRAME_SIZE_ERROR),
    "a long PRIORITY": (frame(PRIORITY, 0, 1, b"\0" * 6), S, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.4.
    "RST_STREAM on the connection": (frame(RST_STREAM, 0, 0, b"\0" * 4), C, ErrorCode.PROTOCOL_ERROR),
    "a short RST_STREAM": (frame(RST_STREAM, 0, 1, b"\0" * 3), C, ErrorCode.FRAME_SIZE_ERROR),
    "a long RST_STREAM": (frame(RST_STREAM, 0, 1, b"\0" * 5), C, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.5.
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), C, ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of a length": (frame(SETTINGS, 0, 0, b"\0" * 7), C, ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS acknowledged with a payload": (
        frame(SETTINGS, ACK, 0, b"\0" * 6),
        C,
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    # Section 6.6.
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"), C, ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE on the connection": (frame(PUSH_PROMISE, 0, 0, b"\0\0\0\2"), C, ErrorCode.PROTOCOL_ERROR),
    # Section 6.7.
    "PING on a stream": (frame(PING, 0, 1, b"12345678"), C, ErrorCode.PROTOCOL_ERROR),
    "a short PING": (frame(PING, 0, 0, b"1234567"), C, ErrorCode.FRAME_SIZE_ERROR),
    "a long PING": (frame(PING, ACK, 0, b"123456789"), C, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.8.
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, b"\0" * 8), C, ErrorCode.PROTOCOL_ERROR),
    "a short GOAWAY": (frame(GOAWAY, 0, 0, b"\0" * 7), C, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.9.
    "a short WINDOW_UPDATE": (frame(WINDOW_UPDATE, 0, 1, b"\0" * 3), C, ErrorCode.FRAME_SIZE_ERROR),
    "a long WINDOW_UPDATE": (frame(WINDOW_UPDATE, 0, 0, b"\0" * 5), C, ErrorCode.FRAME_SIZE_ERROR),
    # Section 6.10.
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1), C, ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION on the connection": (frame(CONTINUATION, END_HEADERS, 0), C, ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION behind the end of a block": (
        frame(HEADERS, END_HEADERS, 1, b"\x82") + frame(CONTINUATION, END_HEADERS, 1),
        C,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "CONTINUATION behind its last": (
        frame(HEADERS, 0, 1) + frame(CONTINUATION, END_HEADERS, 1) + frame(CONTINUATION, END_HEADERS, 1),
        C,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "CONTINUATION of another stream": (
        frame(HEADERS, 0, 1) + frame(CONTINUATION, END_HEADERS, 3),
        C,
        ErrorCode.PROTOCOL_ERROR,
    ),
    **{
        f"a frame of type {kind} within a block": (
            frame(HEADERS, 0, 1) + frame(kind, END_HEADERS, stream_id, payload),
            C,
            ErrorCode.PROTOCOL_ERROR,
        )
        for kind, stream_id, payload in (
            (DATA, 1, b""),
            (HEADERS, 1, b""),
            (PRIORITY, 1, b"\0" * 5),
            (RST_STREAM, 1, b"\0" * 4),
            (SETTINGS, 0, b""),
            (PING, 0, b"12345678"),
            (GOAWAY, 0, b"\0" * 8),
            (WINDOW_UPDATE, 0, b"\0\0\0\1"),
            (UNKNOWN, 1, b""),
        )
    },
}


@for_each("case", FAULTS)
def test_faults_have_their_code_at_every_split(case: str) -> None:
    octets, kind, code = FAULTS[case]
    expected = (kind, code, 1 if kind is S else 0)
    assert outcome(octets) == expected
    assert outcome(*octet_by_octet(octets)) == expected
    for at in range(0, len(octets), 1 + len(octets) // 64):
        assert outcome(octets[:at], octets[at:]) == expected


@for_each(
    "octets",
    [octets for octets, kind, _ in FAULTS.values() if kind is C and octets[3] not in (DATA, HEADERS)],
)
def test_a_head_alone_shows_what_is_wrong(octets: bytes) -> None:
    assert isinstance(outcome(octets[:9]), tuple)


def test_behind_a_fault_of_a_stream_the_next_frame_is_read() -> None:
    reader = FrameReader()
    octets = frame(PRIORITY, 0, 1, b"\0" * 4) + frame(PING, 0, 0, b"12345678")
    for pieces in ([octets], octet_by_octet(octets)):
        faults = 0
        found = []
        for piece in pieces:
            reader.feed(piece)
            while True:
                try:
                    read_one = reader.next_frame()
                except StreamFault:
                    faults += 1
                    continue
                if read_one is None:
                    break
                found.append(read_one)
        assert (faults, found) == (1, [(PING, 0, 0, b"12345678", 8)])


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    assert read(frame(DATA, 0, 1 << 31 | 5, b"x")) == [(DATA, 0, 5, b"x", 1)]


@for_each("kind", [DATA, HEADERS, SETTINGS, PING, GOAWAY, UNKNOWN])
def test_flags_that_a_type_does_not_know_are_ignored(kind: int) -> None:
    """Section 4.1: "Unused flags MUST be ignored"."""
    flags = 0xFF & ~(PADDED | PRIORITY_FLAG | ACK)
    stream_id = 0 if kind in (SETTINGS, PING, GOAWAY) else 1
    assert read(frame(kind, flags, stream_id, b"12345678" if kind != SETTINGS else b""))[0][:2] == (
        kind,
        flags,
    )


@for_each(
    ("octets", "payload"),
    [
        (frame(DATA, PADDED, 1, b"\0"), b""),
        (frame(DATA, PADDED, 1, b"\3\0\0\0"), b""),
        (frame(DATA, PADDED, 1, b"\xff" + b"a" + b"\0" * 255), b"a"),
        (frame(DATA, PADDED, 1, b"\1aX"), b"a"),  # section 6.1: not to be zero is no obligation to look at
        (frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"\x80\0\0\1\xff"), b""),
        (frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, b"\1\0\0\0\0\0\0"), b""),
    ],
)
def test_padding_up_to_the_frames_length_is_taken_off(octets: bytes, payload: bytes) -> None:
    ((*_, found, length),) = read(octets)
    assert (found, length) == (payload, len(octets) - 9)


def test_a_larger_frame_is_read_where_we_allow_it() -> None:
    reader = FrameReader(32768)
    ((*_, payload, _),) = read(frame(DATA, 0, 1, b"x" * 32768), reader=reader)
    assert len(payload) == 32768


@given(st.binary(max_size=200), st.integers(0, 200))
def test_anything_else_is_frames_or_one_of_the_two_errors(octets: bytes, at: int) -> None:
    assert outcome(octets[:at], octets[at:]) == outcome(octets)


def test_frame_lengths_are_the_whole_24_bits() -> None:
    reader = FrameReader(frames.MAX_MAX_FRAME_SIZE)
    reader.feed(b"\xff\xff\xff\0\0\0\0\0\1")
    assert reader.next_frame() is None
    assert reader.unread == 9


def test_what_was_read_is_not_kept_once_all_of_it_has_been_looked_at() -> None:
    reader = FrameReader()
    reader.feed(frames.build_ping(bytes(8)) * 1000)
    while reader.next_frame() is not None:
        pass
    assert reader.data == b""
    assert reader.unread == 0
