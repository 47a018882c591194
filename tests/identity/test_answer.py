from __future__ import annotations

import gzip
import zlib
from email.utils import formatdate

from idtoken_proxy.identity.answer import BODY, MARKS, SKEW, Answer, Speaker
from tests.cases import for_each

NOW = 1_800_000_000.0
INVALID = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
HTML = "text/html; charset=UTF-8"
ROBOT = "<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title><p>Your client does not have permission"
PAGE = "<html><h1>Error: Forbidden</h1></html>"


def test_a_head_is_read_once() -> None:
    lines = [
        b"Server: Google Frontend\r\n",
        b"content-type:text/html\r\n",
        b"WWW-Authenticate: Basic\r\n",
        b"www-authenticate: Bearer\r\n",
        b"Location: /x\r\n",
        b"Date: today",
        b"X-Goog-Iap-Generated-Response: True\r\n",
    ]
    assert Answer.of(401, lines, b"a\xff" + b"b" * BODY) == Answer(
        401,
        server="Google Frontend",
        content_type="text/html",
        challenges=("Basic", "Bearer"),
        location="/x",
        date="today",
        iap=True,
        body="a\N{REPLACEMENT CHARACTER}" + "b" * (BODY - 2),
    )
    assert Answer.of(200, []) == Answer(200)


@for_each(
    ("encoding", "body", "text"),
    [
        (b"gzip", gzip.compress(PAGE.encode(), mtime=0), PAGE),
        (b"GZIP", gzip.compress(PAGE.encode(), mtime=0)[:-8], PAGE),  # its beginning
        (b"deflate", zlib.compress(PAGE.encode()), PAGE),
        (b"gzip", gzip.compress(b"x" * 10_000_000), "x" * BODY),  # no more is unpacked than is looked at
        (b"identity", PAGE.encode(), PAGE),
        (b"gzip", b"no gzip", None),
        (b"br", b"\x1b\x00", None),
    ],
    ids=range(7),  # gzip says when it was
)
def test_a_packed_body_is_unpacked(encoding: bytes, body: bytes, text: str | None) -> None:
    assert Answer.of(404, [b"Content-Encoding: " + encoding + b"\r\n"], body).body == text


def test_the_words_of_a_page() -> None:
    page = "<html><head><title>403</title><style>p {}</style></head><h1>Error: Forbidden</h1>\n<p>It&#39;s <b>not</b> yours"
    assert Answer(403, body=page).sentence == "Error: Forbidden It's not yours"
    assert Answer(403).sentence == ""


def test_a_body_does_not_show() -> None:
    assert "secret" not in repr(Answer(401, body="secret"))


@for_each(
    ("answer", "expected"),
    [
        (Answer(200), Speaker.APP),
        (Answer(200, server="Google Frontend", content_type=HTML, body=PAGE), Speaker.APP),
        (Answer(401, iap=True), Speaker.IAP),
        (Answer(302, iap=True, location="https://accounts.google.com/o"), Speaker.IAP),
        (Answer(302, location="https://accounts.google.com/o"), Speaker.PERHAPS),
        (Answer(302, location="https://accounts.google.com.evil.example/"), Speaker.APP),
        (Answer(200, location="https://accounts.google.com/o"), Speaker.APP),
        (Answer(401), Speaker.APP),
        (Answer(401, challenges=("Basic realm=x",), server="Google Frontend"), Speaker.APP),
        (Answer(401, challenges=("Basic", INVALID), server="google frontend"), Speaker.FRONT_END),
        (Answer(401, challenges=(INVALID,)), Speaker.PERHAPS),
        (Answer(403, server="nginx", content_type=HTML, body=PAGE), Speaker.APP),
        (Answer(403, server="Google Frontend", content_type=HTML), Speaker.PERHAPS),
        (Answer(403, server="Google Frontend", content_type="application/json"), Speaker.APP),
        (Answer(403, server="Google Frontend", content_type=HTML, body=PAGE), Speaker.FRONT_END),
        (Answer(403, server="Google Frontend", content_type=HTML, body="<h1>Members only"), Speaker.APP),
        (Answer(403, body=ROBOT), Speaker.FRONT_END),
        (Answer(404, server="nginx", body=ROBOT), Speaker.FRONT_END),
        (Answer(413, content_type=HTML, body=ROBOT.replace("403", "413")), Speaker.FRONT_END),
        (Answer(404, content_type=HTML, body="<title>Error 404 (Not Found)</title>"), Speaker.APP),
        (Answer(404, server="Google Frontend", content_type=HTML, body="<h1>No such profile"), Speaker.APP),
        (Answer(404, server="Google Frontend", content_type=HTML), Speaker.PERHAPS),
        (
            Answer(504, server="Google Frontend", content_type="text/plain", body="upstream request timeout"),
            Speaker.PERHAPS,
        ),
        (
            Answer(503, server="Google Frontend", content_type="text/plain", body="Service Unavailable"),
            Speaker.PERHAPS,
        ),
        (Answer(503, server="nginx", content_type=HTML, body="Service Unavailable"), Speaker.APP),
        (
            Answer(
                503, server="Google Frontend", content_type=HTML, body="Service Unavailable: see our blog"
            ),
            Speaker.APP,
        ),
        (Answer(429, server="Google Frontend", body="Rate exceeded."), Speaker.FRONT_END),
        (Answer(503, server="Google Frontend", body="Service Unavailable"), Speaker.FRONT_END),
        (Answer(418, server="Google Frontend", content_type=HTML, body=PAGE), Speaker.APP),
    ],
)
def test_who_answered(answer: Answer, expected: Speaker) -> None:
    assert answer.speaker is expected


@for_each("off", [SKEW + 1, -SKEW - 1, 7200.0])
def test_a_clock_that_is_off(off: float) -> None:
    assert Answer(200, date=formatdate(NOW - off, usegmt=True)).clock_skew(NOW) == off


@for_each("off", [0, SKEW, -SKEW])
def test_a_clock_that_is_right(off: float) -> None:
    assert Answer(200, date=formatdate(NOW - off, usegmt=True)).clock_skew(NOW) is None


@for_each("date", ["", "tomorrow", "Mon, 99 Foo 2026 10:00:00 GMT", "0"])
def test_a_date_that_is_none_tells_nothing(date: str) -> None:
    assert Answer(200, date=date).clock_skew(NOW) is None


@for_each(
    "words",
    [
        "<title>Error 404 (Not Found)!!1</title>",
        "Your client does not have permission to get URL",
        "<h1>Error: Forbidden</h1>",
        "<title>Error 502 (Server Error)</title>",
        "The requested URL was not found on this server.",
        "The request was aborted because there was no available instance.",
        "Access is forbidden.",
        "Rate exceeded.",
        "Service Unavailable",
        "upstream request timeout",
        "no healthy upstream",
        "upstream connect error or disconnect/reset before headers",
    ],
)
def test_whatever_google_says_has_a_mark(words: str) -> None:
    assert Answer(503, server="Google Frontend", body=words).speaker is Speaker.FRONT_END
    assert any(mark in words.encode() for mark in MARKS)
