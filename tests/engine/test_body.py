"""Bodies, each read whole, octet by octet and split at every place: the reading may not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idtoken_proxy.engine.body import (
    LAST_CHUNK,
    MAX_CHUNK_LINE,
    MAX_TRAILER_OCTETS,
    BodyReader,
    ChunkedReader,
    LengthReader,
    UntilCloseReader,
    chunk,
)
from tests.cases import for_each


@dataclass(frozen=True)
class Reading:
    """What came of a body: `rest` is what belongs to the next message."""

    payload: bytes
    done: bool
    rest: bytes = b""
    trailers: tuple[bytes, ...] = ()


def read(reader: BodyReader, pieces: Iterable[bytes]) -> Reading:
    """As a connection does it: the pieces in turn until `done`; what comes later is the next message's."""
    payload, rest, done = b"", b"", reader.done
    for piece in pieces:
        if done:
            rest += piece
            continue
        payload += reader.feed(piece)
        done = reader.done
        rest = reader.rest
    trailers = tuple(reader.trailers) if isinstance(reader, ChunkedReader) else ()
    return Reading(payload, done, rest, trailers)


def ways(wire: bytes) -> Iterator[list[bytes]]:
    """Whole, octet by octet, and in two at every place."""
    yield [wire]
    yield [wire[i : i + 1] for i in range(len(wire))]
    for at in range(1, len(wire)):
        yield [wire[:at], wire[at:]]


def read_every_way(make: Callable[[], BodyReader], wire: bytes) -> Reading:
    whole, *others = (read(make(), pieces) for pieces in ways(wire))
    for other in others:
        assert other == whole
    return whole


# -- by length ----------------------------------------------------------------


@for_each(
    ("length", "wire", "expected"),
    [
        (5, b"hello", Reading(b"hello", done=True)),
        (5, b"hell", Reading(b"hell", done=False)),
        (5, b"hello!", Reading(b"hello", done=True, rest=b"!")),
        (5, b"helloGET / HTTP/1.1\r\n", Reading(b"hello", done=True, rest=b"GET / HTTP/1.1\r\n")),
        (1, b"\r\n", Reading(b"\r", done=True, rest=b"\n")),
        (5, b"", Reading(b"", done=False)),
        (0, b"", Reading(b"", done=True)),
        (0, b"GET", Reading(b"", done=True, rest=b"GET")),
    ],
)
def test_a_length_counts_exactly(length: int, wire: bytes, expected: Reading) -> None:
    assert read_every_way(lambda: LengthReader(length), wire) == expected


def test_a_body_of_length_nought_is_done_before_it_begins() -> None:
    assert LengthReader(0).done
    assert not LengthReader(1).done


def test_until_close_takes_everything_and_never_ends_by_itself() -> None:
    wire = b"anything\r\n0\r\n\r\n"
    assert read_every_way(UntilCloseReader, wire) == Reading(wire, done=False)


# -- chunked ------------------------------------------------------------------

CHUNKED = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", Reading(b"hello", done=True)),
    "two chunks": (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", Reading(b"hello", done=True)),
    "no chunk": (b"0\r\n\r\n", Reading(b"", done=True)),
    "sizes in either case of hex": (
        b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
        Reading(b"01234567890123456789a", done=True),
    ),
    "noughts before a size": (b"0005\r\nhello\r\n00\r\n\r\n", Reading(b"hello", done=True)),
    "a last chunk of many noughts": (b"0" * 15 + b"\r\n\r\n", Reading(b"", done=True)),
    "payload that looks like framing": (
        b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
        Reading(b"0\r\n\r\n\r\n", done=True),
    ),
    "the next request behind it": (
        b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
        Reading(b"a", done=True, rest=b"GET / HTTP/1.1\r\n"),
    ),
    "an empty line behind it": (b"0\r\n\r\n\r\n", Reading(b"", done=True, rest=b"\r\n")),
    "a bare extension": (b"1;a\r\nx\r\n0;b\r\n\r\n", Reading(b"x", done=True)),
    "an extension with a value": (b"1;a=b\r\nx\r\n0\r\n\r\n", Reading(b"x", done=True)),
    "extensions": (b"1;a;b=c;d=e\r\nx\r\n0\r\n\r\n", Reading(b"x", done=True)),
    "space where it may be": (b"1 \t; a\t= b ;c\r\nx\r\n0\r\n\r\n", Reading(b"x", done=True)),
    "a quoted value": (b'1;a="b c;d=\\"\\\\\xe9\t"\r\nx\r\n0\r\n\r\n', Reading(b"x", done=True)),
    "an empty quoted value": (b'1;a=""\r\nx\r\n0\r\n\r\n', Reading(b"x", done=True)),
    "trailers": (
        b"1\r\nx\r\n0\r\ngrpc-status:0\r\nA: b \r\n\r\nrest",
        Reading(b"x", done=True, rest=b"rest", trailers=(b"grpc-status: 0\r\n", b"A: b\r\n")),
    ),
    "trailers that may not pass": (
        b"0\r\nAuthorization: a\r\nX-A: b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: c\r\n\r\n",
        Reading(b"", done=True, trailers=(b"X-A: b\r\n",)),
    ),
    "an empty trailer value": (b"0\r\nA:\r\n\r\n", Reading(b"", done=True, trailers=(b"A: \r\n",))),
    # What is not over is not done.
    "nothing yet": (b"", Reading(b"", done=False)),
    "cut in a size": (b"5", Reading(b"", done=False)),
    "cut in a line end": (b"5\r", Reading(b"", done=False)),
    "cut in a chunk": (b"5\r\nhel", Reading(b"hel", done=False)),
    "cut behind a chunk": (b"5\r\nhello", Reading(b"hello", done=False)),
    "cut in a chunk's line end": (b"5\r\nhello\r", Reading(b"hello", done=False)),
    "cut before the last chunk": (b"5\r\nhello\r\n", Reading(b"hello", done=False)),
    "cut in the last chunk": (b"5\r\nhello\r\n0\r\n", Reading(b"hello", done=False)),
    "cut in the last line end": (b"5\r\nhello\r\n0\r\n\r", Reading(b"hello", done=False)),
    "cut in the trailers": (b"0\r\nA: b\r\n", Reading(b"", done=False, trailers=(b"A: b\r\n",))),
}


