"""What is no HTTP: told apart at once and by its name, whole or in pieces; and nothing that is HTTP is taken for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.not_http import HeadScan, unreadable
from idtoken_proxy.engine.stats import NOT_HTTP
from idtoken_proxy.errors import NotHttp
from idtoken_proxy.settings.model import LogSettings, Timeouts
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.test_downstream import problem
from tests.engine.wire import answering, eventually, get, ok, post

URL = "http://localhost:8080"
PATIENT = Timeouts(header=300, keepalive=300)

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300)
FOREIGN = {
    "TLS": ("tls", TLS_HELLO, "use http://localhost:8080"),
    "TLS's hello in the form of SSL 2.0": (
        "tls",
        b"\x80\x2e\x01\x03\x01\x00\x15" + bytes(40),
        "http, not https",
    ),
    "SSL 2.0": ("tls", b"\x80\x2e\x01\x00\x02\x00\x15" + bytes(40), "http, not https"),
    "HTTP/2's preface, but not quite": ("http2", b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", "prior knowledge"),
    "SSH": ("ssh", b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13\r\n", "SSH server"),
    "SSH without a comment": ("ssh", b"SSH-2.0-Go\r\n", "SSH server"),
    "SOCKS 4": ("socks", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "HTTP_PROXY=http://localhost:8080"),
    "SOCKS 5": ("socks", b"\x05\x02\x00\x01", "HTTP_PROXY=http://localhost:8080"),
    "PROXY protocol 1": ("proxy_protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get("/"), "send-proxy"),
    "PROXY protocol 1, of unknown peers": ("proxy_protocol", b"PROXY UNKNOWN\r\n" + get("/"), "send-proxy"),
    "PROXY protocol 2": (
        "proxy_protocol",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
        "send-proxy",
    ),
    "PostgreSQL's SSLRequest": ("postgresql", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "5432"),
    "PostgreSQL's StartupMessage": (
        "postgresql",
        b"\x00\x00\x00\x54\x00\x03\x00\x00user\x00me\x00\x00",
        "5432",
    ),
    "Redis": ("redis", b"*1\r\n$4\r\nPING\r\n", "6379"),
    "SMTP": ("smtp", b"EHLO mail.example\r\n", "mail server"),
    "SMTP in lower case": ("smtp", b"helo mail.example\r\n", "mail server"),
    "another version": ("http_version", b"GET / HTTP/2\r\nHost: localhost\r\n\r\n", "HTTP/1.1"),
    "HTTP/1.2": ("http_version", b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", "HTTP/1.1"),
    "RTSP": (None, b"OPTIONS rtsp://localhost/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", ""),
    "HTTP in lower case": (None, b"GET / http/1.1\r\nHost: localhost\r\n\r\n", ""),
    "IMAP": (None, b"a1 LOGIN me it\r\n", ""),
    "HTTP/0.9": ("text", b"GET /\r\n", "GET /path HTTP/1.1"),
    "FTP": ("text", b"USER anonymous\r\n", "GET /path HTTP/1.1"),
    "memcached": ("text", b"stats\r\n", "GET /path HTTP/1.1"),
    "Redis's inline commands": ("text", b"PING\r\n", "GET /path HTTP/1.1"),
    "an answer": ("response", b"HTTP/1.1 200 OK\r\n\r\n", "connect a client"),
    "JSON": ("json", b'{"jsonrpc": "2.0"}', f"curl --json '{{}}' {URL}"),
    "JSON, several at once": ("json", b'[{"jsonrpc": "2.0"}]', "curl --json"),
    "NULs": ("binary", bytes(64), "HTTP/1.1"),
    "MQTT": ("binary", b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "HTTP/1.1"),
    "a remote desktop": ("binary", b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00", "HTTP/1.1"),
    "text of another alphabet": ("binary", "привет\r\n".encode(), "HTTP/1.1"),
    "bare LF": ("bare_lf", b"GET / HTTP/1.1\nHost: localhost\n\n", "CRLF"),
    "bare LF in the second line": ("bare_lf", b"GET / HTTP/1.1\r\nHost: localhost\n\r\n", "CRLF"),
    "bare LF, and the end as it should be": ("bare_lf", b"GET / HTTP/1.1\nHost: localhost\r\n\r\n", "CRLF"),
    "bare LF before all": ("bare_lf", b"\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "CRLF"),
    "a bare CR": (None, b"GET / HTTP/1.1\rHost: localhost\r\r", ""),
    "a bare CR in the second line": (None, b"GET / HTTP/1.1\r\nHost: localhost\rA: b", ""),
    "a NUL in a field": (None, b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \0", ""),
}
# Octet by octet the first that is impossible says less than all of them.
VAGUE_AT_FIRST = {"tls", "postgresql"}

HEADS = [
    get("/"),
    get("/", version="1.0"),
    get("/a?b=c&d={|}^`", "A: b", "C:\td e\t", "F: \xe9"),
    b"\r\n\r\n" + get("/"),
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"SSH-2.0 / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PROXY /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"EHLO /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"*1 /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"!#$%&'*+-.^_`|~09azAZ http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
]


def refused_at(wire: bytes, scan: HeadScan, pieces: Iterator[int]) -> int | None:
    """At which octet, where the ends of pieces are `pieces`."""
    return next((at for at in pieces if not scan.fits(wire[:at])), None)


@for_each("name", FOREIGN)
def test_it_is_told_by_its_name(name: str) -> None:
    slug, wire, remedy = FOREIGN[name]
    scan = HeadScan()
    head = wire.lstrip(b"\r\n") if name == "PROXY protocol 2" else wire
    error = unreadable(head, URL, after_empty_lines=head is not wire)
    assert error.closes
    assert error.status == 400
    if slug is None:
        assert not isinstance(error, NotHttp)
        assert error.remedy or "field line" in error.detail
    else:
        assert isinstance(error, NotHttp)
        assert error.looks_like == slug
        assert slug in NOT_HTTP
        assert remedy in (error.remedy or "")
    end = head.find(b"\r\n\r\n")
    assert end >= 0 or not scan.fits(head)  # with an empty line, it is read as a head


@for_each("name", FOREIGN)
def test_it_is_told_the_same_wherever_it_is_split(name: str) -> None:
    slug, wire, _ = FOREIGN[name]
    head = wire.lstrip(b"\r\n") if name == "PROXY protocol 2" else wire[:80]
    by_octet = refused_at(head, HeadScan(), iter(range(1, len(head) + 1)))
    for split in range(1, len(head)):
        scan = HeadScan()
        at = refused_at(head, scan, iter((split, len(head))))
        if by_octet is None:
            assert at is None  # an empty line ends it before anything that cannot be
            continue
        assert at == (split if split >= by_octet else len(head))
        error = unreadable(head[:at], URL, after_empty_lines=head is not wire[:80])
        told = error.looks_like if isinstance(error, NotHttp) else None
        assert told == slug or (slug in VAGUE_AT_FIRST and told == "binary"), split


@for_each("head", HEADS)
def test_what_is_http_is_never_refused(head: bytes) -> None:
    block = head.removesuffix(b"\r\n\r\n").lstrip(b"\r\n")
    assert refused_at(block, HeadScan(), iter(range(len(block) + 1))) is None
    for split in range(len(block)):
        assert refused_at(block, HeadScan(), iter((split, len(block)))) is None


@given(
    st.from_regex(
        rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [!$-;=?-~]+ HTTP/1\.[01]\r\n(?:[a-z]+:[\t -~\x80-\xff]*\r\n)*",
        fullmatch=True,
    ),
    st.lists(st.integers(0, 200)),
)
def test_no_head_is_refused_whatever_it_is_made_of(head: bytes, cuts: list[int]) -> None:
    pieces = [*sorted(cut for cut in cuts if cut < len(head)), len(head)]
    assert refused_at(head, HeadScan(), iter(pieces)) is None


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)))
def test_pieces_make_no_difference(wire: bytes, cuts: list[int]) -> None:
    pieces = [*sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    refused = refused_at(wire, HeadScan(), iter(pieces)) is not None
    assert refused == (not HeadScan().fits(wire))


def test_the_kinds_are_those_of_the_metric() -> None:
    assert {slug for slug, _, _ in FOREIGN.values() if slug} == set(NOT_HTTP)


# -- through the proxy -------------------------------------------------------------


@for_each("name", FOREIGN)
async def test_it_is_answered_at_once(receive: Receive, start: Start, name: str) -> None:
    """Long before timeouts.header, which nobody here lives to see; the receiver hears nothing."""
    slug, wire, remedy = FOREIGN[name]
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, timeouts=PATIENT)
    for before in (b"", get("/first"), post(b"hello")):
        for drip in (False, True):
            app = await proxied.connect()
            if before:
                app.send(before)
                assert (await app.response()).status == 200
            if drip:
                await app.drip(wire)
            else:
                app.send(wire)
            answer = await app.response()
            assert answer.status == 400
            assert answer.one("connection") == "close"
            told = problem(answer)
            if slug is not None and not (drip and slug in VAGUE_AT_FIRST):
                assert remedy.replace("8080", str(proxied.port)) in str(told["remedy"])
            assert await app.to_end() == b""
            app.close()
    counted = proxied.server.context.stats.not_http
    assert sum(counted.values()) == (6 if slug else 0)
    if slug is not None:
        assert counted[slug] >= 3
    assert len(receiver.requests) == 4


@for_each("octet", [b"\x00", b"\x16", b"\x05", b"\x80", b"\n", b"{", b" "])
async def test_one_octet_is_enough(receive: Receive, start: Start, octet: bytes) -> None:
    proxied = await start(await receive(answering(ok())), timeouts=PATIENT)
    app = await proxied.connect()
    app.send(octet)
    assert (await app.response()).status == 400
    assert await app.to_end() == b""


@pytest.mark.parametrize("access", ["off", "errors"])
async def test_it_is_said_in_the_log(receive: Receive, start: Start, access: str) -> None:
    proxied = await start(await receive(answering(ok())), log=LogSettings(access=access))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logged:
        app = await proxied.connect()
        app.send(TLS_HELLO)
        await app.response()
        await app.to_end()
    (line,) = [line for line in logged if line["log_level"] == "warning"]
    assert line["cause"] == "tls"
    assert "TLS on a plain-HTTP port" in line["reason"]
    assert f"use http://localhost:{proxied.port}" in line["remedy"]


async def test_a_head_that_is_typed_is_served(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    for head in HEADS:
        app = await proxied.connect()
        await app.drip(head)
        assert (await app.response()).status in (200, 404)
        app.close()


async def test_an_empty_line_alone_is_waited_for(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    app = await proxied.connect()
    for piece in (b"\r", b"\n", b"\r\n\r", b"\n", get("/")):
        app.send(piece)
        await asyncio.sleep(0)
    assert (await app.response()).status == 200
    await eventually(lambda: proxied.server.context.stats.not_http["binary"] == 0, "nothing is counted")
