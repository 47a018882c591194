"""What fields do to a head in either version: a table fed through both of their readers."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.http1 import parse_request, parse_response
from idtoken_proxy.engine.http2.fields import request_fields, response_fields
from idtoken_proxy.engine.http2.heads import response_head
from idtoken_proxy.engine.http2_messages import response_of
from idtoken_proxy.engine.known_fields import apply_request_field
from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.request import Request
from tests.cases import for_each
from tests.engine.test_http2_messages import made

FIELDS = [
    [(b"origin", b"http://a.test")],
    [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-mode", b"cors"), (b"sec-fetch-dest", b"empty")],
    [(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-mode", b"navigate")],
    [(b"expect", b"100-Continue")],
    [(b"expect", b"other")],
    [(b"referer", b"http://localhost/")],
    [(b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-for", b"10.0.0.2")],
    [(b"x-forwarded-proto", b"https")],
    [(b"via", b"1.1 a"), (b"via", b"2 b")],
    [(b"x-goog-user-project", b"my-project"), (b"x-goog-api-key", b"dummy")],
]
LOOKED_AT = (
    "origin", "fetch_site", "fetch_mode", "fetch_dest", "expect_continue", "forwarded_for", "forwarded_proto", "via", "passing",
)  # fmt: skip


@for_each("pairs", FIELDS, ids=lambda pairs: b",".join(name for name, _ in pairs).decode())
def test_both_versions_read_a_request_alike(pairs: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(b"\r\n%b: %b" % pair for pair in pairs)
    old = parse_request(b"GET / HTTP/1.1\r\nhost: localhost" + lines)
    new = made(*pairs, end=True)
    for name in LOOKED_AT:
        assert getattr(old, name) == getattr(new, name), name


@pytest.mark.parametrize("name", [b"origin", b"sec-fetch-site"])
def test_what_lets_a_page_in_stands_once(name: bytes) -> None:
    request = Request()
    apply_request_field(request, request_fields.field(name, b"a"))
    with pytest.raises(MalformedRequest, match="two"):
        apply_request_field(request, request_fields.field(name, b"a"))


def test_both_versions_read_a_response_alike() -> None:
    pairs = [(b"www-authenticate", b"Bearer"), (b"location", b"/x"), (b"set-cookie", b"a=b"), (b"x-a", b"b")]
    old = parse_response(b"HTTP/1.1 200 OK" + b"".join(b"\r\n%b: %b" % pair for pair in pairs))
    new = response_of(
        response_head([response_fields.field(*pair) for pair in ((b":status", b"200"), *pairs)])
    )
    assert old.www_authenticate == new.www_authenticate
    assert sorted(old.passing) == sorted(new.passing)
    assert [field.name for field in old.addressed] == [field.name for field in new.addressed]
