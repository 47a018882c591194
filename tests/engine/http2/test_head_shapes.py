from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2.error_codes import ConnectionFault
from idtoken_proxy.engine.http2.fields import request_fields
from idtoken_proxy.engine.http2.head_shapes import HeadShape, ShapeMemo, around_values
from idtoken_proxy.engine.http2.heads import MalformedMessage, RequestHead, request_head
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import literal, never_indexed
from idtoken_proxy.engine.http2.huffman import encode as huffman
from tests.cases import for_each
from tests.engine.http2.peer import Pair

MOST = 16 * 1024
STATIC = b"\x83\x86"  # :method POST, :scheme http
AUTHORITY: Pair = (b":authority", b"localhost")


def field(name: bytes, value: bytes) -> bytes:
    return literal(0, name, value, 0x00, 0x0F)


def squeezed(index: int, value: bytes) -> bytes:
    text = huffman(value)
    return bytes((index, 0x80 | len(text))) + text


def block_of(*pairs: Pair) -> bytes:
    return STATIC + b"".join(field(*pair) for pair in (AUTHORITY, *pairs))


def path(value: bytes) -> Pair:
    return (b":path", value)


def said(head: RequestHead) -> tuple[object, ...]:
    """What a head says. Fields with different names may stand in any order."""
    return (
        *(head.method, head.scheme, head.authority, head.path, head.content_length, head.te_trailers),
        sorted((one.name, one.value) for one in head.passing),
        [(one.name, one.value) for one in head.special],
    )


def decoded(block: bytes) -> RequestHead:
    """By the long way. Raises ConnectionFault and MalformedMessage."""
    return request_head(Decoder(request_fields, MOST).decode(block))


def learned(*blocks: bytes) -> ShapeMemo:
    memo = ShapeMemo()
    for block in blocks:
        decoder = Decoder(request_fields, MOST)
        fields = decoder.decode(block)
        assert decoder.stands_still
        if not decoder.secret:
            memo.keep(block, request_head(fields), fields)
    return memo


@for_each(
    "block, expected",
    [
        (b"\x83\x86", None),  # no value
        (b"\x83\x41\x01a", None),  # goes into a table
        (b"\x3f\x00\x83", None),  # changes a table's size
        (b"\x83" + never_indexed(b"x", b"y"), None),
        (b"\x83\x04", None),  # ends within a field
        (b"\x83\x04\x05/a", None),
        (b"\x83\x00\x05x", None),
        (b"\x83\xff", None),
        (b"\x83\x04\x02/a\x86", ([b"\x83\x04", b"\x86"], [1])),
        (b"\xff\x01\x04\x02/a", ([b"\xff\x01\x04", b""], [1])),
        (b"\x0f\x0d\x0264\x00\x01x\x01y", ([b"\x0f\x0d", b"\x00\x01x", b""], [0, 1])),
    ],
)
def test_what_stands_around_the_values(block: bytes, expected: object) -> None:
    assert around_values(block) == expected


def test_a_shape_is_known_from_the_second_head_on() -> None:
    memo = learned(block_of(path(b"/a")))
    assert memo.head(block_of(path(b"/b")), request_fields, MOST) is None
    memo = learned(block_of(path(b"/a")), block_of(path(b"/b")))
    block = block_of(path(b"/" + b"c" * 300))
    head = memo.head(block, request_fields, MOST)
    assert head is not None
    assert said(head) == said(decoded(block))
    memo.clear()
    assert memo.head(block, request_fields, MOST) is None


values = st.binary(max_size=200) | st.from_regex(rb"/[a-z0-9?=]*", fullmatch=True) | st.just(b"7")
names = st.sampled_from(
    [b"x-a", b"traceparent", b"content-length", b":path", b"te", b"origin", b"user-agent"]
)


