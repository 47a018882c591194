"""What is written is what another implementation reads, and what of it stays the same."""

from __future__ import annotations

from hpack import Decoder as OtherDecoder
from hpack import NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2.fields import request_fields
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import NEVER_INSERTED, Encoder, never_indexed
from tests.cases import for_each
from tests.engine.http2.peer import Pair

HEAD: list[Pair] = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/helloworld.Greeter/SayHello"),
    (b":authority", b"greeter-abc.a.run.app"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-python/1.66.1"),
]


def other_decoder() -> OtherDecoder:
    made = OtherDecoder(max_header_list_size=1 << 24)
    made.max_allowed_table_size = 4096
    return made


def read(other: OtherDecoder, block: bytes) -> list[Pair]:
    return [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)]


def test_a_field_goes_into_the_table_when_it_is_seen_the_second_time() -> None:
    encoder = Encoder()
    other = other_decoder()
    generations, sizes = [], []
    for _ in range(5):
        block = encoder.encode(HEAD)
        assert read(other, block) == HEAD
        generations.append(encoder.generation)
        sizes.append(len(block))
    assert generations == [0, 4, 4, 4, 4]  # what the static table has whole, and the path, stay out
    assert sizes[2] == sizes[3] == sizes[4] < sizes[1] < sizes[0]
    # Method and scheme and four fields of the table take an octet each; the path is the rest.
    assert sizes[2] == 6 + 2 + len(HEAD[2][1])


def test_octets_are_constant_while_the_generation_is() -> None:
    encoder = Encoder()
    blocks = [encoder.encode(HEAD) for _ in range(4)]
    assert blocks[2] == blocks[3]
    encoder.encode([(b"x-new", b"1")])
    assert encoder.encode(HEAD) == blocks[3]  # seen once: no insertion
    generation = encoder.generation
    encoder.encode([(b"x-new", b"1")])
    assert encoder.generation == generation + 1
    assert encoder.encode(HEAD) != blocks[3]  # every index moved
    assert encoder.encode(HEAD) == encoder.encode(HEAD)


@for_each("name", sorted(NEVER_INSERTED))
def test_what_differs_from_message_to_message_stays_out(name: bytes) -> None:
    encoder = Encoder()
    other = other_decoder()
    for _ in range(4):
        assert read(other, encoder.encode([(name, b"0123456789")])) == [(name, b"0123456789")]
    assert encoder.generation == 0
    assert not other.header_table.dynamic_entries


@for_each(
    "name",
    [
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"proxy-authorization",
        b"x-api-key",
        b"x_serverless_authorization",
    ],
)
def test_credentials_are_marked_as_never_to_be_indexed(name: bytes) -> None:
    encoder = Encoder()
    other = other_decoder()
    for _ in range(3):
        (field,) = other.decode(encoder.encode([(name, b"s3cr3t")]), raw=True)
        assert isinstance(field, NeverIndexedHeaderTuple)
        assert tuple(field) == (name, b"s3cr3t")
    assert encoder.generation == 0
    (field,) = other.decode(never_indexed(name, b"s3cr3t"), raw=True)
    assert isinstance(field, NeverIndexedHeaderTuple)
    assert not any(b"s3cr3t" in octets for octets in encoder._known.values())


def test_what_came_as_never_indexed_goes_on_as_that() -> None:
    """RFC 7541 section 6.2.3."""
    encoder, other = Encoder(), other_decoder()
    for _ in range(3):
        encoder.encode([(b"x-a", b"s3cr3t")])  # the same, not marked, is in the table
        other = other_decoder()
    (marked,) = Decoder(request_fields, 65536).decode(never_indexed(b"x-a", b"s3cr3t"))
    (field,) = other.decode(encoder.encode([marked.pair]), raw=True)
    assert isinstance(field, NeverIndexedHeaderTuple)
    assert tuple(field) == (b"x-a", b"s3cr3t")


def test_nothing_leaves_a_full_table() -> None:
    encoder = Encoder()
    other = other_decoder()
    fields = [(b"x-%d" % number, b"v" * 60) for number in range(100)]
    for _ in range(4):
        assert read(other, encoder.encode(fields)) == fields
    held = list(other.header_table.dynamic_entries)
    assert 4096 - 97 < other.header_table._current_size <= 4096
    generation = encoder.generation
    more = [(b"y-%d" % number, b"v" * 60) for number in range(10)]
    for _ in range(4):
        assert read(other, encoder.encode(more)) == more
    assert encoder.generation == generation
    assert list(other.header_table.dynamic_entries) == held
    assert read(other, encoder.encode(fields)) == fields


