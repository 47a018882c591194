from __future__ import annotations

from idtoken_proxy.policy.request import Request
from tests.cases import for_each


@for_each(
    ("content_length", "chunked", "has_body"),
    [(None, False, False), (0, False, False), (1, False, True), (None, True, True)],
)
def test_a_request_has_a_body_where_its_framing_says_so(
    content_length: int | None, *, chunked: bool, has_body: bool
) -> None:
    request = Request()
    request.content_length = content_length
    request.chunked = chunked
    assert request.has_body is has_body
