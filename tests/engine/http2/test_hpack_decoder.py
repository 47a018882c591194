"""Blocks as they must be read (RFC 7541 appendix C), beside another implementation, and what attacks a decoder."""

from __future__ import annotations

import pytest
from hpack import Encoder as OtherEncoder
from hpack import NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2 import huffman
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import request_fields, response_fields
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_integer import encode_integer
from tests.cases import for_each

Pair = tuple[bytes, bytes]
DATE = b"Mon, 21 Oct 2013 20:13:21 GMT"
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

REQUESTS: list[list[Pair]] = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
RESPONSES: list[list[Pair]] = [
    [
        (b":status", b"302"),
        (b"cache-control", b"private"),
        (b"date", DATE),
        (b"location", b"https://www.example.com"),
    ],
    [
        (b":status", b"307"),
        (b"cache-control", b"private"),
        (b"date", DATE),
        (b"location", b"https://www.example.com"),
    ],
    [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", DATE.replace(b":21 ", b":22 ")),
        (b"location", b"https://www.example.com"),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", COOKIE),
    ],
]
# Appendix C.3 to C.6: what is decoded, the blocks, the table's size behind each, its limit.
SEQUENCES = {
    "C.3": (
        REQUESTS,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [57, 110, 164],
        4096,
    ),
    "C.4": (
        REQUESTS,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        [57, 110, 164],
        4096,
    ),
    "C.5": (
        RESPONSES,
        [
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17687474"
                "70733a2f2f7777772e6578616d706c652e636f6d"
            ),
            "4803333037c1c0bf",
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a"
                "4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"
            ),
        ],
        [222, 222, 215],
        256,
    ),
    "C.6": (
        RESPONSES,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960"
                "d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ),
        ],
        [222, 222, 215],
        256,
    ),
}


def decoder(max_octets: int = 65536, max_fields: int = 256) -> Decoder:
    return Decoder(request_fields, max_octets, max_fields)


def pairs(made: Decoder, block: bytes) -> list[Pair]:
    return [(field.pair[0], field.pair[1]) for field in made.decode(block)]


@for_each("section", SEQUENCES)
def test_the_rfcs_sequences(section: str) -> None:
    expected, blocks, sizes, limit = SEQUENCES[section]
    made = decoder() if limit == 4096 else Decoder(response_fields, 65536)
    if limit != 4096:
        made.limit_table(limit)
        blocks = [encode_integer(limit, 31, 0x20).hex() + blocks[0], *blocks[1:]]
    for fields, block, size in zip(expected, blocks, sizes, strict=True):
        assert pairs(made, bytes.fromhex(block)) == fields
        assert made.table_octets == size


@for_each(
    ("block", "pair", "size", "secret"),
    [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            (b"custom-key", b"custom-header"),
            55,
            False,
        ),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path"), 0, False),
        ("100870617373776f726406736563726574", (b"password", b"secret"), 0, True),
        ("82", (b":method", b"GET"), 0, False),
    ],
)
def test_the_rfcs_representations(block: str, pair: Pair, size: int, *, secret: bool) -> None:
    """Appendix C.2."""
    made = decoder()
    assert pairs(made, bytes.fromhex(block)) == [pair]
    assert made.table_octets == size
    assert made.secret is secret
    assert made.stands_still is not bool(size)


BODY = bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572")
COMPRESSION = ErrorCode.COMPRESSION_ERROR
MALFORMED = {
    "index 0": b"\x80",
    "an index beyond the static table": b"\xbe",
    "an index far beyond": b"\xff\x80\x01",
    "an index beyond the dynamic table": BODY + b"\xbf",
    "a name's index beyond": b"\x7f\x00\x01a",
    "a name's index beyond, not indexed": b"\x0f\x2f\x01a",
    "an index that does not end": b"\xff\x80",
    "an index that runs away": b"\xff" * 8,
    "an index of noughts": b"\xff\x80\x80\x80\x80\x00",
    "a length that runs away": b"\x00\x7f" + b"\xff" * 8,
    "a length that does not end": b"\x00\x7f\xff",
    "a name beyond the block": b"\x40\x05abc",
    "a value beyond the block": b"\x40\x01a\x05abc",
    "a name and no value": b"\x40\x01a",
    "a literal without a name": b"\x40",
    "a literal without its value's length": b"\x44",
    "a long value's length beyond the block": b"\x44\x7f\x80\x01" + b"x" * 200,
    "a name with EOS": b"\x40\x84\xff\xff\xff\xff\x01a",
    "a value padded with a whole octet": b"\x40\x01a\x82\x07\xff",
    "a size beyond what we allow": b"\x3f\xe2\x1f",
    "a size that runs away": b"\x3f" + b"\xff" * 8,
    "a size within a block": b"\x82\x20",
    "a size at a block's end": BODY + b"\x20",
    "three sizes": b"\x20\x21\x22\x82",
}


