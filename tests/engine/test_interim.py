from __future__ import annotations

import pytest

from idtoken_proxy.engine.http1 import parse_request, parse_response
from idtoken_proxy.engine.interim import MAX_INTERIM, check_interim
from idtoken_proxy.errors import MalformedResponse
from tests.cases import for_each

GET = "GET / HTTP/1.1\r\nHost: localhost"
WEBSOCKET = f"{GET}\r\nConnection: Upgrade\r\nUpgrade: websocket"
SWITCHED = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket"


def check(answer: str, request: str = GET, number: int = 1) -> None:
    check_interim(parse_response(answer.encode()), parse_request(request.encode()), number)


@for_each("answer", ["HTTP/1.1 100 Continue", "HTTP/1.1 103 X\r\nLink: </a>", "HTTP/1.1 199 X"])
def test_any_without_a_body(answer: str) -> None:
    check(answer)
    check(answer, WEBSOCKET)


def test_so_many_and_no_more() -> None:
    check("HTTP/1.1 103 X", number=MAX_INTERIM)
    with pytest.raises(MalformedResponse, match=f"more than {MAX_INTERIM} interim") as caught:
        check("HTTP/1.1 103 X", number=MAX_INTERIM + 1)
    assert caught.value.limit == "interim_answers"


@for_each("field", ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"])
def test_none_with_a_body(field: str) -> None:
    with pytest.raises(MalformedResponse, match="interim answer with a body"):
        check(f"HTTP/1.1 103 X\r\n{field}")


def test_a_switch_that_was_asked_for() -> None:
    check(SWITCHED, WEBSOCKET)


@for_each(
    ("answer", "request_head"),
    [
        (SWITCHED, GET),
        ("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c", WEBSOCKET),
        ("HTTP/1.1 101 X\r\nUpgrade: websocket", WEBSOCKET),
        ("HTTP/1.1 101 X\r\nConnection: Upgrade", WEBSOCKET),
        ("HTTP/1.1 101 X", WEBSOCKET),
    ],
)
def test_no_other_switch(answer: str, request_head: str) -> None:
    with pytest.raises(MalformedResponse, match="was not asked for"):
        check(answer, request_head)
