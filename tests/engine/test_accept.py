"""Which receiver a request is for; through a whole proxy in test_downstream.py, test_router.py and end_to_end/test_connect.py."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.accept import admit_connect, is_no_routes
from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.errors import MethodNotAllowed
from idtoken_proxy.policy.guard import Guard
from tests.cases import for_each


@for_each(
    ("method", "is_one"),
    [
        (b"CONNECT", True),
        (b"connect", True),
        (b"TRACE", True),
        (b"Trace", True),
        (b"GET", False),
        (b"PURGE", False),
    ],
)
def test_no_route_can_take_these(method: bytes, *, is_one: bool) -> None:
    assert is_no_routes(method) is is_one


@for_each("start", [b"TRACE /", b"trace /"])
def test_what_is_refused_closes_the_connection(start: bytes) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        admit_connect(parse_request(start + b" HTTP/1.1\r\nHost: localhost"), Guard(), 8080)
    assert refused.value.closes
