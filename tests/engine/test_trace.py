"""The trace of a request: the two headers that name one, and nothing else of them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.trace import (
    Trace,
    parent_of,
    state_of,
    trace_of,
    with_parent,
    without_context,
)
from tests.cases import for_each

ID = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@for_each(
    ("line", "trace"),
    [
        (f"traceparent: 00-{ID}-{SPAN}-01", Trace(ID, SPAN, True)),
        (f"Traceparent: 00-{ID}-{SPAN}-00", Trace(ID, SPAN, False)),
        (f"traceparent: 01-{ID}-{SPAN}-03-more", Trace(ID, SPAN, True)),
        (f"traceparent: 00-{ID}-{SPAN}-01-more", None),
        (f"traceparent: ff-{ID}-{SPAN}-01", None),
        (f"traceparent: 00-{'0' * 32}-{SPAN}-01", None),
        (f"traceparent: 00-{ID}-{'0' * 16}-01", None),
        (f"traceparent: 00-{ID.upper()}-{SPAN}-01", None),
        (f"traceparent: 00-{ID}-{SPAN}", None),
        ("traceparent: secret", None),
        (f"X-Cloud-Trace-Context: {ID}/255;o=1", Trace(ID, "00000000000000ff", True)),
        (f"x-cloud-trace-context: {ID.upper()}/1;o=0", Trace(ID, "0000000000000001", False)),
        (f"X-Cloud-Trace-Context: {ID}/1", Trace(ID, "0000000000000001", False)),
        (f"X-Cloud-Trace-Context: {ID}", Trace(ID, None, False)),
        (f"X-Cloud-Trace-Context: {ID}/0;o=1", Trace(ID, None, True)),
        (f"X-Cloud-Trace-Context: {ID}/18446744073709551615", Trace(ID, "f" * 16, False)),
        (f"X-Cloud-Trace-Context: {ID}/18446744073709551616", Trace(ID, None, False)),
        (f"X-Cloud-Trace-Context: {'0' * 32}/1;o=1", None),
        ("X-Cloud-Trace-Context: secret", None),
        (f"X-Another-Header-Of-21: {ID}", None),
        (f"Traceparen_: {ID}", None),
        ("Accept: */*", None),
    ],
)
def test_the_two_headers(line: str, trace: Trace | None) -> None:
    assert trace_of([b"Host: a\r\n", line.encode() + b"\r\n", b"Accept: b\r\n"]) == trace


def test_the_standard_comes_first() -> None:
    older = f"X-Cloud-Trace-Context: {'1' * 32}/1\r\n".encode()
    newer = f"traceparent: 00-{ID}-{SPAN}-01\r\n".encode()
    for lines in ([older, newer], [newer, older]):
        assert trace_of(lines) == Trace(ID, SPAN, True)
    assert trace_of([b"traceparent: secret\r\n", older]) == Trace("1" * 32, "0000000000000001", False)


def test_none_without_lines() -> None:
    assert trace_of([]) is None


@given(
    st.binary(),
    st.sampled_from([b"traceparent: ", b"X-Cloud-Trace-Context: ", b"X-Cloud-Trace-Context: " + ID.encode()]),
)
def test_whatever_stands_there_only_digits_come_out(value: bytes, name: bytes) -> None:
    trace = trace_of([name + value + b"\r\n"])
    if trace is not None:
        assert re.fullmatch("[0-9a-f]{32}", trace.id)
        assert trace.span is None or re.fullmatch("[0-9a-f]{16}", trace.span)


def lines_of(*lines: str) -> list[bytes]:
    return [f"{line}\r\n".encode() for line in ("Accept: */*", *lines, "X-Of-Eleven: 1", "X-Of-Tenth: 2")]


PARENT = f"traceparent: 00-{ID}-{SPAN}-01"
OURS = Trace(ID, SPAN, sampled=True)


@for_each(
    ("lines", "found"),
    [
        ((), (None, False)),
        ((PARENT,), (OURS, False)),
        ((PARENT.replace("traceparent", "TraceParent"), "tracestate: a=1"), (OURS, False)),
        ((f"traceparent: cc-{ID}-{SPAN}-01-what-comes-later",), (OURS, False)),
        # The specification's own: what is invalid is as if it were not there, and its tracestate is not looked at.
        ((f"traceparent: 00-{ID}-{SPAN}-01-more", "tracestate: a=1"), (None, True)),
        (("traceparent: 00-secret",), (None, True)),
        ((PARENT, PARENT), (None, True)),
        (("tracestate: a=1",), (None, True)),
        ((f"X-Cloud-Trace-Context: {ID}/1;o=1",), (Trace(ID, "0000000000000001", True), False)),
        ((f"X-Cloud-Trace-Context: {ID}",), (None, False)),
        ((f"X-Cloud-Trace-Context: {'1' * 32}/1;o=1", PARENT), (OURS, False)),
        (("traceparent: x", f"X-Cloud-Trace-Context: {ID}/1"), (Trace(ID, "0000000000000001", False), True)),
    ],
)
def test_what_a_span_descends_from(lines: tuple[str, ...], found: tuple[Trace | None, bool]) -> None:
    assert parent_of(lines_of(*lines)) == found


def test_the_lines_that_go_on() -> None:
    lines = lines_of("Traceparent: x", "tracestate: a=1", "TRACESTATE: b=2")
    assert state_of(lines) == "a=1,b=2"
    assert state_of(lines_of("tracestate: " + "a" * 600)) == "a" * 512
    assert with_parent(lines, b"traceparent: ours\r\n") == [
        *lines_of("tracestate: a=1", "TRACESTATE: b=2"),
        b"traceparent: ours\r\n",
    ]
    assert without_context(lines) == lines_of()
    assert state_of(lines_of()) == ""


@given(st.lists(st.binary(max_size=80).map(lambda value: value + b"\r\n")))
def test_any_lines_are_a_parent_or_none(lines: list[bytes]) -> None:
    parent, _ = parent_of([b"traceparent: " + line for line in lines])
    assert parent is None or re.fullmatch("[0-9a-f]{32}", parent.id)
