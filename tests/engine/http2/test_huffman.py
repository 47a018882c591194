"""The string code of HPACK: RFC 7541's examples, another implementation, and what is no string."""

from __future__ import annotations

import itertools

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2 import huffman
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from tests.cases import for_each


def bits(text: str) -> bytes:
    """Noughts and ones, blanks between them aside."""
    text = text.replace(" ", "")
    return int(text, 2).to_bytes(len(text) // 8, "big")


# RFC 7541 appendix C.4 and C.6.
EXAMPLES = {
    b"www.example.com": "f1e3c2e5f23a6ba0ab90f4ff",
    b"no-cache": "a8eb10649cbf",
    b"custom-key": "25a849e95ba97d7f",
    b"custom-value": "25a849e95bb8e8b4bf",
    b"302": "6402",
    b"private": "aec3771a4b",
    b"Mon, 21 Oct 2013 20:13:21 GMT": "d07abe941054d444a8200595040b8166e082a62d1bff",
    b"https://www.example.com": "9d29ad171863c78f0b97c8e9ae82ae43d3",
    b"307": "640eff",
    b"gzip": "9bd9ab",
    b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1": (
        "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
    ),
}


@for_each("text", EXAMPLES)
def test_the_rfcs_examples(text: bytes) -> None:
    octets = bytes.fromhex(EXAMPLES[text])
    assert huffman.encode(text) == octets
    assert huffman.decode(octets) == text
    assert huffman.encoded_length(text) == len(octets)


def test_the_codes_are_those_of_another_implementation() -> None:
    assert [int(code, 2) for code in huffman.CODES] == list(REQUEST_CODES)
    assert [len(code) for code in huffman.CODES] == list(REQUEST_CODES_LENGTH)


def test_no_code_begins_another() -> None:
    codes = sorted(huffman.CODES)
    assert not any(later.startswith(code) for code, later in itertools.pairwise(codes))


def test_every_octet_goes_there_and_back() -> None:
    for octet in range(256):
        for text in (bytes([octet]), bytes([octet]) * 2, bytes([octet, 255 - octet])):
            assert huffman.decode(huffman.encode(text)) == text
    assert huffman.decode(b"") == huffman.encode(b"") == b""


@given(st.binary(max_size=300))
def test_another_implementation_writes_and_reads_the_same(text: bytes) -> None:
    encoded = huffman.encode(text)
    assert encoded == HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert huffman.decode(encoded) == text
    assert huffman.encoded_length(text) == len(encoded)


def reading(octets: bytes) -> bytes | None:
    try:
        return huffman.decode(octets)
    except ConnectionFault:
        return None


@given(st.binary(max_size=60))
def test_another_implementation_reads_any_octets_the_same(octets: bytes) -> None:
    try:
        theirs = decode_huffman(octets)
    except Exception:  # noqa: BLE001 -- whatever it has for a fault
        theirs = None
    assert reading(octets) == theirs


EOS = "1" * 30
MALFORMED = {
    "eight ones": "11111111",
    "sixteen ones": "1" * 16,
    "a symbol and eight ones": "00011 111 11111111",
    "a symbol of eight bits and eight ones": "11111000 11111111",
    "padding of noughts": "00011 000",
    "padding of one nought": "101000 1 0",
    "padding of seven bits with a nought": "11111000 0 1111110",
    "half of a code": "11111111 11111010",
    "EOS": EOS + "11",
    "EOS behind a symbol": "00011" + EOS + "11111",
    "EOS before a symbol": EOS + "00011 11111",
    "EOS at an octet's edge": "10 " + EOS,
}


@for_each("case", MALFORMED)
def test_what_is_no_string_is_refused(case: str) -> None:
    for _ in range(2):  # what was met once is remembered
        with pytest.raises(ConnectionFault) as raised:
            huffman.decode(bits(MALFORMED[case]))
        assert raised.value.code == ErrorCode.COMPRESSION_ERROR


@for_each("ones", range(8))
def test_up_to_seven_ones_are_padding(ones: int) -> None:
    text = next(
        bytes([a, b])
        for a in range(256)
        for b in range(256)
        if (huffman.LENGTHS[a] + huffman.LENGTHS[b] + ones) % 8 == 0
    )
    assert huffman.decode(bits("".join(huffman.CODES[octet] for octet in text) + "1" * ones)) == text
