"""Heads as they must be read, and heads that two readers could read differently: those are refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idtoken_proxy.engine import http1
from idtoken_proxy.engine.http1 import (
    MAX_FIELDS,
    parse_request,
    parse_response,
    parse_trailers,
)
from idtoken_proxy.engine.line_table import REQUEST_LINES, RESPONSE_LINES
from idtoken_proxy.errors import HeadTooLarge, MalformedRequest, MalformedResponse, ProxyError
from idtoken_proxy.policy.request import Request, Response
from tests.cases import for_each
from tests.policy.facts import facts_of

SECRET = "s3cr3t"  # never in a message
_LINE = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Token: s3cr3t"


def with_field(field: bytes, *, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return first + b"\r\nHost: localhost\r\n" + field + b"\r\nX-Token: s3cr3t"


def posted(*fields: bytes) -> bytes:
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: localhost", *fields, b"X-Token: s3cr3t"))


def with_line(line: bytes) -> bytes:
    return line + b"\r\nHost: localhost\r\nX-Token: s3cr3t"


# -- requests that are refused ------------------------------------------------

HOSTILE_REQUEST_LINES = {
    "nothing": b"",
    "a method alone": b"GET",
    "no version (HTTP/0.9)": b"GET /",
    "no version but its space": b"GET / ",
    "HTTP/0.9 by name": b"GET / HTTP/0.9",
    "HTTP/1.2": b"GET / HTTP/1.2",
    "HTTP/1.10": b"GET / HTTP/1.10",
    "HTTP/1.": b"GET / HTTP/1.",
    "HTTP/1": b"GET / HTTP/1",
    "HTTP/01.1": b"GET / HTTP/01.1",
    "HTTP/2.0": b"GET / HTTP/2.0",
    "HTTP/2": b"GET / HTTP/2",
    "HTTP/3": b"GET / HTTP/3",
    "HTTP/1,1": b"GET / HTTP/1,1",
    "a version in lower case": b"GET / http/1.1",
    "a version in mixed case": b"GET / Http/1.1",
    "another protocol": b"GET / ICAP/1.0",
    "a digit that is none in ASCII": "GET / HTTP/1.\u0661".encode(),
    "a space before the version's dot": b"GET / HTTP/1 .1",
    "two spaces behind the method": b"GET  / HTTP/1.1",
    "two spaces behind the target": b"GET /  HTTP/1.1",
    "a space at the end": b"GET / HTTP/1.1 ",
    "a space at the start": b" GET / HTTP/1.1",
    "a tab at the start": b"\tGET / HTTP/1.1",
    "a tab behind the method": b"GET\t/ HTTP/1.1",
    "a tab behind the target": b"GET /\tHTTP/1.1",
    "a vertical tab behind the method": b"GET\x0b/ HTTP/1.1",
    "a form feed behind the target": b"GET /\x0cHTTP/1.1",
    "a no-break space behind the target": b"GET /\xa0HTTP/1.1",
    "a space in the target": b"GET /a b HTTP/1.1",
    "a second version in the target": b"GET / HTTP/1.1 HTTP/1.1",
    "a bare CR at the end": b"GET / HTTP/1.1\r",
    "a bare CR in the target": b"GET /\rX: y HTTP/1.1",
    "a bare CR between": b"GET /\rHTTP/1.1",
    "a bare LF at the end": b"GET / HTTP/1.1\n",
    "a bare LF and a header": b"GET / HTTP/1.1\nHost: evil",
    "a bare LF in the target": b"GET /\nHost:evil HTTP/1.1",
    "LF CR": b"GET / HTTP/1.1\n\rHost: evil",
    "a NUL in the method": b"G\0ET / HTTP/1.1",
    "a NUL in the target": b"GET /\0 HTTP/1.1",
    "a NUL at the end": b"GET / HTTP/1.1\0",
    "a byte order mark": b"\xef\xbb\xbfGET / HTTP/1.1",
    "no method": b" / HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "an empty target": b"GET  HTTP/1.1",
    "a colon in the method": b"GET: / HTTP/1.1",
    "a slash in the method": b"GE/T / HTTP/1.1",
    "a parenthesis in the method": b"GET( / HTTP/1.1",
    "a quote in the method": b'"GET" / HTTP/1.1',
    "obs-text in the method": b"G\xc9T / HTTP/1.1",
    "a fragment": b"GET /a#b HTTP/1.1",
    "a fragment alone": b"GET # HTTP/1.1",
    "a quote in the target": b'GET /a"b HTTP/1.1',
    "angle brackets in the target": b"GET /<b> HTTP/1.1",
    "UTF-8 in the target": "GET /é HTTP/1.1".encode(),
    "Latin-1 in the target": b"GET /\xe9 HTTP/1.1",
    "UTF-8 in the query": "GET /?q=é HTTP/1.1".encode(),
    "DEL in the target": b"GET /\x7f HTTP/1.1",
    "an escape in the target": b"GET /\x1b[0m HTTP/1.1",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2's preface": b"PRI * HTTP/2.0",
    "HTTP/2's preface as HTTP/1.1": b"PRI * HTTP/1.1",
    "a response": b"HTTP/1.1 200 OK",
    # RFC 9112 section 3.2: four forms, each for its methods.
    "a path without its slash": b"GET a HTTP/1.1",
    "a query alone": b"GET ?a HTTP/1.1",
    "a dot": b"GET . HTTP/1.1",
    "a backslash for a slash": b"GET \\ HTTP/1.1",
    "an asterisk with GET": b"GET * HTTP/1.1",
    "an asterisk with options in lower case": b"options * HTTP/1.1",
    "an asterisk and more": b"OPTIONS *a HTTP/1.1",
    "an asterisk as a segment of nothing": b"OPTIONS */ HTTP/1.1",
    "authority form with GET": b"GET localhost:80 HTTP/1.1",
    "a target with ftp": b"GET ftp://localhost/ HTTP/1.1",
    "a target with file": b"GET file:///etc/passwd HTTP/1.1",
    "a target with one slash": b"GET http:/localhost/ HTTP/1.1",
    "a target without an authority": b"GET http:///a HTTP/1.1",
    "a target that names another host": b"GET http://evil/ HTTP/1.1",
    "a target that names another port": b"GET http://localhost:81/ HTTP/1.1",
    "a target that names the default port": b"GET http://localhost:80/ HTTP/1.1",
    "a target with a user": b"GET http://localhost@evil/ HTTP/1.1",
    "a target with this host as its user": b"GET http://s3cr3t@localhost/ HTTP/1.1",
    "a target with a trailing dot": b"GET http://localhost./ HTTP/1.1",
    "a target whose authority ends in a backslash": b"GET http://localhost\\@evil/ HTTP/1.1",
    "a target whose authority ends in a semicolon": b"GET http://localhost;/ HTTP/1.1",
    "a target whose authority is escaped": b"GET http://%6cocalhost/ HTTP/1.1",
    "a target with a fragment for a path": b"GET http://localhost#/ HTTP/1.1",
}

HOSTILE_FIELD_LINES = {
    "an empty line amid the head": b"",
    "a line without a colon": b"s3cr3t",
    "a line of a space": b" ",
    "a line of a tab": b"\t",
    "a folded line": b"X-A: a\r\n s3cr3t",
    "a line folded with a tab": b"X-A: a\r\n\ts3cr3t",
    "a fold that holds a header": b"X-A: a\r\n Content-Length: 5",
    "a fold of nothing": b"X-A: a\r\n \r\nX-B: b",
    "a space before the colon": b"X-A : s3cr3t",
    "a tab before the colon": b"X-A\t: s3cr3t",
    "a space before the colon of Transfer-Encoding": b"Transfer-Encoding : chunked",
    "a tab before the colon of Transfer-Encoding": b"Transfer-Encoding\t: chunked",
    "a vertical tab before the colon of Transfer-Encoding": b"Transfer-Encoding\x0b: chunked",
    "a space before the colon of Content-Length": b"Content-Length : 5",
    "a space in a name": b"X A: s3cr3t",
    "a space before a name": b" X-A: s3cr3t",
    "a vertical tab before a name": b"\x0bX-A: s3cr3t",
    "an empty name": b": s3cr3t",
    "an empty name and value": b":",
    "a name of HTTP/2": b":authority: evil",
    "NUL in a name": b"X-\0A: s3cr3t",
    "CR in a name": b"X-\rA: s3cr3t",
    "LF in a name": b"X-\nA: s3cr3t",
    "DEL in a name": b"X-\x7fA: s3cr3t",
    "obs-text in a name": b"X-\xe9: s3cr3t",
    "UTF-8 in a name": "X-é: s3cr3t".encode(),
    "the long s for an s": "Ho\u017ft: evil".encode(),
    "the Kelvin sign for a k": "X-\u212aey: s3cr3t".encode(),
    "a parenthesis in a name": b"X(A): s3cr3t",
    "a slash in a name": b"X/A: s3cr3t",
    "a quote in a name": b'"X-A": s3cr3t',
    "a comma in a name": b"X,A: s3cr3t",
    "a semicolon in a name": b"X;A: s3cr3t",
    "an at sign in a name": b"X@A: s3cr3t",
    "brackets in a name": b"X[A]: s3cr3t",
    "an equals sign for the colon": b"X-A= s3cr3t",
    "NUL in a value": b"X-A: s3cr\x003t",
    "bare CR in a value": b"X-A: a\rs3cr3t",
    "bare CR at a value's end": b"X-A: s3cr3t\r",
    "bare CR before a value": b"X-A:\r s3cr3t",
    "bare LF in a value": b"X-A: a\ns3cr3t",
    "bare LF and a second Host": b"X-A: a\nHost: evil",
    "bare LF and a length": b"X-A: a\nContent-Length: 5",
    "bare LF at a value's end": b"X-A: s3cr3t\n",
    "LF before a value": b"X-A:\n s3cr3t",
    "backspace in a value": b"X-A: s3cr3\x08t",
    "vertical tab in a value": b"X-A: s3cr3\x0bt",
    "escape in a value": b"X-A: \x1b[31ms3cr3t",
    "DEL in a value": b"X-A: s3cr3t\x7f",
}

HOSTILE_FRAMING = {
    # RFC 9110 section 8.6: 1*DIGIT.
    "a length with a sign": (b"Content-Length: +5",),
    "a negative length": (b"Content-Length: -5",),
    "minus nought": (b"Content-Length: -0",),
    "a length in hex": (b"Content-Length: 0x5",),
    "hex digits": (b"Content-Length: a",),
    "a length with a point": (b"Content-Length: 5.0",),
    "a length with an exponent": (b"Content-Length: 5e0",),
    "a length with an underscore": (b"Content-Length: 1_0",),
    "a length with a space within": (b"Content-Length: 1 0",),
    "a length with a tab within": (b"Content-Length: 1\t0",),
    "an empty length": (b"Content-Length:",),
    "a blank length": (b"Content-Length:  \t ",),
    "a quoted length": (b'Content-Length: "5"',),
    "a length with a unit": (b"Content-Length: 5 octets",),
    "a length with a semicolon": (b"Content-Length: 5;",),
    "a length no integer of 64 bits holds": (b"Content-Length: 18446744073709551621",),
    "a length of many digits": (b"Content-Length: " + b"9" * 5000,),
    "a length of many noughts": (b"Content-Length: " + b"0" * 100 + b"5",),
    "digits that are none in ASCII": ("Content-Length: \u0665".encode(),),
    "a superscript of Latin-1": (b"Content-Length: 5\xb2",),
    "a no-break space of Latin-1 before it": (b"Content-Length: \xa05",),
    "a next-line of Latin-1 behind it": (b"Content-Length: 5\x85",),
    "a list of lengths": (b"Content-Length: 5,5",),
    "a list of lengths with a space": (b"Content-Length: 5, 5",),
    "a list of two unlike lengths": (b"Content-Length: 5, 6",),
    "a list that ends in a comma": (b"Content-Length: 5,",),
    "two lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "the same length twice": (b"Content-Length: 5", b"Content-Length: 5"),
    "nought twice": (b"Content-Length: 0", b"Content-Length: 0"),
    "two lengths in unlike case": (b"Content-Length: 5", b"CONTENT-LENGTH: 6"),
    "two lengths far apart": (b"content-length: 5", b"X-A: a", b"X-B: b", b"content-length: 6"),
    # RFC 9112 section 6.1: the one coding that is understood, and said once.
    "another coding": (b"Transfer-Encoding: gzip",),
    "identity": (b"Transfer-Encoding: identity",),
    "an unknown coding": (b"Transfer-Encoding: xchunked",),
    "chunked and more": (b"Transfer-Encoding: chunkedx",),
    "chunked twice in a list": (b"Transfer-Encoding: chunked, chunked",),
    "gzip, chunked": (b"Transfer-Encoding: gzip, chunked",),
    "chunked, gzip": (b"Transfer-Encoding: chunked, gzip",),
    "chunked, identity": (b"Transfer-Encoding: chunked, identity",),
    "identity, chunked": (b"Transfer-Encoding: identity, chunked",),
    "a list that begins with a comma": (b"Transfer-Encoding: ,chunked",),
    "a list that ends in a comma, of codings": (b"Transfer-Encoding: chunked,",),
    "chunked with a weight": (b"Transfer-Encoding: chunked;q=1",),
    "chunked with a parameter": (b"Transfer-Encoding: chunked; a=b",),
    "chunked with a semicolon": (b"Transfer-Encoding: chunked;",),
    "chunked in quotes": (b'Transfer-Encoding: "chunked"',),
    "chunked in single quotes": (b"Transfer-Encoding: 'chunked'",),
    "chunked with a space within": (b"Transfer-Encoding: chunk ed",),
    "chunked said twice with a space": (b"Transfer-Encoding: chunked chunked",),
    "chunked behind a tab and a word": (b"Transfer-Encoding: x\tchunked",),
    "chunked padded with a vertical tab": (b"Transfer-Encoding: \x0bchunked",),
    "chunked padded with a no-break space": (b"Transfer-Encoding: \xa0chunked",),
    "chunked followed by a next-line": (b"Transfer-Encoding: chunked\x85",),
    "chunked in a fold": (b"Transfer-Encoding:\r\n chunked",),
    "chunked with the Kelvin sign": ("Transfer-Encoding: chun\u212aed".encode(),),
    "no coding": (b"Transfer-Encoding:",),
    "two fields": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked, and identity in another field": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "identity, and chunked in another field": (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
    "chunked, and nothing in another field": (b"Transfer-Encoding: chunked", b"Transfer-Encoding:"),
    "two fields in unlike case": (b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING: x"),
    # RFC 9112 section 6.3 rule 3.
    "a length and a coding": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "a coding and a length": (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "a length of nought and a coding": (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    "a length that Connection names, and a coding": (
        b"Connection: content-length",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
    ),
    "a coding that Connection names, and a length": (
        b"Connection: transfer-encoding",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
    ),
}

HOSTILE_HEADS = {
    "no Host in HTTP/1.1": b"GET / HTTP/1.1\r\nX-Token: s3cr3t",
    "nothing but a request line": b"GET / HTTP/1.1",
    "no Host beside an absolute target": b"GET http://localhost/ HTTP/1.1",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: s3cr3t",
    "the same Host twice": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
    "two Hosts in unlike case": b"GET / HTTP/1.1\r\nhost: localhost\r\nHOST: s3cr3t",
    "two Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: s3cr3t",
    "an empty Host and another": b"GET / HTTP/1.1\r\nHost:\r\nHost: localhost",
    "two Origins": with_field(b"Origin: http://localhost\r\nOrigin: https://s3cr3t"),
    "two Sec-Fetch-Sites": with_field(b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: s3cr3t"),
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked",
    "chunked in HTTP/1.0 without Host": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
    "chunked in HTTP/1.0 kept alive": (
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked"
    ),
    "a websocket with a length": with_field(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 1"
    ),
    "a websocket with a chunked body": with_field(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked"
    ),
    "a websocket by POST": with_field(b"Upgrade: websocket\r\nConnection: Upgrade", first=b"POST / HTTP/1.1"),
    "a websocket by HEAD": with_field(b"Upgrade: websocket\r\nConnection: Upgrade", first=b"HEAD / HTTP/1.1"),
    "a disagreeing target in HTTP/1.0": b"GET http://evil/ HTTP/1.0\r\nHost: localhost",
    "a disagreeing target with OPTIONS": b"OPTIONS http://evil HTTP/1.1\r\nHost: localhost",
}

HOSTILE = (
    {f"request line: {name}": with_line(line) for name, line in HOSTILE_REQUEST_LINES.items()}
    | {f"field line: {name}": with_field(line) for name, line in HOSTILE_FIELD_LINES.items()}
    | {f"last line: {name}": _LINE + b"\r\n" + line for name, line in HOSTILE_FIELD_LINES.items()}
    | {
        f"first line: {name}": b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: localhost"
        for name, line in HOSTILE_FIELD_LINES.items()
    }
    | {f"framing: {name}": posted(*fields) for name, fields in HOSTILE_FRAMING.items()}
    | {f"head: {name}": block for name, block in HOSTILE_HEADS.items()}
)


@for_each("kind", sorted({name.partition(": ")[0] for name in HOSTILE}))
def test_a_request_that_could_be_read_in_two_ways_is_400_and_ends_the_connection(kind: str) -> None:
    blocks = {name: block for name, block in HOSTILE.items() if name.partition(": ")[0] == kind}
    for name, block in (
        *blocks.items(),
        *blocks.items(),
    ):  # what was remembered from the first time makes none pass
        error = refused(name, block)
        assert (error.status, error.closes) == (400, True), name
        assert SECRET not in f"{error} {error.detail} {error.remedy} {error.log_detail}", name
        assert error.detail.isascii(), name
        assert error.detail.isprintable(), name


def refused(name: str, block: bytes) -> MalformedRequest:
    try:
        parse_request(block)
    except MalformedRequest as error:
        return error
    pytest.fail(f"{name} passes")


@for_each(
    ("line", "told"),
    [
        (b"GET /a#b HTTP/1.1", '# " < >'),
        (b'GET /a"b HTTP/1.1', '# " < >'),
        (b"GET /<b HTTP/1.1", '# " < >'),
        (b"GET /b> HTTP/1.1", '# " < >'),
        ("GET /é HTTP/1.1".encode(), "outside ASCII"),
        (b"GET / HTTP/1.2", "request line"),
    ],
)
def test_the_cause_is_named_where_a_client_forgot_to_escape(line: bytes, told: str) -> None:
    with pytest.raises(MalformedRequest, match=told) as caught:
        parse_request(with_line(line))
    assert caught.value.remedy


# -- requests that pass -------------------------------------------------------

EVERY_TOKEN_OCTET = b"!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"

WELL_FORMED: dict[str, tuple[bytes, dict[str, object]]] = {
    "the least of HTTP/1.1": (
        b"GET / HTTP/1.1\r\nHost: localhost",
        {
            "method": b"GET",
            "target": b"/",
            "host": b"localhost",
            "absolute": False,
            "keep_alive": True,
            "http10": False,
        },
    ),
    "the least of HTTP/1.0": (
        b"GET / HTTP/1.0",
        {"host": None, "http10": True, "keep_alive": False},
    ),
    "HTTP/1.0 with Host": (b"GET / HTTP/1.0\r\nHost: localhost", {"host": b"localhost", "http10": True}),
    "HTTP/1.0 kept alive": (b"GET / HTTP/1.0\r\nConnection: Keep-Alive", {"keep_alive": True}),
    "HTTP/1.0 with a body": (b"POST / HTTP/1.0\r\nContent-Length: 5", {"content_length": 5}),
    "an empty Host, which the guard judges": (b"GET / HTTP/1.1\r\nHost:", {"host": b""}),
    "an absolute target": (
        b"GET http://localhost:8080/a?b HTTP/1.1\r\nHost: localhost:8080",
        {"target": b"/a?b", "host": b"localhost:8080", "absolute": True},
    ),
    "an absolute target in capitals": (
        b"GET HTTP://LocalHost/A HTTP/1.1\r\nHost: localhOST",
        {"target": b"/A", "host": b"localhOST"},
    ),
    "an absolute target with https": (
        b"GET https://a.example/a HTTP/1.1\r\nHost: a.example",
        {"target": b"/a", "host": b"a.example", "absolute": True, "scheme": b"https"},
    ),
    "an absolute target with ws": (
        b"GET ws://a.example:81?b HTTP/1.1\r\nHost: a.example:81",
        {"target": b"/?b", "host": b"a.example:81", "absolute": True, "scheme": b"ws"},
    ),
    "an absolute target with wss in capitals": (
        b"GET WSS://a.example HTTP/1.1\r\nHost: a.example",
        {"target": b"/", "host": b"a.example", "absolute": True, "scheme": b"wss"},
    ),
    "an absolute target without a path": (
        b"GET http://localhost HTTP/1.1\r\nHost: localhost",
        {"target": b"/"},
    ),
    "an absolute target with a query alone": (
        b"GET http://localhost?a=http://evil/ HTTP/1.1\r\nHost: localhost",
        {"target": b"/?a=http://evil/"},
    ),
    "an absolute target of IPv6": (
        b"GET http://[::1]:8080/ HTTP/1.1\r\nHost: [::1]:8080",
        {"target": b"/"},
    ),
    "an absolute target with an empty path segment": (
        b"GET http://localhost//evil/ HTTP/1.1\r\nHost: localhost",
        {"target": b"//evil/"},
    ),
    "an absolute target in HTTP/1.0, which stands for Host": (
        b"GET http://localhost/a HTTP/1.0",
        {"target": b"/a", "host": b"localhost"},
    ),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: localhost", {"target": b"*", "absolute": False}),
    "OPTIONS of a whole host": (b"OPTIONS http://localhost HTTP/1.1\r\nHost: localhost", {"target": b"*"}),
    "OPTIONS of a root": (b"OPTIONS http://localhost/ HTTP/1.1\r\nHost: localhost", {"target": b"/"}),
    "OPTIONS with a query": (b"OPTIONS http://localhost?a HTTP/1.1\r\nHost: localhost", {"target": b"/?a"}),
    "CONNECT, which is answered elsewhere": (
        b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443",
        {"method": b"CONNECT", "target": b"evil:443"},
    ),
    "connect in lower case": (b"connect evil:443 HTTP/1.1\r\nHost: evil", {"target": b"evil:443"}),
    "a target that looks like an authority": (
        b"GET //evil/ HTTP/1.1\r\nHost: localhost",
        {"target": b"//evil/"},
    ),
    "a target that looks like a URL": (
        b"GET /http://evil/ HTTP/1.1\r\nHost: localhost",
        {"target": b"/http://evil/"},
    ),
    "an encoded line end": (
        b"GET /%0d%0aHost:%20evil HTTP/1.1\r\nHost: localhost",
        {"target": b"/%0d%0aHost:%20evil"},
    ),
    "a broken escape": (b"GET /%zz%2 HTTP/1.1\r\nHost: localhost", {"target": b"/%zz%2"}),
    "what browsers leave bare": (
        b"GET /a|b?q={|}^`[]\\'!$&()*+,;=:@ HTTP/1.1\r\nHost: localhost",
        {"target": b"/a|b?q={|}^`[]\\'!$&()*+,;=:@"},
    ),
    "a long target": (b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: localhost", {"method": b"GET"}),
    "a method with a hyphen": (b"M-SEARCH / HTTP/1.1\r\nHost: localhost", {"method": b"M-SEARCH"}),
    "a method in lower case is another one": (b"get / HTTP/1.1\r\nHost: localhost", {"method": b"get"}),
    "a method of every token octet": (
        EVERY_TOKEN_OCTET + b" / HTTP/1.1\r\nHost: localhost",
        {"method": EVERY_TOKEN_OCTET},
    ),
    "a long method": (b"A" * 300 + b" / HTTP/1.1\r\nHost: localhost", {"method": b"A" * 300}),
    "a length": (posted(b"Content-Length: 5"), {"content_length": 5, "has_body": True}),
    "a length of nought": (posted(b"Content-Length: 0"), {"content_length": 0, "has_body": False}),
    "a length with noughts before it": (posted(b"Content-Length: 0005"), {"content_length": 5}),
    "a length with space around it": (posted(b"Content-Length: \t 5 \t"), {"content_length": 5}),
    "a length without space": (posted(b"content-length:5"), {"content_length": 5}),
    "a length of 18 digits": (posted(b"Content-Length: " + b"9" * 18), {"content_length": 10**18 - 1}),
    "no length and no coding": (posted(), {"content_length": None, "chunked": False, "has_body": False}),
    "chunked": (posted(b"Transfer-Encoding: chunked"), {"chunked": True, "has_body": True}),
    "CHUNKED": (posted(b"TRANSFER-ENCODING: CHUNKED"), {"chunked": True}),
    # HTAB around a value is OWS (RFC 9110 section 5.5); written afresh, it cannot travel.
    "chunked with tabs around it": (posted(b"Transfer-Encoding:\tchunked\t "), {"chunked": True}),
    "chunked by GET": (with_field(b"Transfer-Encoding: chunked"), {"chunked": True}),
    "Connection: close": (with_field(b"Connection: close"), {"keep_alive": False}),
    "Connection: CLOSE in a list": (with_field(b"Connection: keep-alive,\tCLOSE ,"), {"keep_alive": False}),
    "close over two lines": (
        with_field(b"Connection: close\r\nConnection: keep-alive"),
        {"keep_alive": False},
    ),
    "close in HTTP/1.0": (b"GET / HTTP/1.0\r\nConnection: keep-alive, close", {"keep_alive": False}),
    "a word that only holds close": (with_field(b"Connection: not-close"), {"keep_alive": True}),
    "an empty Connection": (with_field(b"Connection:"), {"keep_alive": True}),
    "Proxy-Connection does nothing": (with_field(b"Proxy-Connection: close"), {"keep_alive": True}),
    "Expect": (posted(b"Expect: 100-Continue", b"Content-Length: 1"), {"expect_continue": True}),
    "another Expect": (posted(b"Expect: the unexpected"), {"expect_continue": False}),
    "Expect in HTTP/1.0": (b"POST / HTTP/1.0\r\nExpect: 100-continue", {"expect_continue": False}),
    "TE: trailers": (with_field(b"TE: trailers\r\nConnection: TE"), {"te_trailers": True}),
    "TE: a list with trailers": (with_field(b"TE: deflate;q=0.5 , Trailers"), {"te_trailers": True}),
    "TE without trailers": (with_field(b"TE: gzip"), {"te_trailers": False}),
    "a websocket": (
        with_field(b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade"),
        {"websocket": True, "keep_alive": True},
    ),
    "a websocket with a length of nought": (
        with_field(b"Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0"),
        {"websocket": True},
    ),
    "websocket that Connection does not name": (with_field(b"Upgrade: websocket"), {"websocket": False}),
    "websocket beside other options": (
        with_field(b"Upgrade: websocket\r\nConnection: close"),
        {"websocket": False, "keep_alive": False},
    ),
    "websocket in a list": (
        with_field(b"Upgrade: websocket, h2c\r\nConnection: upgrade"),
        {"websocket": False},
    ),
    "websocket twice": (
        with_field(b"Upgrade: websocket\r\nUpgrade: websocket\r\nConnection: upgrade"),
        {"websocket": False},
    ),
    "websocket in HTTP/1.0": (
        b"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade",
        {"websocket": False},
    ),
    "h2c, and a body": (
        posted(
            b"Upgrade: h2c",
            b"Connection: Upgrade, HTTP2-Settings",
            b"HTTP2-Settings: A",
            b"Content-Length: 5",
        ),
        {"websocket": False, "content_length": 5},
    ),
    "an upgrade to TLS": (with_field(b"Upgrade: TLS/1.2\r\nConnection: upgrade"), {"websocket": False}),
    "Connection: upgrade and no Upgrade": (with_field(b"Connection: upgrade"), {"websocket": False}),
    "an Origin and fetch metadata": (
        with_field(
            b"Origin: null\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty"
        ),
        {"origin": b"null", "fetch_site": b"cross-site", "fetch_mode": b"no-cors", "fetch_dest": b"empty"},
    ),
    "an Origin that is there and empty": (with_field(b"Origin:"), {"origin": b""}),
    "forwarded lines, each kept": (
        with_field(
            b"X-Forwarded-For: 1.2.3.4\r\nVia: 1.1 a\r\nX-Forwarded-For: 5.6.7.8, 9.9.9.9\r\nvia: 1.0 b"
        ),
        {"forwarded_for": (b"1.2.3.4", b"5.6.7.8, 9.9.9.9"), "via": (b"1.1 a", b"1.0 b")},
    ),
    "an Authorization, as it is spelled": (
        with_field(b"AUTHORIZATION:  Basic Og== "),
        {"authorization": (b"AUTHORIZATION: Basic Og==\r\n",)},
    ),
    "every Authorization": (
        with_field(b"authorization: a\r\nAuthorization: b"),
        {"authorization": (b"authorization: a\r\n", b"Authorization: b\r\n")},
    ),
}


@for_each(("block", "facts"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_well_formed_request_passes(block: bytes, facts: dict[str, object]) -> None:
    for _ in range(2):
        request = parse_request(block)
        assert {name: getattr(request, name) for name in facts} == facts


PASSING_LINES = {
    "an empty value": (b"X-A:", b"X-A: \r\n"),
    "a blank value": (b"X-A: \t  ", b"X-A: \r\n"),
    "no space": (b"X-A:b", b"X-A: b\r\n"),
    "space around": (b"X-A:\t  b c\t \t", b"X-A: b c\r\n"),
    "a tab within": (b"X-A: b\tc", b"X-A: b\tc\r\n"),
    "obs-text": (b"X-A: caf\xe9 \x80\xff", b"X-A: caf\xe9 \x80\xff\r\n"),
    "UTF-8": ("X-A: é".encode(), "X-A: é\r\n".encode()),
    "a no-break space of Latin-1 is no space": (b"X-A: \xa0b\x85", b"X-A: \xa0b\x85\r\n"),
    "colons": (b"X-A: :b:c:", b"X-A: :b:c:\r\n"),
    "every visible octet": (
        b"X-A: " + bytes(range(0x21, 0x7F)),
        b"X-A: " + bytes(range(0x21, 0x7F)) + b"\r\n",
    ),
    "a name of every token octet": (EVERY_TOKEN_OCTET + b": b", EVERY_TOKEN_OCTET + b": b\r\n"),
    "a name as it is spelled": (b"x-FoO: b", b"x-FoO: b\r\n"),
    "a long name": (b"X" * 1000 + b": b", b"X" * 1000 + b": b\r\n"),
    "a long value": (b"X-A: " + b"b" * 30_000, b"X-A: " + b"b" * 30_000 + b"\r\n"),
    "a header's name as a value": (
        b"X-A: Transfer-Encoding: chunked",
        b"X-A: Transfer-Encoding: chunked\r\n",
    ),
    "names that only begin as others": (b"Content-Lengthy: x", b"Content-Lengthy: x\r\n"),
    "an underscore elsewhere": (b"X_Request_Id: b", b"X_Request_Id: b\r\n"),
    "cookies": (b"Cookie: a=b; c=d", b"Cookie: a=b; c=d\r\n"),
}


@for_each(("line", "wire"), PASSING_LINES.values(), ids=PASSING_LINES)
def test_a_field_passes_as_it_is_spelled_with_one_space_before_its_value(line: bytes, wire: bytes) -> None:
    for _ in range(2):
        assert parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + line).passing == [wire]
        assert parse_response(b"HTTP/1.1 200 OK\r\n" + line).passing == [wire]


def test_fields_keep_their_order_and_number() -> None:
    request = parse_request(b"GET / HTTP/1.1\r\nb: 1\r\nA: 2\r\nHost: x\r\nb: 1\r\na: 3")
    assert request.passing == [b"b: 1\r\n", b"A: 2\r\n", b"b: 1\r\n", b"a: 3\r\n"]


@for_each(
    "line",
    [
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        b"Trailer: Authorization",
        b"Upgrade: h2c",
        b"Connection: close",
        b"TE: gzip",
        b"Expect: 100-continue",
        b"X-Serverless-Authorization: Bearer s3cr3t",
        b"Proxy-Authorization: Bearer s3cr3t",
        b"pROXY-aUTHORIZATION: Bearer s3cr3t",
        b"X_Serverless_Authorization: Bearer s3cr3t",
        b"x.serverless.authorization: Bearer s3cr3t",
        b"X-Serverless_Authorization: Bearer s3cr3t",
        b"X~Serverless+Authorization: Bearer s3cr3t",
        b"Proxy.Authorization: Bearer s3cr3t",
        b"PROXY_AUTHORIZATION: Bearer s3cr3t",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: evil",
        b"Metadata-Flavor: Google",
        b"X-Google-Metadata-Request: True",
    ],
)
def test_what_is_for_this_hop_or_ours_to_say_does_not_pass(line: bytes) -> None:
    request = parse_request(with_field(line))
    assert request.passing == [b"X-Token: s3cr3t\r\n"]
    assert request.authorization == ()


def test_as_many_fields_as_the_limit_pass_and_one_more_is_431() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join(b"X-%d: 1" % i for i in range(MAX_FIELDS - 1))
    assert len(parse_request(head).passing) == MAX_FIELDS - 1
    with pytest.raises(HeadTooLarge, match="256") as caught:
        parse_request(head + b"\r\nKeep-Alive: 1")
    assert (caught.value.status, caught.value.closes) == (431, True)


# -- what Connection names ----------------------------------------------------

NOMINATIONS = {
    "plainly": [b"Connection: x-hop"],
    "in capitals": [b"CONNECTION: X-HOP"],
    "in a list": [b"Connection: close, x-hop, keep-alive"],
    "without spaces": [b"Connection: close,x-hop"],
    "behind empty members": [b"Connection: ,, ,\t,x-hop,,"],
    "with tabs around": [b"Connection:\t\tx-hop\t"],
    "on a second line": [b"Connection: keep-alive", b"Connection: x-hop"],
    "behind an empty line": [b"Connection:", b"connection: x-hop"],
    "beside a websocket": [b"Connection: Upgrade, x-hop", b"Upgrade: websocket"],
    "behind the fields it names": [],
}


@for_each("lines", NOMINATIONS.values(), ids=NOMINATIONS)
def test_a_nominated_field_goes_however_it_is_named(lines: list[bytes]) -> None:
    hop = [b"X-Hop: 1", b"x-hop: 2", b"X-Stays: 3", b"X-HOP: 4"]
    after = [] if lines else [b"Connection: x-hop"]
    request = parse_request(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, *hop, *after]))
    assert request.passing == [b"X-Stays: 3\r\n"]
    response = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, *hop, *after]))
    assert response.passing == [b"X-Stays: 3\r\n"]


@for_each(
    ("name", "line", "attribute", "value"),
    [
        (b"authorization", b"Authorization: Basic Og==", "authorization", ()),
        (b"x-forwarded-for", b"X-Forwarded-For: 1.2.3.4", "forwarded_for", ()),
        (b"via", b"Via: 1.1 a", "via", ()),
        # What is judged is not to be nominated away, and framing still less.
        (b"host", b"X-A: a", "host", b"localhost"),
        (b"content-length", b"Content-Length: 5", "content_length", 5),
        (b"transfer-encoding", b"Transfer-Encoding: chunked", "chunked", True),
        (b"origin", b"Origin: https://evil", "origin", b"https://evil"),
        (b"sec-fetch-site", b"Sec-Fetch-Site: cross-site", "fetch_site", b"cross-site"),
        (b"connection", b"X-A: a", "keep_alive", True),
    ],
)
def test_nominations_of_fields_with_a_meaning(
    name: bytes, line: bytes, attribute: str, value: object
) -> None:
    before = parse_request(with_field(b"Connection: " + name + b"\r\n" + line))
    behind = parse_request(with_field(line + b"\r\nConnection: " + name.upper()))
    assert getattr(before, attribute) == getattr(behind, attribute) == value


# -- responses ----------------------------------------------------------------

HOSTILE_STATUS_LINES = {
    "nothing": b"",
    "HTTP/0.9": b"<html>",
    "HTTP/1.2": b"HTTP/1.2 200 OK",
    "HTTP/2": b"HTTP/2 200",
    "HTTP/2.0": b"HTTP/2.0 200 OK",
    "lower case": b"http/1.1 200 OK",
    "ICY": b"ICY 200 OK",
    "no status": b"HTTP/1.1",
    "no status but its space": b"HTTP/1.1 ",
    "two digits": b"HTTP/1.1 20 OK",
    "four digits": b"HTTP/1.1 2000 OK",
    "a status under 100": b"HTTP/1.1 099 OK",
    "a signed status": b"HTTP/1.1 +20 OK",
    "letters": b"HTTP/1.1 2oo OK",
    "digits that are none in ASCII": "HTTP/1.1 \u0662\u0660\u0660 OK".encode(),
    "two spaces before the status": b"HTTP/1.1  200 OK",
    "a tab before the status": b"HTTP/1.1\t200 OK",
    "a tab behind the status": b"HTTP/1.1 200\tOK",
    "a space before all": b" HTTP/1.1 200 OK",
    "no space behind the status": b"HTTP/1.1 200OK",
    "bare CR in the reason": b"HTTP/1.1 200 O\rK",
    "bare CR at the end": b"HTTP/1.1 200 OK\r",
    "bare LF and a header": b"HTTP/1.1 200 OK\nSet-Cookie: a=b",
    "NUL in the reason": b"HTTP/1.1 200 O\0K",
    "DEL in the reason": b"HTTP/1.1 200 O\x7fK",
    "an escape in the reason": b"HTTP/1.1 200 \x1b[2J",
    "a request": b"GET / HTTP/1.1",
}

HOSTILE_RESPONSES = (
    {f"status line: {name}": line + b"\r\nServer: s3cr3t" for name, line in HOSTILE_STATUS_LINES.items()}
    | {
        f"field line: {name}": b"HTTP/1.1 200 OK\r\n" + line + b"\r\nServer: s3cr3t"
        for name, line in HOSTILE_FIELD_LINES.items()
    }
    | {
        f"framing: {name}": b"\r\n".join((b"HTTP/1.1 200 OK", *fields, b"Server: s3cr3t"))
        for name, fields in HOSTILE_FRAMING.items()
    }
    | {
        "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        "too many fields": b"HTTP/1.1 200 OK" + b"\r\nA: b" * (MAX_FIELDS + 1),
    }
)


@for_each("again", [False, True])
def test_a_response_that_could_be_read_in_two_ways_is_502(*, again: bool) -> None:
    for name, block in HOSTILE_RESPONSES.items():
        for _ in range(1 + again):
            error = refused_response(name, block)
            assert error.status == 502, name
            assert SECRET not in f"{error} {error.remedy} {error.log_detail}", name


def refused_response(name: str, block: bytes) -> MalformedResponse:
    try:
        parse_response(block)
    except MalformedResponse as error:
        return error
    pytest.fail(f"{name} passes")


GOOD_RESPONSES: dict[str, tuple[bytes, dict[str, object]]] = {
    "the least": (
        b"HTTP/1.1 200 OK",
        {"status": 200, "status_line": b"HTTP/1.1 200 OK\r\n", "keep_alive": True, "content_length": None},
    ),
    "an empty reason": (b"HTTP/1.1 200 ", {"status_line": b"HTTP/1.1 200 \r\n"}),
    "no reason and no space, as some send it": (b"HTTP/1.1 404", {"status_line": b"HTTP/1.1 404 \r\n"}),
    "a reason of spaces and tabs": (b"HTTP/1.1 200  a\tb ", {"status_line": b"HTTP/1.1 200  a\tb \r\n"}),
    "a reason with obs-text": (b"HTTP/1.1 200 \xe9", {"status_line": b"HTTP/1.1 200 \xe9\r\n"}),
    "a long reason": (b"HTTP/1.1 200 " + b"a" * 100, {"status": 200}),
    "HTTP/1.0": (
        b"HTTP/1.0 302 Found",
        {"status_line": b"HTTP/1.1 302 Found\r\n", "http10": True, "keep_alive": False},
    ),
    "HTTP/1.0 kept alive": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", {"keep_alive": True}),
    "HTTP/1.0 closed": (b"HTTP/1.0 200 OK\r\nConnection: close, keep-alive", {"keep_alive": False}),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: Close", {"keep_alive": False}),
    "a status of no class": (b"HTTP/1.1 999 ?", {"status": 999}),
    "an interim answer": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>", {"status": 103}),
    "a length": (
        b"HTTP/1.1 200 OK\r\ncontent-length:  5",
        {"content_length": 5, "length_line": b"content-length: 5\r\n", "passing": []},
    ),
    "a length with noughts before it": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0010",
        {"content_length": 10, "length_line": b"Content-Length: 10\r\n"},
    ),
    "a length of nought": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0",
        {"content_length": 0, "length_line": b"Content-Length: 0\r\n"},
    ),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", {"chunked": True, "passing": []}),
    "a switch": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade",
        {"upgrade": b"websocket", "connection_upgrade": True, "passing": []},
    ),
    "a switch to two protocols": (
        b"HTTP/1.1 101 .\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nConnection: upgrade",
        {"upgrade": b"", "connection_upgrade": True},
    ),
    "an offer to upgrade": (
        b"HTTP/1.1 426 .\r\nUpgrade: h2c",
        {"upgrade": b"h2c", "connection_upgrade": False, "passing": []},
    ),
    "challenges, kept and looked at": (
        b'HTTP/1.1 401 .\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nwww-authenticate: Basic',
        {
            "www_authenticate": (b'Bearer error="invalid_token"', b"Basic"),
            "passing": [
                b'WWW-Authenticate: Bearer error="invalid_token"\r\n',
                b"www-authenticate: Basic\r\n",
            ],
        },
    ),
    "what is for this hop": (
        b"HTTP/1.1 200 .\r\nKeep-Alive: a\r\nProxy-Connection: a\r\nProxy-Authenticate: Basic\r\nServer: b",
        {"passing": [b"Server: b\r\n"]},
    ),
    "as many fields as the limit": (b"HTTP/1.1 200 OK" + b"\r\nA: b" * MAX_FIELDS, {"status": 200}),
}


@for_each(("block", "facts"), GOOD_RESPONSES.values(), ids=GOOD_RESPONSES)
def test_a_well_formed_response_passes(block: bytes, facts: dict[str, object]) -> None:
    for _ in range(2):
        response = parse_response(block)
        assert {name: getattr(response, name) for name in facts} == facts


# -- trailers -----------------------------------------------------------------


def test_trailers_pass_in_order() -> None:
    assert parse_trailers([b"grpc-status:0", b"Grpc-Message: a b "]) == [
        b"grpc-status: 0\r\n",
        b"Grpc-Message: a b\r\n",
    ]
    assert parse_trailers([]) == []


@for_each(
    "name",
    [
        b"Authorization",
        b"X-Serverless-Authorization",
        b"Proxy-Authorization",
        b"WWW-Authenticate",
        b"Host",
        b"Content-Length",
        b"TRANSFER-ENCODING",
        b"Connection",
        b"Upgrade",
        b"Trailer",
        b"TE",
        b"Set-Cookie",
        b"Content-Type",
        b"Content-Encoding",
        b"Content-Range",
        b"Cache-Control",
        b"Location",
        b"Origin",
    ],
)
def test_a_trailer_carries_no_framing_routing_or_credential(name: bytes) -> None:
    for spelled in (name, name.lower(), name.upper()):
        assert parse_trailers([b"a: 1", spelled + b": x", b"b: 2"]) == [b"a: 1\r\n", b"b: 2\r\n"]


MALFORMED_TRAILERS = {name: line for name, line in HOSTILE_FIELD_LINES.items() if b"\r\n" not in line}


@for_each("line", MALFORMED_TRAILERS.values(), ids=MALFORMED_TRAILERS)
def test_a_malformed_trailer_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        parse_trailers([b"a: 1", line])


# -- what is remembered -------------------------------------------------------

FULL = b"\r\n".join(
    (
        b"POST /a?b HTTP/1.1",
        b"Host: localhost:8080",
        b"User-Agent: curl/8.5.0",
        b"Accept: */*",
        b"Connection: keep-alive, x-hop",
        b"X-Hop: 1",
        b"Content-Length: 12",
        b"Authorization: Basic Og==",
        b"Cookie: a=b",
        b"Origin: http://localhost:8080",
        b"Sec-Fetch-Site: same-origin",
        b"X-Forwarded-For: 1.2.3.4",
        b"Via: 1.1 a",
    )
)


def told_by(head: Request | Response) -> dict[str, object]:
    return {name: getattr(head, name) for name in facts_of(type(head))}


def forget() -> None:
    for table in (REQUEST_LINES, RESPONSE_LINES):
        table.forget()


def test_a_head_is_read_the_same_the_second_time() -> None:
    forget()
    assert told_by(parse_request(FULL)) == told_by(parse_request(FULL))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close, a\r\nA: b\r\nServer: c"
    assert told_by(parse_response(answer)) == told_by(parse_response(answer))


def test_a_remembered_line_is_not_changed_by_the_request_that_it_stood_in() -> None:
    forget()
    plain = b"GET / HTTP/1.1\r\nHost: a\r\nX-Hop: 1"
    before = told_by(parse_request(plain))
    parse_request(plain + b"\r\nConnection: x-hop")
    assert told_by(parse_request(plain)) == before


def test_a_line_means_in_a_request_what_it_means_there() -> None:
    """Host is a field like any other in a response, and WWW-Authenticate in a request."""
    forget()
    for _ in range(2):
        assert parse_response(b"HTTP/1.1 200 OK\r\nHost: a\r\nProxy-Authenticate: b").passing == [
            b"Host: a\r\n"
        ]
        request = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Authenticate: b")
        assert (request.host, request.passing) == (b"a", [b"Proxy-Authenticate: b\r\n"])


def test_status_lines_are_remembered_within_bounds() -> None:
    for code in range(100, 1000):
        assert parse_response(b"HTTP/1.1 %d ." % code).status == code
    parse_response(b"HTTP/1.1 200 " + b"a" * 65)
    assert len(http1._status_lines) <= 256
    assert all(len(line) <= 64 for line in http1._status_lines)


# -- anything at all ----------------------------------------------------------

PIECES = st.sampled_from(
    [
        b"GET",
        b" ",
        b"/",
        b"http://",
        b"localhost",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"200",
        b"\r\n",
        b"\r",
        b"\n",
        b"\t",
        b"\0",
        b":",
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"chunked",
        b"Connection",
        b"Upgrade",
        b"websocket",
        b"5",
        b",",
        b"\xff",
    ]
)
ANYTHING = st.one_of(st.binary(), st.lists(PIECES).map(b"".join))


@given(ANYTHING, st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 OK\r\n"]))
@example(b"", b"")
def test_nothing_but_its_own_errors_comes_of_anything(tail: bytes, start: bytes) -> None:
    for parse, kinds in (
        (parse_request, (MalformedRequest, HeadTooLarge)),
        (parse_response, (MalformedResponse,)),
    ):
        try:
            head = parse(start + tail)
        except ProxyError as error:
            assert isinstance(error, kinds)  # noqa: PT017 -- either is right, a third is not
        else:
            for line in head.passing:
                assert line.endswith(b"\r\n")
                assert not {0, 10, 13} & set(line[:-2])


@given(st.sampled_from([b"GET / HTTP/1.1", b"Host: localhost", b"X-A: b"]), st.integers(0, 14), st.data())
def test_a_control_character_anywhere_is_refused(line: bytes, at: int, data: st.DataObject) -> None:
    octet = bytes([data.draw(st.sampled_from([*range(9), *range(10, 32), 127]))])
    spoilt = line[:at] + octet + line[at:]
    block = FULL.replace(b"POST /a?b HTTP/1.1", spoilt if line.startswith(b"GET") else b"GET / HTTP/1.1")
    if not line.startswith(b"GET"):
        block += b"\r\n" + spoilt
    with pytest.raises(MalformedRequest):
        parse_request(block)


# -- what speaks of addresses ---------------------------------------------------


def test_what_may_be_rewritten_passes_and_is_marked() -> None:
    lines = [b"Set-Cookie: a=1", b"Location: /x", b"set-cookie: a=2", b"Access-Control-Max-Age: 1"]
    response = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Keep-Alive: x", b"ETag: y"]))
    assert [field.wire for field in response.addressed] == [line + b"\r\n" for line in lines]
    assert response.passing == [b"ETag: y\r\n", *(line + b"\r\n" for line in lines)]
    assert parse_response(b"HTTP/1.1 200 OK\r\nETag: y").addressed == ()
    request = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nREFERER:x\r\nAccept: y")
    assert [field.value for field in request.referers] == [b"x"]
    assert request.passing == [b"Accept: y\r\n", b"REFERER: x\r\n"]


def test_nothing_of_what_connection_names_is_marked() -> None:
    response = parse_response(
        b"HTTP/1.1 200 OK\r\nLocation: /x\r\nSet-Cookie: a=1\r\nConnection: location, close"
    )
    assert [field.name for field in response.addressed] == [b"set-cookie"]
    assert response.passing == [b"Set-Cookie: a=1\r\n"]
