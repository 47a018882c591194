"""The judge of all these tests condemns what a wrong proxy would write."""

from __future__ import annotations

import pytest

from tests.cases import for_each
from tests.hostile.judge import Tokens, check, read
from tests.hostile.strict import Incomplete, Malformed, Reader

TOKENS = Tokens("open", "bounded")
RIGHT = b"GET / HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer open\r\n"


def judge(stream: bytes) -> None:
    for head in read(stream).requests:
        check(head, TOKENS, b"r")


@for_each(
    "stream",
    [
        RIGHT + b"\r\n",
        RIGHT + b"Content-Length: 5\r\n\r\nhello" + RIGHT + b"\r\n",
        RIGHT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /base/a HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer bounded\r\n\r\n",
        b"GET /basement HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer open\r\n\r\n",
        RIGHT.replace(b"open", b"own") + b"X-Serverless-Authorization: Bearer open\r\n\r\n",
        RIGHT + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_right_passes(stream: bytes) -> None:
    judge(stream)


@for_each(
    "stream",
    [
        RIGHT.replace(b"Bearer open", b"Bearer bounded") + b"\r\n",
        RIGHT.replace(b"GET /", b"GET /base") + b"\r\n",
        RIGHT.replace(b"Authorization: Bearer open", b"X-A: a") + b"\r\n",
        RIGHT + b"X-Serverless-Authorization: Bearer open\r\n\r\n",
        RIGHT + b"Authorization: Bearer open\r\n\r\n",
        RIGHT + b"Authorization: Bearer theirs\r\n\r\n",
        RIGHT + b"Proxy-Authorization: Bearer theirs\r\n\r\n",
        RIGHT + b"X_Serverless_Authorization: Bearer theirs\r\n\r\n",
        RIGHT + b"X-A: open\r\n\r\n",
        RIGHT.replace(b"Host: r", b"Host: other") + b"\r\n",
        RIGHT + b"Trailer: x\r\n\r\n",
        RIGHT + b"Connection: close\r\n\r\n",
        RIGHT + b"Upgrade: h2c\r\n\r\n",
        RIGHT + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
    ],
)
def test_what_is_wrong_does_not(stream: bytes) -> None:
    with pytest.raises(AssertionError):
        judge(stream)


@for_each(
    "stream",
    [
        RIGHT.replace(b"GET", b"G T") + b"\r\n",
        RIGHT.replace(b" /", b" a") + b"\r\n",
        RIGHT.replace(b"1.1", b"1.0") + b"\r\n",
        RIGHT.replace(b"Host: r\r\n", b"") + b"\r\n",
        RIGHT + b"Host: r\r\n\r\n",
        RIGHT + b"X : a\r\n\r\n",
        RIGHT + b"X: a\nb: c\r\n\r\n",
        RIGHT + b"X: a\rb\r\n\r\n",
        RIGHT + b"X: a\0\r\n\r\n",
        RIGHT + b" X: a\r\n\r\n",
        RIGHT + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        RIGHT + b"Content-Length: +5\r\n\r\nhello",
        RIGHT + b"Content-Length: 05\r\n\r\nhello",
        RIGHT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        RIGHT + b"Transfer-Encoding: Chunked, x\r\n\r\n0\r\n\r\n",
        RIGHT + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        RIGHT + b"Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n",
        RIGHT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
        RIGHT + b"\r\nhello\r\n",
    ],
)
def test_what_is_malformed_is_not_read(stream: bytes) -> None:
    with pytest.raises(Malformed):
        judge(stream)


@for_each("head", [RIGHT + b"Content-Length: 5\r\n\r\n", RIGHT + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_what_has_begun_is_told_from_what_is_whole(head: bytes) -> None:
    record = read(head + b"0")
    assert (record.requests, record.torn) == ([], b"")
    assert record.begun is not None
    assert read(head[:30]).torn == head[:30]


@for_each(
    ("answer", "whole", "malformed"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", False, False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", False, False),
        (b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", False, True),
        (b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n", False, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False, True),
        (b"HTTP/1.1 20 OK\r\n\r\n", False, True),
        (b"HTTP/1.1 200\r\n\r\n", False, True),
    ],
)
def test_answers(answer: bytes, whole: bool, malformed: bool) -> None:  # noqa: FBT001
    try:
        Reader(answer).response()
    except Incomplete:
        assert not whole
        assert not malformed
    except Malformed:
        assert malformed
    else:
        assert whole