@for_each(("wire", "expected"), CHUNKED.values(), ids=CHUNKED)
def test_chunks(wire: bytes, expected: Reading) -> None:
    assert read_every_way(ChunkedReader, wire) == expected


MALFORMED = {
    "no size": b"\r\n",
    "no size but an extension": b";a\r\n",
    "no hex": b"g\r\n",
    "a sign": b"+5\r\nhello\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "an underscore": b"0_5\r\nhello\r\n",
    "digits that are none in ASCII": "\u0665\r\n".encode(),
    "space before": b" 5\r\nhello\r\n",
    "space behind": b"5 \r\nhello\r\n",
    "space within": b"1 0\r\n",
    "a tab behind": b"5\t\r\nhello\r\n",
    "a comma": b"5,5\r\n",
    "a vertical tab": b"5\x0b;a\r\n",
    "NUL": b"5\0\r\n",
    "16 digits": b"0000000000000005\r\nhello\r\n",
    "what overflows 64 bits": b"10000000000000005\r\nhello\r\n",
    "what overflows anything": b"f" * 500 + b"\r\n",
    # A bare LF, CVE-2025-22871; it must not end a line anywhere.
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF and a line behind the size": b"5\nhello\r\n",
    "bare CR behind the size": b"5\rhello\r\n",
    "two CRs behind the size": b"5\r\r\nhello\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n",
    "bare LF in a quoted extension": b'5;a="\n"\r\nhello\r\n',
    "CR in a quoted extension": b'5;a="\r"\r\nhello\r\n',
    "an escaped LF in a quoted extension": b'5;a="\\\n"\r\n',
    "NUL in an extension": b"5;a\0\r\n",
    "NUL in a quoted extension": b'5;a="\0"\r\n',
    "an open quote": b'5;a="b\r\n',
    "a quote that ends in its escape": b'5;a="\\"\r\n',
    "words behind a quote": b'5;a="b"c\r\n',
    "a semicolon and nothing": b"5;\r\nhello\r\n",
    "two semicolons": b"5;;a\r\n",
    "an equals sign and nothing": b"5;a=\r\n",
    "a value without a name": b"5;=b\r\n",
    "two values": b"5;a=b=c\r\n",
    "a name with a space": b"5;a b\r\n",
    "space behind an extension": b"5;a \r\n",
    "obs-text in an extension": b"5;\xe9\r\n",
    # The chunk's end, CVE-2025-43859.
    "a chunk longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "a chunk shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "any two octets for the line end": b"5\r\nhelloXX0\r\n\r\n",
    "bare LF behind a chunk": b"5\r\nhello\n0\r\n\r\n",
    "bare CR behind a chunk": b"5\r\nhello\r0\r\n\r\n",
    "LF CR behind a chunk": b"5\r\nhello\n\r0\r\n\r\n",
    "two CRs behind a chunk": b"5\r\nhello\r\r\n0\r\n\r\n",
    "an empty line before a size": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    # Trailers.
    "bare LF behind the last chunk": b"0\n\r\n",
    "bare LF for the end": b"0\r\n\n",
    "bare LF behind a trailer": b"0\r\nA: b\n\r\n",
    "bare CR in a trailer": b"0\r\nA: b\rC: d\r\n\r\n",
    "bare LF in a trailer": b"0\r\nA: b\nC: d\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a trailer without a colon": b"0\r\nA\r\n\r\n",
    "a space before a trailer's colon": b"0\r\nA : b\r\n\r\n",
    "a trailer without a name": b"0\r\n: b\r\n\r\n",
    "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
    "a request for trailers": b"0\r\nGET / HTTP/1.1\r\n\r\n",
}