@for_each("case", MALFORMED)
def test_what_is_no_block_ends_the_connection(case: str) -> None:
    with pytest.raises(ConnectionFault) as raised:
        decoder().decode(MALFORMED[case])
    assert raised.value.code == COMPRESSION


def test_a_block_cut_anywhere_is_refused_or_shorter() -> None:
    block = bytes.fromhex(SEQUENCES["C.6"][1][0])
    made = Decoder(response_fields, 65536)
    whole = pairs(made, block)
    for at in range(len(block)):
        try:
            found = pairs(Decoder(response_fields, 65536), block[:at])
        except ConnectionFault as fault:
            assert fault.code == COMPRESSION  # noqa: PT017 -- both ways are right, at different places
        else:
            assert found == whole[: len(found)]


def test_an_empty_block_is_no_field() -> None:
    assert decoder().decode(b"") == []


# -- bounds -------------------------------------------------------------------


def test_fields_are_counted_while_they_are_decoded() -> None:
    made = decoder(max_fields=10)
    assert len(made.decode(b"\x82" * 10)) == 10
    with pytest.raises(ConnectionFault) as raised:
        made.decode(b"\x82" * 11)
    assert (raised.value.code, raised.value.limit) == (ErrorCode.ENHANCE_YOUR_CALM, "header_fields")


def test_octets_are_counted_while_they_are_decoded() -> None:
    """An entry of nearly the table's size, mentioned again and again by one octet (CVE-2016-6581)."""
    entry = b"\x40\x01a" + encode_integer(4000, 0x7F) + b"x" * 4000
    assert len(decoder(4033 * 3).decode(entry + b"\xbe\xbe")) == 3
    with pytest.raises(ConnectionFault) as raised:
        decoder(4033 * 3 - 1).decode(entry + b"\xbe\xbe")
    assert (raised.value.code, raised.value.limit) == (ErrorCode.ENHANCE_YOUR_CALM, "header_bytes")


def test_empty_fields_count_too() -> None:
    with pytest.raises(ConnectionFault):
        decoder(32 * 9).decode(b"\x00\x00\x00" * 10)


# -- the table's size ---------------------------------------------------------


@for_each("updates", [b"\x20", b"\x20\x3f\xe1\x1f", b"\x30\x20"])
def test_a_size_empties_the_table_and_two_of_them_are_one_change(updates: bytes) -> None:
    made = decoder()
    made.decode(BODY)
    assert made.table_octets == 55
    assert pairs(made, updates + b"\x82") == [(b":method", b"GET")]
    assert made.table_octets == 0
    assert not made.stands_still
    with pytest.raises(ConnectionFault):
        made.decode(b"\xbe")


def test_the_size_may_be_all_that_we_allow() -> None:
    decoder().decode(b"\x3f\xe1\x1f")  # 4096
    made = decoder()
    made.limit_table(8192)
    made.decode(b"\x3f\xe1\x3f")
    with pytest.raises(ConnectionFault):
        made.decode(b"\x3f\xe2\x3f")


@for_each("block", [b"", b"\x82", BODY, b"\x3f\xe1\x1f\x82"])
def test_a_reduction_has_to_be_told_with_the_next_block(block: bytes) -> None:
    """RFC 7541 section 4.2; the last of these tells of a size that is still too large."""
    made = decoder()
    made.limit_table(100)
    with pytest.raises(ConnectionFault) as raised:
        made.decode(block)
    assert raised.value.code == COMPRESSION


