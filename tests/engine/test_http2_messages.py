"""Heads of HTTP/2 as the policy's, and lines as pairs."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.http1 import parse_response
from idtoken_proxy.engine.http2.fields import request_fields, response_fields
from idtoken_proxy.engine.http2.heads import RequestHead, request_head, response_head
from idtoken_proxy.engine.http2.pair import NeverIndexed
from idtoken_proxy.engine.http2_messages import (
    length_of,
    pairs_of,
    request_of,
    response_of,
    response_pairs,
    settle_request,
)
from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.request import Request
from tests.cases import for_each


def head(*pairs: tuple[bytes, bytes]) -> RequestHead:
    first = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"localhost:80"),
        (b":path", b"/a?b"),
    )
    return request_head([request_fields.field(*pair) for pair in (*first, *pairs)])


def made(*pairs: tuple[bytes, bytes], end: bool = False) -> Request:
    of = head(*pairs)
    request = request_of(of, end_stream=end)
    settle_request(request, of)
    return request


def test_a_request() -> None:
    request = made(
        (b"x-a", b"b"), (b"origin", b"http://a.test"), (b"te", b"trailers"), (b"expect", b"100-continue")
    )
    assert (request.method, request.target, request.host) == (b"POST", b"/a?b", b"localhost:80")
    assert request.passing == [b"x-a: b\r\n"]
    assert (request.origin, request.te_trailers, request.expect_continue) == (b"http://a.test", True, True)
    assert request.http2
    assert not request.grpc


@pytest.mark.parametrize(
    ("method", "said", "chunked", "goes"),
    [
        *((method, None, False, 0) for method in (b"POST", b"PUT", b"PATCH")),
        *((method, None, False, None) for method in (b"GET", b"DELETE", b"OPTIONS", b"REPORT")),
        (b"POST", None, True, None),
        (b"POST", 5, False, 5),
        (b"GET", 0, False, 0),
    ],
)
def test_the_length_that_goes_upstream(
    method: bytes,
    said: int | None,
    chunked: bool,  # noqa: FBT001
    goes: int | None,
) -> None:
    request = Request()
    request.method, request.content_length, request.chunked = method, said, chunked
    assert length_of(request) == goes


@pytest.mark.parametrize(
    ("length", "end", "chunked", "has_body"),
    [
        (None, False, True, True),
        (None, True, False, False),
        (b"5", False, False, True),
        (b"0", True, False, False),
    ],
)
def test_whether_it_has_a_body(length: bytes | None, end: bool, chunked: bool, has_body: bool) -> None:  # noqa: FBT001
    request = made(*([] if length is None else [(b"content-length", length)]), end=end)
    assert (request.chunked, request.has_body) == (chunked, has_body)


@for_each(
    ("kind", "grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"Application/GRPC;x=y", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/json", False),
    ],
)
def test_whether_it_is_grpc(kind: bytes, grpc: bool) -> None:  # noqa: FBT001
    assert made((b"content-type", kind)).grpc == grpc


@for_each(
    ("said", "seconds"),
    [
        (b"1H", 3600.0), (b"2M", 120.0), (b"3S", 3.0), (b"99999999m", 99999.999), (b"5u", 5e-6), (b"7n", 7e-9),
        (b"123456789S", None), (b"1", None), (b"-1S", None), (b"1s", None), (b"", None), (b"1.5S", None),
    ],
)  # fmt: skip
def test_a_deadline(said: bytes, seconds: float | None) -> None:
    assert made((b"grpc-timeout", said)).grpc_timeout == pytest.approx(seconds)


def test_what_may_stand_once_stands_once() -> None:
    of = head((b"origin", b"http://a.test"), (b"origin", b"http://b.test"))
    with pytest.raises(MalformedRequest, match="two Origin"):
        settle_request(request_of(of, end_stream=True), of)


def test_a_head_belongs_to_many_streams_and_is_not_changed() -> None:
    of = head((b"x-a", b"b"), (b"referer", b"http://localhost/"))
    for _ in range(2):
        request = request_of(of, end_stream=True)
        settle_request(request, of)
        request.passing.clear()
    assert [field.name for field in of.passing] == [b"x-a"]
    assert [field.name for field in of.special] == [b"referer"]


def test_a_response_and_back() -> None:
    pairs = [(b":status", b"200"), (b"x-a", b"b"), (b"location", b"/x"), (b"www-authenticate", b"Bearer")]
    response = response_of(
        response_head([response_fields.field(*pair) for pair in (*pairs, (b"content-length", b"5"))])
    )
    assert response.status_line == b"HTTP/1.1 200 OK\r\n"
    assert (response.content_length, response.length_line) == (5, b"Content-Length: 5\r\n")
    assert response.www_authenticate == (b"Bearer",)
    assert [field.name for field in response.addressed] == [b"location"]
    assert sorted(response_pairs(response)) == sorted([*pairs, (b"content-length", b"5")])


@pytest.mark.parametrize("status", [299, 599, 999])
def test_a_status_that_nobody_knows(status: int) -> None:
    response = response_of(response_head([response_fields.field(b":status", b"%d" % status)]))
    assert response.status_line == b"HTTP/1.1 %d \r\n" % status


def test_an_answer_of_http1_in_pairs() -> None:
    response = parse_response(
        b"HTTP/1.1 204 No Content\r\nX-A:  b \r\nConnection: X-B\r\nX-B: c\r\nContent-Length: 0"
    )
    assert response_pairs(response) == [(b":status", b"204"), (b"x-a", b"b")]


def test_a_credential_is_in_no_table() -> None:
    for line in (b"Authorization: Bearer x\r\n", b"cookie: a=b\r\n", b"Set-Cookie: a=b\r\n"):
        (first,), (second,) = pairs_of((line,)), pairs_of((line,))
        assert isinstance(first, NeverIndexed)
        assert first is not second


def test_several_lines_in_one_piece() -> None:
    assert pairs_of((b"Host: a:1\r\nX-Forwarded-Prefix: /p\r\n", b"X: \r\n", b"")) == [
        (b"host", b"a:1"),
        (b"x-forwarded-prefix", b"/p"),
        (b"x", b""),
    ]