@for_each("wire", MALFORMED.values(), ids=MALFORMED)
def test_malformed_chunks_are_refused_however_they_come(wire: bytes) -> None:
    for pieces in ways(wire):
        with pytest.raises(ValueError, match=r"chunk|trailer"):
            read(ChunkedReader(), pieces)


@for_each("wire", [b"5\n", b"5\nhello", b"0\r\n\n", b"0\r\nA: b\nC", b"5\r\nhelloX", b"1\r\naX"])
def test_what_cannot_become_right_is_refused_at_once_and_not_a_deadline_later(wire: bytes) -> None:
    for pieces in ways(wire):
        with pytest.raises(ValueError, match="chunk"):
            read(ChunkedReader(), pieces)


def test_the_payload_of_a_good_chunk_before_a_bad_one_is_not_given_out_as_a_whole_body() -> None:
    reader = ChunkedReader()
    with pytest.raises(ValueError, match="size"):
        reader.feed(b"5\r\nhello\r\nz\r\n")
    assert not reader.done


@for_each("over", [False, True])
def test_a_chunk_line_has_a_limit_wherever_it_is_split(*, over: bool) -> None:
    line = b"1;" + b"a" * (MAX_CHUNK_LINE - 2 + over)
    wire = line + b"\r\nx\r\n0\r\n\r\n"
    for pieces in ways(wire):
        if over:
            with pytest.raises(ValueError, match="too long"):
                read(ChunkedReader(), pieces)
        else:
            assert read(ChunkedReader(), pieces) == Reading(b"x", done=True)


def test_a_line_that_never_ends_is_not_buffered() -> None:
    for start in (b"1;", b"0\r\nA: "):
        reader = ChunkedReader()
        reader.feed(start)
        with pytest.raises(ValueError, match="too long"):
            read(reader, [b"a" * 1024] * 100)
        assert reader.kept <= MAX_TRAILER_OCTETS


@for_each("over", [False, True])
@for_each("size", [MAX_TRAILER_OCTETS, 1024, 8])
def test_a_trailer_section_has_a_limit(size: int, *, over: bool) -> None:
    line = b"a:" + b"b" * (size - 4) + b"\r\n"
    count = MAX_TRAILER_OCTETS // size
    section = line * count if not over else line * (count - 1) + line[:-2] + b"b\r\n"
    wire = b"0\r\n" + section + b"\r\nrest"
    at = 3 + len(section)
    for pieces in (
        [wire],
        [wire[:at], wire[at:]],
        [wire[: at - 1], wire[at - 1 :]],
        [wire[: at - 2], wire[at - 2 :]],
    ):
        if over:
            with pytest.raises(ValueError, match="too long"):
                read(ChunkedReader(), pieces)
        else:
            assert read(ChunkedReader(), pieces).rest == b"rest"


def test_nothing_fed_gives_nothing() -> None:
    for reader in (LengthReader(5), ChunkedReader(), UntilCloseReader()):
        assert reader.feed(b"") == b""
        assert not reader.done


# -- what goes out ------------------------------------------------------------


def test_a_chunk_as_it_is_written() -> None:
    assert chunk(b"hello") == b"5\r\nhello\r\n"
    assert chunk(b"a" * 31) == b"1f\r\n" + b"a" * 31 + b"\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


PLACES = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.binary(), PLACES, PLACES, st.binary(max_size=20))
def test_any_payload_in_any_chunks_in_any_pieces_arrives(
    payload: bytes, chunks: list[int], pieces: list[int], rest: bytes
) -> None:
    wire = b"".join(chunk(part) for part in cut(payload, chunks) if part) + LAST_CHUNK + rest
    assert read(ChunkedReader(), cut(wire, pieces)) == Reading(payload, done=True, rest=rest)


@given(st.binary(), st.integers(0, 300), PLACES)
def test_any_length_in_any_pieces(data: bytes, length: int, pieces: list[int]) -> None:
    got = read(LengthReader(length), cut(data, pieces))
    assert got.payload + got.rest == data
    assert len(got.payload) == min(length, len(data))
    assert got.done is (len(data) >= length)


SOUP = st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b"0", b"1", b"5", b";", b"a", b"=", b'"', b"\\", b" ", b":", b"\0"]
    )
).map(b"".join)


def verdict(pieces: list[bytes]) -> Reading | None:
    try:
        return read(ChunkedReader(), pieces)
    except ValueError:  # and nothing else, ever
        return None


@given(st.one_of(st.binary(), SOUP), PLACES)
@example(b"1;" + b"a" * (MAX_CHUNK_LINE - 2) + b"\r\nx\r\n", [MAX_CHUNK_LINE + 1])
def test_anything_at_all_is_read_or_refused_the_same_in_any_pieces(wire: bytes, places: list[int]) -> None:
    assert (
        verdict(cut(wire, places)) == verdict([wire]) == verdict([wire[i : i + 1] for i in range(len(wire))])
    )
