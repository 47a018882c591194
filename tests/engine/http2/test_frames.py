"""Each frame, octet by octet as RFC 9113 section 6 draws it."""

from __future__ import annotations

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.frame_reader import Frame, FrameReader
from tests.cases import for_each


def read(octets: bytes) -> list[Frame]:
    reader = FrameReader()
    reader.feed(octets)
    found = list(iter(reader.next_frame, None))
    assert not reader.unread
    return found


@for_each(
    ("built", "octets"),
    [
        (frames.data_head(1, 5, end_stream=False), "000005 00 00 00000001"),
        (frames.data_head(2**31 - 1, 0, end_stream=True), "000000 00 01 7fffffff"),
        (frames.build_headers(3, b"\x82", 16384, end_stream=True), "000001 01 05 00000003 82"),
        (frames.build_headers(3, b"\x82", 16384, end_stream=False), "000001 01 04 00000003 82"),
        (frames.build_rst_stream(3, 8), "000004 03 00 00000003 00000008"),
        (frames.build_settings({3: 100, 4: 65536}), "00000c 04 00 00000000 0003 00000064 0004 00010000"),
        (frames.build_settings({}), "000000 04 00 00000000"),
        (frames.SETTINGS_ACK, "000000 04 01 00000000"),
        (frames.build_ping(b"12345678"), "000008 06 00 00000000 3132333435363738"),
        (frames.build_ping(b"12345678", ack=True), "000008 06 01 00000000 3132333435363738"),
        (frames.build_goaway(7, 11, b"calm"), "00000c 07 00 00000000 00000007 0000000b 63616c6d"),
        (frames.build_window_update(0, 2**31 - 1), "000004 08 00 00000000 7fffffff"),
        (frames.PREFACE, "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"),
    ],
)
def test_octets_are_those_of_the_rfc(built: bytes, octets: str) -> None:
    assert built == bytes.fromhex(octets)


@for_each("length", [16383, 16384, 16385, 32767, 32768, 32769, 100_000])
@for_each("end_stream", [False, True])
def test_a_block_is_cut_at_the_peers_frame_size(length: int, *, end_stream: bool) -> None:
    block = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
    found = read(frames.build_headers(9, block, 16384, end_stream=end_stream))
    assert b"".join(payload for *_, payload, _ in found) == block
    assert [kind for kind, *_ in found] == [frames.HEADERS] + [frames.CONTINUATION] * (
        -(-length // 16384) - 1
    )
    assert all(stream_id == 9 for _, _, stream_id, *_ in found)
    # END_STREAM stands on HEADERS, END_HEADERS on the last (section 6.2), and the last is not empty.
    assert [bool(flags & frames.END_HEADERS) for _, flags, *_ in found] == [False] * (len(found) - 1) + [True]
    assert bool(found[0][1] & frames.END_STREAM) is end_stream
    assert found[-1][3]


def test_payloads_are_read_as_they_were_built() -> None:
    ((*_, payload, _),) = read(frames.build_settings({4: 1, 1: 0}))
    assert list(frames.parse_settings(payload)) == [(4, 1), (1, 0)]  # in order
    ((*_, payload, _),) = read(frames.build_goaway(7, 2, b"x"))
    assert frames.parse_goaway(payload) == (7, 2, b"x")
    assert frames.parse_code(b"\xff\xff\xff\xff") == 2**32 - 1


def test_reserved_bits_are_ignored() -> None:
    assert frames.parse_increment(b"\x80\0\0\x05") == 5
    assert frames.parse_goaway(b"\x80\0\0\x05\0\0\0\0") == (5, 0, b"")
