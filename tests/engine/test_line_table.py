"""What is remembered of heads: bounded, and never a credential."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from idtoken_proxy.engine import line_table
from idtoken_proxy.engine.http1 import parse_request, parse_response, parse_trailers
from idtoken_proxy.engine.line_table import never_remember
from idtoken_proxy.errors import MalformedRequest
from tests.cases import for_each
from tests.engine.test_http1 import HOSTILE_FIELD_LINES, forget, with_field


@for_each(
    "name",
    [
        b"Authorization",
        b"authorization",
        b"X-Serverless-Authorization",
        b"X_Serverless_Authorization",
        b"X.Serverless.Authorization",
        b"Proxy-Authorization",
        b"Cookie",
        b"COOKIE",
        b"Set-Cookie",
        b"X-Api-Key",
        b"X-Goog-Api-Key",
    ],
)
def test_a_credential_is_never_remembered(name: bytes) -> None:
    forget()
    for _ in range(3):
        parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": s3cr3t")
        parse_response(b"HTTP/1.1 200 OK\r\n" + name + b": s3cr3t")
        parse_trailers([name + b": s3cr3t"])
    for table in (line_table.REQUEST_LINES, line_table.RESPONSE_LINES):
        assert all(b"s3cr3t" not in line for line in table.known)
        assert all(b"s3cr3t" not in each for each in table.names)


@pytest.fixture
def secret_fields() -> Iterator[None]:
    before = set(line_table.SECRET_FIELDS)
    yield
    line_table.SECRET_FIELDS.clear()
    line_table.SECRET_FIELDS.update(before)


@pytest.mark.parametrize("name", ["X-Door", "x_door", "X.Door", "x~DOOR"])
def test_the_field_of_the_callers_secret_is_not_remembered_any_more(secret_fields: None, name: str) -> None:
    forget()
    block = b"GET / HTTP/1.1\r\nHost: a\r\n%b: s3cr3t" % name.encode()
    before = parse_request(block)
    assert any(b"s3cr3t" in line for line in line_table.REQUEST_LINES.known)
    never_remember(name)
    for _ in range(2):
        assert parse_request(block).passing == before.passing
        assert all(b"s3cr3t" not in line for line in line_table.REQUEST_LINES.known)


def test_what_is_remembered_is_bounded() -> None:
    forget()
    table = line_table.REQUEST_LINES
    for start in range(0, 3 * line_table.MEMO_LINES, 100):
        parse_request(
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join(b"X-%d: 1" % i for i in range(start, start + 100))
        )
        assert len(table.known) <= line_table.MEMO_LINES
        assert len(table.names) <= line_table.MEMO_LINES
    assert table.known.get(b"X-1: 1") is None


def test_a_long_line_is_not_remembered() -> None:
    forget()
    longest = b"X-A: " + b"b" * (line_table.MEMO_LINE_OCTETS - 5)
    name = b"X" * (line_table.MEMO_LINE_OCTETS + 1)
    for _ in range(2):
        parse_request(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", longest, longest + b"b", name + b": c")))
    table = line_table.REQUEST_LINES
    assert table.known.get(longest) is not None
    assert table.known.get(longest + b"b") is None
    assert name not in table.names


def test_malformed_lines_are_not_remembered() -> None:
    forget()
    for line in HOSTILE_FIELD_LINES.values():
        with pytest.raises(MalformedRequest):
            parse_request(with_field(line))
    assert all(
        line_table.FIELD_NAME(line.partition(b":")[0]) and not line.translate(None, line_table.FIELD_OCTETS)
        for line in line_table.REQUEST_LINES.known
    )


@pytest.mark.parametrize(
    "value", [b"a", b"a b\t\xe9", b"", b" ", b" a", b"a ", b"\ta", b"a\t", b"a\rb", b"a\nb", b"a\x00"]
)
@pytest.mark.parametrize("name", [b"Cookie: ", b"traceparent: ", b"Host: ", b"X-A: ", b"Authorization: "])
def test_what_passes_unremembered_is_what_is_parsed(name: bytes, value: bytes) -> None:
    """The short way takes the usual line of a field that passes, and no other; the long way says the same of it."""
    forget()
    table = line_table.REQUEST_LINES
    table.parse(name + b"x")  # which makes the name known
    line = name + value
    short, parsed = table.passing(line), table.parse(line)
    usual = name in {b"Cookie: ", b"traceparent: "} and value in {b"a", b"a b\t\xe9"}
    assert (short is not None) == usual
    if short is not None:
        assert parsed is not None
        assert (short, parsed.kind) == (parsed.wire, 0)
        assert line not in table.known
