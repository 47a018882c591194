from __future__ import annotations

import pytest

from idtoken_proxy.emulator.http2_request import HTTP2, all_fields, message_of, raw_headers
from idtoken_proxy.engine.http2.heads import request_head
from tests.engine.http2.peer import Pair


def test_a_container_sees_all_fields_those_too_that_a_proxy_drops() -> None:
    pairs = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"a:1"),
        (b":path", b"/"),
        (b"x-serverless-authorization", b"Bearer t"),
        (b"metadata-flavor", b"Google"),
        (b"cookie", b"a=1"),
        (b"te", b"trailers"),
        (b"content-length", b"3"),
        (b"cookie", b"b=2"),
    ]
    assert raw_headers(request_head([all_fields.field(*pair) for pair in pairs])) == (
        (b"host", b"a:1"),
        (b"x-serverless-authorization", b"Bearer t"),
        (b"metadata-flavor", b"Google"),
        (b"cookie", b"a=1; b=2"),
        (b"te", b"trailers"),
        (b"content-length", b"3"),
    )


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/a%2Fb?c=d?e", "/a%2Fb", "c=d?e"), ("//a/../b", "//a/../b", ""), ("*", "*", ""), ("/?", "/", "")],
)
def test_a_target_stays_as_it_came(target: str, path: str, query: str) -> None:
    pairs: list[Pair] = [
        (b":method", b"OPTIONS"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", target.encode()),
        (b"x-a", b"\xff\xc3\xa9"),
    ]
    message = message_of(request_head([all_fields.field(*pair) for pair in pairs]))
    assert (message.method, message.path, message.version) == ("OPTIONS", target, HTTP2)
    assert (message.url.raw_path, message.url.raw_query_string) == (path, query)
    assert message.headers["X-A"] == "\udcff\u00e9"
    assert message.raw_headers == ((b"host", b"a"), (b"x-a", b"\xff\xc3\xa9"))
