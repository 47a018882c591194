from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.policy.spelling import (
    LONGEST_SPELLING,
    folded,
    hides_dot_segments,
    hides_segments,
    is_plain,
    spellings,
)
from tests.cases import for_each

SPELLINGS = [
    "%61",
    "%2561",
    "%252561",
    "%u0061",
    "%25u0061",
    "%c1%a1",
    "%e0%81%a1",
    "%f0%80%81%a1",
    "A",
    "%41",
    "%EF%BD%81",
]


@for_each("spelling", SPELLINGS)
def test_a_letter_has_many_spellings(spelling: str) -> None:
    assert folded(spelling.encode()) == b"a"
    assert len(spelling) <= LONGEST_SPELLING
    assert not is_plain(spelling.encode())


@for_each(
    ("name", "read"),
    [
        ("admin;x=1", "admin"),
        ("admin%3bx", "admin"),
        ("admin%00.html", "admin"),
        ("admin. .", "admin"),
        ("admin%20", "admin"),
        ("%20admin", "admin"),
        ("admin...", "admin"),
        ("..", ".."),
        (".. ", ".."),
        ("..;x", ".."),
        ("%2e%2E", ".."),
        ("%c0%ae.", ".."),
        ("%e2%80%a5", ".."),  # U+2025 is two dots to NFKC
        (".;x", "."),
        ("...", ""),
        (";x", ""),
        ("STRASSE", "strasse"),
        ("stra%C3%9Fe", "strasse"),
        ("%ff", "\udcff"),
        ("%zz", "%zz"),
        ("%", "%"),
    ],
)
def test_a_name_is_folded_as_the_most_careless_receiver_reads_it(name: str, read: str) -> None:
    assert folded(name.encode()) == read.encode("utf-8", "surrogateescape")


@for_each(
    ("segment", "reading"),
    [
        ("a", (b"a",)),
        ("a%2fb", (b"a", b"b")),
        ("a%2fb", (b"a%2fb",)),
        ("a%252fb", (b"a", b"b")),
        ("a\\b", (b"a", b"b")),
        ("a%5cb", (b"a", b"b")),
        ("a%c0%afb", (b"a", b"b")),
        ("a%c0/b", (b"a", b"b")),
        ("a%u2215b", (b"a", b"b")),
        ("a%ef%bc%8fb", (b"a", b"b")),
        ("a;x%2f..%2fb", (b"a",)),
        ("a;x%2f..%2fb", (b"a;x", b"..", b"b")),
    ],
)
def test_a_segment_may_be_more_than_one(segment: str, reading: tuple[bytes, ...]) -> None:
    assert reading in spellings(segment.encode())


@for_each("path", ["/", "/a/b", "/a.b/c..d/g.h", "/a,b=c:d@e", "*", "/a/", "/v1/jobs:purge", "/a_b~c"])
def test_the_usual_path_is_plain(path: str) -> None:
    assert is_plain(path.encode())
    assert not hides_segments(path.encode())


@for_each(
    "path",
    [
        *(
            "/..",
            "/x/..;a",
            "/x/..%20/y",
            "/%2e%2e",
            "/%252e",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/.",
            "/%u002e",
            "/%c0%ae",
            "/%%32%65",
        ),
        *("/%e2%80%a5", "/%ef%bc%8e", "/%e0%80%ae", "/a;../b"),
    ],
)
def test_where_segments_may_hide(path: str) -> None:
    assert hides_segments(path.encode())


@given(st.binary(max_size=30).map(lambda octets: octets.replace(b"/", b"")))
def test_every_segment_is_itself_in_some_reading_and_a_plain_one_in_no_other(segment: bytes) -> None:
    readings = spellings(segment)
    assert (segment,) in readings
    if is_plain(segment):
        assert readings == {(segment,)}


@given(st.text(st.sampled_from("abc/.;%2e5cf\\uA0"), max_size=12).map(str.encode))
def test_what_hides_no_segments_has_none(path: bytes) -> None:
    if not hides_segments(b"/" + path):
        for piece in path.split(b"/"):
            for reading in spellings(piece):
                assert len(reading) == 1
                assert folded(reading[0]) not in {b".", b".."} or b";" in piece


def test_a_folded_name_is_folded() -> None:
    for name in ("admin", "strasse", "v1", "jobs:purge"):
        assert folded(name.encode()) == name.encode()


@given(
    st.lists(
        st.sampled_from(
            [*SPELLINGS, "%2e", "%252E", ".", "%c0%ae", "%u002e", "%ef%bc%8e", "/", "%252f", ";", "%20"]
        )
    )
)
def test_a_path_that_is_read_whole_has_the_dots_that_its_segments_have(pieces: list[str]) -> None:
    path = "/".join(["", *pieces]).encode() + "".join(pieces).encode()
    readings = [
        name for segment in path.split(b"/") if b"%" in segment for one in spellings(segment) for name in one
    ]
    # What one reading decodes, `folded` would decode three times more: what is left of it is a name.
    if any(name.strip(b" ") in {b".", b".."} for name in readings):
        assert hides_dot_segments(path)
        assert hides_segments(path)


@for_each(
    "path", ["/", "/a/b.c", "/../x", "/%41/...", "/a%2ea", "/%2525/%u0041", "/%c3%a4/%e2%82%ac", "/%zz%"]
)
def test_what_decodes_to_no_dot_segment(path: str) -> None:
    assert not hides_dot_segments(path.encode())
