"""How an answer's body is framed towards the app."""

from __future__ import annotations

from idtoken_proxy.engine.framing import answer_framing
from idtoken_proxy.policy.request import Request, Response
from tests.cases import for_each

CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 5\r\n"


def request(method: bytes = b"GET", *, http10: bool = False) -> Request:
    made = Request()
    made.method, made.http10 = method, http10
    return made


def response(status: int = 200, *, length: int | None = None, chunked: bool = False) -> Response:
    made = Response()
    made.status, made.chunked, made.content_length = status, chunked, length
    made.length_line = b"" if length is None else b"Content-Length: %d\r\n" % length
    return made


TABLE = {
    "a length": (request(), response(length=5), (LENGTH, 5, False, True)),
    "chunks": (request(), response(chunked=True), (CHUNKED, None, True, True)),
    "until the receiver closes": (request(), response(), (CHUNKED, None, True, True)),
    "a length, to HTTP/1.0": (request(http10=True), response(length=5), (LENGTH, 5, False, True)),
    "chunks, to HTTP/1.0": (request(http10=True), response(chunked=True), (b"", None, False, False)),
    "no end, to HTTP/1.0": (request(http10=True), response(), (b"", None, False, False)),
    "a HEAD tells the length and has no body": (
        request(b"HEAD"),
        response(length=5),
        (LENGTH, 0, False, True),
    ),
    "a HEAD of chunks": (request(b"HEAD"), response(chunked=True), (CHUNKED, 0, False, True)),
    "a HEAD of chunks, to HTTP/1.0": (
        request(b"HEAD", http10=True),
        response(chunked=True),
        (b"", 0, False, True),
    ),
    "304 tells the length and has no body": (request(), response(304, length=5), (LENGTH, 0, False, True)),
    "304 without a length": (request(), response(304), (b"", 0, False, True)),
    "204 tells nothing": (request(), response(204, length=5), (b"", 0, False, True)),
    "204 with chunks": (request(), response(204, chunked=True), (b"", 0, False, True)),
}


@for_each("case", TABLE)
def test_an_answer_is_framed_afresh(case: str) -> None:
    asked, answered, framing = TABLE[case]
    assert answer_framing(asked, answered) == framing
