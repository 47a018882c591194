from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.mcp.event_stream import Event, EventStream, TooLarge
from tests.cases import for_each


def whole(text: str | bytes, limit: int = 10_000) -> list[Event]:
    return EventStream(limit).feed(text if isinstance(text, bytes) else text.encode())


@for_each(
    ("text", "events"),
    [
        ("data: a\n\n", [Event("message", "a", "", None)]),
        ("data:a\r\n\r\n", [Event("message", "a", "", None)]),
        ("data: a\rdata: b\r\r", [Event("message", "a\nb", "", None)]),
        ("\ufeffdata:  a\n\n", [Event("message", " a", "", None)]),
        ("event: endpoint\ndata: /messages?a=b:c\n\n", [Event("endpoint", "/messages?a=b:c", "", None)]),
        (": a comment\n\n:\n\ndata\n\n", [Event("message", "", "", None)]),
        ("id: 1\nretry: 50\ndata: \n\n", [Event("message", "", "1", 50)]),
        ("id: 1\n\ndata: a\n\n", [Event("message", "", "1", None), Event("message", "a", "1", None)]),
        ("id: 1\0\nretry: soon\nretry: 9999999999\ndata: a\n\n", [Event("message", "a", "", None)]),
        ("event: x\n\ndata: a\n\n", [Event("message", "a", "", None)]),
        ("data: not ended\n", []),
        (b"data: \xff\n\n", [Event("message", "\N{REPLACEMENT CHARACTER}", "", None)]),
    ],
    ids=range(12),
)
def test_what_a_stream_says_whole_and_octet_by_octet(text: str | bytes, events: list[Event]) -> None:
    assert whole(text) == events
    octets = text if isinstance(text, bytes) else text.encode()
    stream = EventStream(10_000)
    assert [event for octet in octets for event in stream.feed(bytes([octet]))] == events


@given(st.text("ab:\r\n \0", max_size=40), st.integers(0, 40))
def test_where_it_is_cut_makes_no_difference(text: str, cut: int) -> None:
    stream = EventStream(10_000)
    octets = text.encode()
    assert [*stream.feed(octets[:cut]), *stream.feed(octets[cut:])] == whole(text)


def test_what_continues_it_knows_the_last_id() -> None:
    stream = EventStream(100, "7", 20)
    assert stream.feed(b"data: a\n\n") == [Event("message", "a", "7", 20)]
    stream.feed(b"id: 8\nretry: 30\n\n")
    assert (stream.last_id, stream.retry) == ("8", 30)


@for_each("text", ["data: " + "a" * 100, "data: aaaaaaaaaa\n" * 10, "a" * 101, ":" + "a" * 101])
def test_one_event_is_not_kept_without_end(text: str) -> None:
    with pytest.raises(TooLarge):
        whole(text, 100)


def test_many_events_and_comments_are_no_large_one() -> None:
    assert len(whole("data: aaaaaaaaaa\n\n" * 100, 20)) == 100
    assert whole(": keep-alive\n\n: keep-alive\n" * 100, 20) == []