def test_a_reduction_that_is_told_is_one() -> None:
    made = decoder()
    made.decode(BODY)
    made.limit_table(54)
    assert pairs(made, b"\x3f\x17\x82") == [(b":method", b"GET")]
    assert made.table_octets == 0
    made.decode(b"\x82")
    made.limit_table(4096)  # more is no obligation
    made.decode(b"\x82")


# -- what a memo may keep -----------------------------------------------------


@for_each(
    ("fields", "secret"),
    [
        ([(b"x-a", b"b")], False),
        ([(b"authorization", b"Bearer a")], True),
        ([(b"cookie", b"a=b")], True),
        ([(b"x-serverless-authorization", b"Bearer a")], True),
        ([(b"x_serverless_authorization", b"Bearer a")], True),
        ([(b"x-api-key", b"a")], True),
        ([NeverIndexedHeaderTuple(b"x-a", b"b")], True),
    ],
)
def test_a_credential_is_told_however_often_and_in_whatever_form(fields: list[Pair], *, secret: bool) -> None:
    made = decoder()
    other = OtherEncoder()
    for _ in range(3):  # literal, then from the table
        made.decode(other.encode(fields))
        assert made.secret is secret
    made.decode(b"\x82")
    assert not made.secret


def test_only_a_block_that_leaves_the_table_alone_stands_still() -> None:
    made = decoder()
    for block, still in ((BODY, False), (b"\xbe", True), (b"\x00\x01a\x01b", True), (b"\x3f\xe1\x1f", False)):
        made.decode(block)
        assert made.stands_still is still


def test_a_name_may_be_one_of_the_dynamic_tables() -> None:
    made = decoder()
    made.decode(BODY)
    assert pairs(made, b"\x7e\x01a" + b"\x0f\x30\x01b") == [(b"custom-key", b"a"), (b"custom-key", b"b")]


def test_strings_are_remembered_within_a_bound() -> None:
    made = decoder()
    for number in range(3000):
        code = huffman.encode(b"%d" % number)
        assert pairs(made, b"\x04" + bytes([0x80 | len(code)]) + code) == [(b":path", b"%d" % number)]
        assert len(made._strings) <= 1024
    assert made._strings


def test_no_string_of_a_secret_is_remembered() -> None:
    made = decoder()
    code = huffman.encode(b"s3cr3t")
    for name in (
        b"\x14",
        b"\x0f\x08",
        b"\x0f\x11",
        b"\x00\x09x-api-key",
    ):  # never indexed, and credentials by name
        made.decode(name + bytes([0x80 | len(code)]) + code)
        assert made.secret
    assert not made._strings


# -- beside another implementation --------------------------------------------

NAMES = st.sampled_from(
    [
        b":path",
        b":status",
        b"accept",
        b"cookie",
        b"authorization",
        b"x-a",
        b"x-b",
        b"content-length",
        b"X-Upper",
        b"",
    ]
)
VALUES = st.one_of(
    st.sampled_from([b"", b"/", b"200", b"a", b"b", b"12", b"a" * 130, b"z" * 4096]),
    st.binary(max_size=40),
)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(NAMES, VALUES), max_size=12),
            st.booleans(),
            st.sampled_from([None, None, 0, 64, 128, 4096]),
        ),
        max_size=8,
    )
)
def test_another_implementations_blocks_are_read_as_they_were_written(
    blocks: list[tuple[list[Pair], bool, int | None]],
) -> None:
    other = OtherEncoder()
    made = Decoder(request_fields, 1 << 20)
    for fields, coded, size in blocks:
        if size is not None:
            other.header_table_size = size
        assert pairs(made, other.encode(fields, huffman=coded)) == fields


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_octets_are_fields_or_a_fault_of_the_connection(blocks: list[bytes]) -> None:
    made = decoder(1000)
    for block in blocks:
        try:
            found = made.decode(block)
        except ConnectionFault:
            return
        assert sum(field.size for field in found) <= 1000
        assert made.table_octets <= 4096
