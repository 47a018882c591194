from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.hpack_integer import decode_integer, encode_integer
from tests.cases import for_each


@for_each(
    ("value", "prefix", "octets"),
    [
        (10, 31, "0a"),
        (1337, 31, "1f9a0a"),
        (42, 255, "2a"),
        (31, 31, "1f00"),
        (30, 31, "1e"),
        (127, 127, "7f00"),
    ],
)
def test_the_rfcs_examples_and_edges(value: int, prefix: int, octets: str) -> None:
    """RFC 7541 appendix C.1."""
    encoded = bytes.fromhex(octets)
    assert encode_integer(value, prefix) == encoded
    if encoded[0] == prefix:
        assert decode_integer(encoded, 1, prefix) == (value, len(encoded))


@given(st.integers(0, 2**28 - 1), st.sampled_from([0x0F, 0x1F, 0x3F, 0x7F]))
def test_there_and_back(value: int, prefix: int) -> None:
    encoded = encode_integer(value, prefix, 0x80)
    assert encoded[0] & 0x80
    if len(encoded) > 1:
        assert decode_integer(encoded + b"\xff", 1, prefix) == (value, len(encoded))


@for_each("octets", [b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x00", b"\xff" * 100, b"\x80" * 100])
def test_a_run_away_is_refused(octets: bytes) -> None:
    with pytest.raises(ConnectionFault) as raised:
        decode_integer(octets, 0, 31)
    assert raised.value.code == ErrorCode.COMPRESSION_ERROR


@for_each("octets", [b"", b"\x80", b"\xff\xff\xff"])
def test_an_end_within_is_told_from_one(octets: bytes) -> None:
    with pytest.raises(IndexError):
        decode_integer(octets, 0, 31)


def test_the_largest_number_that_is_taken() -> None:
    assert decode_integer(b"\xff\xff\xff\x7f", 0, 0) == (2**28 - 1, 4)