def test_a_large_field_stays_out() -> None:
    encoder = Encoder()
    for _ in range(3):
        encoder.encode([(b"x-large", b"v" * 512)])
    assert encoder.generation == 0
    assert not encoder._known


def test_a_known_name_goes_by_its_index() -> None:
    encoder = Encoder()
    other = other_decoder()
    for value in (b"a", b"a", b"b", b"b", b"c"):
        block = encoder.encode([(b"x-long-field-name", value)])
        assert read(other, block) == [(b"x-long-field-name", value)]
    assert len(block) == 4  # an index beyond the prefix of four bits, and a value of one octet


def test_what_differs_each_time_is_not_kept_for_ever() -> None:
    encoder = Encoder()
    for number in range(5000):
        encoder.encode([(b"x-id", b"%d" % number), (b":path", b"/%d" % number)])
        assert len(encoder._seen) <= 1024
        assert len(encoder._known) <= 1024
    assert encoder.generation == 0


# -- the peer's SETTINGS_HEADER_TABLE_SIZE ------------------------------------


def filled() -> tuple[Encoder, OtherDecoder]:
    encoder, other = Encoder(), other_decoder()
    for _ in range(3):
        assert read(other, encoder.encode(HEAD)) == HEAD
    return encoder, other


def test_no_table_at_all() -> None:
    encoder, other = filled()
    encoder.limit_table(0)
    other.max_allowed_table_size = 0
    block = encoder.encode(HEAD)
    generation = encoder.generation
    assert block[0] == 0x20
    assert read(other, block) == HEAD
    for _ in range(3):
        again = encoder.encode(HEAD)
        assert again == block[1:]
        assert read(other, again) == HEAD
    assert encoder.generation == generation


def test_no_table_from_the_beginning() -> None:
    encoder, other = Encoder(), other_decoder()
    encoder.limit_table(0)
    other.max_allowed_table_size = 0
    for _ in range(3):
        assert read(other, encoder.encode(HEAD)) == HEAD


def test_a_smaller_table_keeps_the_newest() -> None:
    encoder, other = filled()
    encoder.limit_table(130)
    other.max_allowed_table_size = 130
    for _ in range(4):
        assert read(other, encoder.encode(HEAD)) == HEAD
    assert [bytes(name) for name, _ in other.header_table.dynamic_entries] == [b"user-agent", b"content-type"]


def test_a_table_gone_and_come_back_is_told_of_as_both() -> None:
    """RFC 7541 section 4.2: the smallest size in between, then the final one."""
    encoder, other = filled()
    encoder.limit_table(0)
    encoder.limit_table(4096)
    block = encoder.encode(HEAD)
    assert block.startswith(b"\x20\x3f\xe1\x1f")
    assert read(other, block) == HEAD
    for _ in range(3):
        assert read(other, encoder.encode(HEAD)) == HEAD


def test_more_than_the_default_is_not_used() -> None:
    encoder, _ = filled()
    block = encoder.encode(HEAD)
    encoder.limit_table(1 << 20)
    assert encoder.encode(HEAD) == block


def test_octets_made_before_a_change_of_size_may_not_be_sent_again() -> None:
    encoder, _ = filled()
    generation = encoder.generation
    encoder.limit_table(4095)
    assert encoder.generation != generation
    generation = encoder.generation
    encoder.encode(HEAD)  # tells of it, and would tell of it again
    assert encoder.generation != generation
    generation = encoder.generation
    encoder.encode(HEAD)
    assert encoder.generation == generation


# -- beside another implementation --------------------------------------------

NAMES = st.sampled_from(
    [
        b":path",
        b":status",
        b":authority",
        b"accept",
        b"cookie",
        b"date",
        b"x-a",
        b"x-b",
        b"content-type",
        b"via",
    ]
)
VALUES = st.one_of(
    st.sampled_from([b"", b"/", b"200", b"204", b"a", b"b", b"a" * 130, b"z" * 513, b"q" * 400]),
    st.binary(max_size=30),
)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(NAMES, VALUES), max_size=12),
            st.lists(st.sampled_from([0, 64, 200, 4096, 9999])),
        ),
        max_size=12,
    )
)
def test_another_implementation_reads_what_was_meant(blocks: list[tuple[list[Pair], list[int]]]) -> None:
    encoder, other = Encoder(), other_decoder()
    for fields, limits in blocks:
        for limit in limits:
            encoder.limit_table(limit)
        assert read(other, encoder.encode(fields)) == fields
