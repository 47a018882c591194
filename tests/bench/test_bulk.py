from __future__ import annotations

import pytest

from bench.bulk import BulkError, Head, parse_head, request_head
from tests.cases import for_each


def test_a_head_is_parsed() -> None:
    octets = b'HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nAlt-Svc: h3=":443"; ma=2592000'
    head = parse_head(octets)
    assert head == Head(200, {"content-length": "1024", "alt-svc": 'h3=":443"; ma=2592000'})
    assert head.length == 1024


@for_each("octets", [b"", b"HTTP/2 200", b"HTTP/1.1 OK", b"\x16\x03\x01"])
def test_what_is_no_response_is_an_error(octets: bytes) -> None:
    with pytest.raises(BulkError):
        parse_head(octets)


@for_each("fields", [{}, {"content-length": "many"}])
def test_a_body_of_unknown_length_is_an_error(fields: dict[str, str]) -> None:
    with pytest.raises(BulkError):
        _ = Head(200, fields).length


def test_a_request_names_its_length_only_with_a_body() -> None:
    assert b"\r\nHost: 127.0.0.1:8080\r\n" in request_head("GET", "/large", 8080)
    assert b"Content-Length" not in request_head("GET", "/large", 8080)
    assert request_head("POST", "/upload", 8080, length=9).endswith(b"Content-Length: 9\r\n\r\n")
