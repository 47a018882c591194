from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.emulator.grpc_messages import Field, Kind, Message, decode, encode, varint
from tests.cases import for_each

INNER = Message("t.Inner", (Field("name", 1, Kind.STRING),))
OUTER = Message(
    "t.Outer",
    (
        Field("text", 1, Kind.STRING),
        Field("octets", 2, Kind.BYTES),
        Field("flag", 3, Kind.BOOL),
        Field("signed", 4, Kind.INT32),
        Field("count", 5, Kind.UINT32),
        Field("long", 6, Kind.UINT64),
        Field("choice", 7, Kind.ENUM, "t.Choice"),
        Field("one", 8, Kind.MESSAGE, INNER),
        Field("many", 16, Kind.MESSAGE, INNER, repeated=True),
        Field("names", 2047, Kind.STRING, repeated=True),
    ),
)
NAMED = st.fixed_dictionaries({"name": st.text()})
VALUES = st.fixed_dictionaries(
    {
        "text": st.text(),
        "octets": st.binary(),
        "flag": st.booleans(),
        "signed": st.integers(-(1 << 31), (1 << 31) - 1),
        "count": st.integers(0, (1 << 32) - 1),
        "long": st.integers(0, (1 << 64) - 1),
        "choice": st.integers(0, 3),
        "one": st.none() | NAMED,
        "many": st.lists(NAMED),
        "names": st.lists(st.text()),
    }
)


@given(VALUES)
def test_what_is_encoded_is_decoded(values: dict[str, Any]) -> None:
    assert decode(OUTER, encode(OUTER, values)) == values


def test_the_wire_is_the_documentation_s() -> None:
    """https://protobuf.dev/programming-guides/encoding/."""
    assert varint(150) == b"\x96\x01"
    assert encode(OUTER, {"text": "testing"}) == b"\x0a\x07testing"
    assert encode(OUTER, {"signed": -2}) == b"\x20\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    assert encode(OUTER, {}) == b""


def test_defaults_go_unsaid_but_where_one_of_several_is_chosen() -> None:
    chosen = Message("t.M", (Field("a", 1, Kind.STRING, one_of="which"), Field("b", 2, Kind.STRING)))
    assert encode(chosen, {"a": "", "b": ""}) == b"\x0a\x00"
    assert encode(chosen, {}) == b""


def test_what_is_unknown_is_passed_over() -> None:
    unknown = b"\xa0\x06\x01" + b"\xa5\x06abcd" + b"\xa1\x06abcdefgh" + b"\xa2\x06\x01x"
    assert decode(OUTER, unknown + b"\x0a\x01a")["text"] == "a"


@for_each(
    "octets",
    [
        b"\x0a", b"\x0a\x05abc", b"\x80", b"\x80" * 11, b"\x0b", b"\x0a\x01\xff", b"\x08\x01", b"\x1a\x01a", b"\x00\x01",
        b"\x02\x00", b"\x0d\x01",
    ],
)  # fmt: skip
def test_what_is_none_is_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(OUTER, octets)


@given(st.binary())
def test_no_octets_raise_anything_else(octets: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(OUTER, octets)