@given(
    st.lists(names, min_size=1, max_size=5),
    st.lists(st.lists(values, min_size=5, max_size=5), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_head_of_a_known_shape_says_what_it_says_by_the_long_way(
    chosen: Sequence[bytes],
    each: Sequence[Sequence[bytes]],
    squeeze: bool,  # noqa: FBT001
) -> None:
    def block(texts: Sequence[bytes]) -> bytes:
        ours = field(*path(texts[0])) if not squeeze else squeezed(4, texts[0])
        return STATIC + field(*AUTHORITY) + ours + b"".join(map(field, chosen, texts))

    defaults = {b"content-length": b"7", b"te": b"trailers", b":path": b"/", b"origin": b"http://a"}
    model = STATIC + field(*AUTHORITY) + (squeezed(4, b"/a") if squeeze else field(*path(b"/a")))
    model += b"".join(field(name, defaults.get(name, b"x")) for name in chosen)
    memo = ShapeMemo()
    try:
        memo = learned(model, model)
    except MalformedMessage:
        assert len(set(chosen)) < len(chosen) or b":path" in chosen
    for texts in each:
        try:
            expected = said(decoded(block(texts)))
        except (ConnectionFault, MalformedMessage):
            try:
                found = memo.head(block(texts), request_fields, MOST)
            except ConnectionFault:
                found = None
            assert found is None
            continue
        head = memo.head(block(texts), request_fields, MOST)
        assert head is None or said(head) == expected


@for_each("value", [b"no slash", b"/\n", b"*", b"", b"/ a"])
def test_a_path_that_is_none_is_looked_at_the_long_way(value: bytes) -> None:
    memo = learned(*[block_of(path(b"/a"))] * 2)
    assert memo.head(block_of(path(value)), request_fields, MOST) is None


@for_each(
    "name, value",
    [
        (b"x", b"a\nb"),
        (b"x", b" a"),
        (b"content-length", b"-1"),
        (b"content-length", b"5, 5"),
        (b"te", b"gzip"),
    ],
)
def test_a_value_that_breaks_a_rule_is_looked_at_the_long_way(name: bytes, value: bytes) -> None:
    good = {b"x": b"a", b"content-length": b"5", b"te": b"trailers"}[name]
    memo = learned(*[block_of(path(b"/a"), (name, good))] * 2)
    assert memo.head(block_of(path(b"/b"), (name, good)), request_fields, MOST) is not None
    assert memo.head(block_of(path(b"/b"), (name, value)), request_fields, MOST) is None


@for_each("name", [b"origin", b"referer", b"sec-fetch-site", b"via", b"x-forwarded-for", b"expect"])
def test_what_the_proxy_looks_at_is_no_value_that_may_differ(name: bytes) -> None:
    memo = learned(*[block_of(path(b"/a"), (name, b"http://a.test/"))] * 2)
    same = memo.head(block_of(path(b"/b"), (name, b"http://a.test/")), request_fields, MOST)
    assert same is not None
    assert said(same) == said(decoded(block_of(path(b"/b"), (name, b"http://a.test/"))))
    assert memo.head(block_of(path(b"/b"), (name, b"http://b.test/")), request_fields, MOST) is None


@for_each("name", [b"authorization", b"cookie", b"x-goog-api-key", b"proxy-authorization"])
def test_no_head_with_a_credential_has_a_shape(name: bytes) -> None:
    memo = learned(*[block_of(path(b"/a"), (name, b"secret"))] * 3)
    assert memo.head(block_of(path(b"/b"), (name, b"secret")), request_fields, MOST) is None


@for_each(
    "block",
    [
        block_of((b"x-a", b"b"), path(b"/b")),  # a pseudo-field behind a field
        block_of(path(b"/b"), path(b"/c")),
        block_of(path(b"/b"), (b"host", b"other")),
        block_of(path(b"/b"), (b"X-A", b"b")),
        block_of(path(b"/b"))[:-1],
        block_of(path(b"/b")) + b"\x04",
        block_of(path(b"/b")) + b"\x80",
    ],
)
def test_another_shape_is_never_taken_for_this_one(block: bytes) -> None:
    memo = learned(*[block_of(path(b"/a"))] * 2, *[block_of(path(b"/a"), (b"x-a", b"b"))] * 2)
    assert memo.head(block, request_fields, MOST) is None


def test_what_is_decoded_is_counted() -> None:
    memo = learned(*[block_of(path(b"/a"), (b"x-a", b"b"))] * 2)
    size = sum(len(name) + len(value) + 32 for name, value in [
        (b":method", b"POST"), (b":scheme", b"http"), AUTHORITY, path(b"/b"), (b"x-a", b"b" * 100),
    ])  # fmt: skip
    block = block_of(path(b"/b"), (b"x-a", b"b" * 100))
    assert memo.head(block, request_fields, size) is not None
    assert memo.head(block, request_fields, size - 1) is None
    with pytest.raises(ConnectionFault):
        Decoder(request_fields, size - 1).decode(block)


def test_a_memo_is_bounded_and_keeps_what_is_used() -> None:
    memo = ShapeMemo()

    def keep(name: bytes) -> None:
        block = block_of(path(b"/a"), (name, b"b"))
        fields = Decoder(request_fields, MOST).decode(block)
        for _ in range(2):
            memo.keep(block, request_head(fields), fields)

    keep(b"first")
    for number in range(100):
        keep(b"x-%d" % number)
        assert memo.head(block_of(path(b"/c"), (b"first", b"d")), request_fields, MOST) is not None
    assert len(memo._shapes) == 8
    fields = Decoder(request_fields, MOST).decode(long := block_of(path(b"/a"), (b"x" * 2048, b"b")))
    for _ in range(3):
        memo.keep(long, request_head(fields), fields)
    assert memo.head(long, request_fields, MOST) is None


def test_fields_of_one_name_keep_their_order() -> None:
    """So that where one of them may differ there is no shape: the others' places would be lost."""
    block = block_of(path(b"/a"), (b"x-a", b"1"), (b"x-a", b"2"))
    fields = Decoder(request_fields, MOST).decode(block)
    found = around_values(block)
    assert found is not None
    assert HeadShape.of(request_head(fields), fields, *found) is None
