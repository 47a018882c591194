"""Heads as they must be read, and those that two readers could read differently (RFC 9113 section 8)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from idtoken_proxy.engine.http2.fields import request_fields, response_fields
from idtoken_proxy.engine.http2.heads import (
    MalformedMessage,
    RequestHead,
    ResponseHead,
    request_head,
    response_head,
    trailer_fields,
)
from idtoken_proxy.policy import fields
from tests.cases import for_each
from tests.engine.http2.peer import GET, OK, Pair

SECRET = b"s3cr3t"  # never in a reason


def request(*pairs: Pair) -> RequestHead:
    return request_head([request_fields.field(*pair) for pair in pairs])


def response(*pairs: Pair) -> ResponseHead:
    return response_head([response_fields.field(*pair) for pair in pairs])


def with_method(method: bytes, path: bytes) -> list[Pair]:
    return [(b":method", method), (b":scheme", b"http"), (b":authority", b"localhost"), (b":path", path)]


def test_a_request() -> None:
    head = request(
        *GET,
        (b"x-a", b"1"),
        (b"te", b"trailers"),
        (b"origin", b"http://localhost"),
        (b"authorization", SECRET),
        (b"x-serverless-authorization", SECRET),
        (b"content-length", b"007"),
        (b"cookie", b"a=b"),
        (b"x-b", b"2"),
    )
    assert (head.method, head.scheme, head.authority, head.path) == (b"GET", b"http", b"localhost", b"/")
    assert (head.content_length, head.te_trailers) == (7, True)
    assert [field.pair for field in head.passing] == [(b"x-a", b"1"), (b"x-b", b"2"), (b"cookie", b"a=b")]
    # What only this proxy may say is dropped, and what it looks at stands by itself.
    assert [field.kind for field in head.special] == [
        fields.ORIGIN,
        fields.AUTHORIZATION,
        fields.SERVERLESS_AUTHORIZATION,
    ]
    assert head.made is None


def test_the_least_that_a_request_is() -> None:
    head = request(*GET)
    assert (head.passing, head.special, head.content_length, head.te_trailers) == ([], [], None, False)


def test_pseudo_fields_may_come_in_any_order() -> None:
    assert request(*reversed(GET)).path == b"/"


def test_a_host_names_what_an_authority_does_not() -> None:
    """Section 8.3.1: what came by way of HTTP/1.1 may have Host alone."""
    bare = [pair for pair in GET if pair[0] != b":authority"]
    assert request(*bare, (b"host", b"example.test")).authority == b"example.test"
    assert request(*GET, (b"host", b"LocalHost")).authority == b"localhost"


def test_crumbs_are_joined() -> None:
    head = request(*GET, (b"cookie", b"a=b"), (b"x-a", b"1"), (b"cookie", b"c=d"), (b"cookie", b""))
    assert [field.pair for field in head.passing] == [(b"x-a", b"1"), (b"cookie", b"a=b; c=d; ")]
    assert head.passing[-1].wire == b"cookie: a=b; c=d; \r\n"


@for_each(
    ("method", "path"),
    [
        (b"OPTIONS", b"*"),
        (b"GET", b"/a?b=c&d#".rstrip(b"#")),
        (b"M-SEARCH", b"/"),
        (b"get", b"/{|}^`"),
        (b"GET", b"//"),
    ],
)
def test_paths_and_methods_as_http1_takes_them(method: bytes, path: bytes) -> None:
    head = request(*with_method(method, path))
    assert (head.method, head.path) == (method, path)


def test_connect_names_in_its_authority_what_it_does_for_a_target_over_http1() -> None:
    """Section 8.5."""
    head = request((b":method", b"CONNECT"), (b":authority", b"a.test:443"))
    assert (head.method, head.path, head.authority) == (b"CONNECT", b"a.test:443", b"a.test:443")


BARE_GET = GET[:3]
MALFORMED_REQUESTS: dict[str, Sequence[Pair]] = {
    "nothing": [],
    "no method": GET[1:],
    "no scheme": [GET[0], *GET[2:]],
    "no path": BARE_GET,
    "neither authority nor host": [*GET[:2], GET[3]],
    "two methods": [*GET, GET[0]],
    "two schemes": [GET[1], *GET],
    "two authorities": [*GET, GET[2]],
    "two paths": [GET[3], *GET],
    "two paths that differ": [*GET, (b":path", b"/s3cr3t")],
    "a status": [(b":status", b"200"), *GET],
    "an unknown pseudo-field": [*GET, (b":protocol", b"websocket")],
    "a pseudo-field behind a field": [*BARE_GET, (b"x-a", b"b"), (b":path", b"/s3cr3t")],
    "a second pseudo-field behind a field": [*GET, (b"x-a", b"b"), (b":authority", b"s3cr3t")],
    "a pseudo-field behind a host": [*GET[:2], (b"host", b"a"), GET[3]],
    "a pseudo-field among cookies": [*BARE_GET, (b"cookie", b"a=s3cr3t"), GET[3]],
    "CONNECT to nobody": [(b":method", b"CONNECT")],
    "CONNECT with a user": [(b":method", b"CONNECT"), (b":authority", b"s3cr3t@a.test:443")],
    "CONNECT with all of them": with_method(b"CONNECT", b"/"),
    "CONNECT as RFC 8441 has it": [*with_method(b"CONNECT", b"/"), (b":protocol", b"websocket")],
    "an empty method": with_method(b"", b"/"),
    "a method with a blank": with_method(b"GET /s3cr3t HTTP/1.1", b"/"),
    "an empty path": with_method(b"GET", b""),
    "a path without its slash": with_method(b"GET", b"s3cr3t"),
    "a path that is a URL": with_method(b"GET", b"http://evil/s3cr3t"),
    "an asterisk with GET": with_method(b"GET", b"*"),
    "a path with a blank": with_method(b"GET", b"/ s3cr3t"),
    "a path with a fragment": with_method(b"GET", b"/#s3cr3t"),
    "a path with obs-text": with_method(b"GET", b"/\xffs3cr3t"),
    "a path with a tab": with_method(b"GET", b"/\ts3cr3t"),
    "a path with CR LF": with_method(b"GET", b"/ HTTP/1.1\r\nhost: evil"),
    "an empty scheme": [GET[0], (b":scheme", b""), *GET[2:]],
    "another scheme": [GET[0], (b":scheme", b"ftp"), *GET[2:]],
    "a scheme that is a request": [GET[0], (b":scheme", b"http://evil/ HTTP/1.1"), *GET[2:]],
    "an empty authority": [*GET[:2], (b":authority", b""), GET[3]],
    "an authority with a user": [*GET[:2], (b":authority", b"s3cr3t@localhost"), GET[3]],
    "an authority with a path": [*GET[:2], (b":authority", b"localhost/s3cr3t"), GET[3]],
    "an authority with a blank": [*GET[:2], (b":authority", b"localhost s3cr3t"), GET[3]],
    "an empty host alone": [*GET[:2], GET[3], (b"host", b"")],
    "a host that differs": [*GET, (b"host", b"s3cr3t")],
    "a host with a port more": [*GET, (b"host", b"localhost:80")],
    "two hosts": [*GET, (b"host", b"localhost"), (b"host", b"localhost")],
    "two lengths": [*GET, (b"content-length", b"5"), (b"content-length", b"5")],
    "a length and its alias": [*GET, (b"content-length", b"5"), (b"content-length", b"6")],
    "a length that is none": [*GET, (b"content-length", b"5, 5")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "connection": [*GET, (b"connection", b"s3cr3t")],
    "te with more": [*GET, (b"te", b"trailers, gzip")],
    "upper case": [*GET, (b"X-A", b"s3cr3t")],
    "CR LF in a value": [*GET, (b"x-a", b"s3cr3t\r\nhost: evil")],
    "a malformed field first": [(b"x-a", b"\0s3cr3t"), *GET],
}


@for_each("case", MALFORMED_REQUESTS)
def test_a_malformed_request(case: str) -> None:
    with pytest.raises(MalformedMessage) as raised:
        request(*MALFORMED_REQUESTS[case])
    assert raised.value.reason.isascii()
    assert "s3cr3t" not in raised.value.reason


def test_a_response() -> None:
    head = response(
        *OK,
        (b"content-type", b"text/html"),
        (b"content-length", b"5"),
        (b"location", b"/"),
        (b"www-authenticate", b"Bearer"),
        (b"proxy-authenticate", b"Basic"),
        (b"set-cookie", b"a=b"),
        (b"via", b"1.1 a"),
    )
    assert (head.status, head.content_length) == (200, 5)
    assert [field.name for field in head.passing] == [b"content-type", b"via"]
    assert [field.kind for field in head.special] == [
        fields.LOCATION,
        fields.WWW_AUTHENTICATE,
        fields.SET_COOKIE,
    ]


@for_each("status", [b"100", b"103", b"200", b"204", b"304", b"404", b"599", b"999"])
def test_any_status_of_three_digits(status: bytes) -> None:
    assert response((b":status", status)).status == int(status)


MALFORMED_RESPONSES: dict[str, Sequence[Pair]] = {
    "nothing": [],
    "no status": [(b"x-a", b"s3cr3t")],
    "a status behind a field": [(b"x-a", b"s3cr3t"), *OK],
    "two statuses": [*OK, *OK],
    "a second status behind a field": [*OK, (b"x-a", b"b"), *OK],
    "a request's pseudo-field": [*OK, (b":path", b"/s3cr3t")],
    "a request's pseudo-field first": [(b":method", b"GET"), *OK],
    "no number": [(b":status", b"s3c")],
    "a status of four digits": [(b":status", b"2000")],
    "101": [(b":status", b"101")],
    "100 with a length": [(b":status", b"100"), (b"content-length", b"5")],
    "two lengths": [*OK, (b"content-length", b"5"), (b"content-length", b"5")],
    "transfer-encoding": [*OK, (b"transfer-encoding", b"chunked")],
    "connection": [*OK, (b"connection", b"close")],
    "upgrade": [*OK, (b"upgrade", b"h2c")],
    "LF in a value": [*OK, (b"x-a", b"s3cr3t\nset-cookie: a=b")],
    "upper case": [*OK, (b"Content-Type", b"s3cr3t")],
    "an empty name": [*OK, (b"", b"s3cr3t")],
}


@for_each("case", MALFORMED_RESPONSES)
def test_a_malformed_response(case: str) -> None:
    with pytest.raises(MalformedMessage) as raised:
        response(*MALFORMED_RESPONSES[case])
    assert "s3cr3t" not in raised.value.reason


def test_trailers_less_what_none_may_carry() -> None:
    made = trailer_fields(
        response_fields.field(*pair)
        for pair in (
            (b"grpc-status", b"0"),
            (b"content-length", b"5"),
            (b"set-cookie", b"a=b"),
            (b"authorization", b"s3cr3t"),
            (b"grpc-message", b"ok"),
            (b"content-type", b"text/html"),
        )
    )
    assert [field.pair for field in made] == [(b"grpc-status", b"0"), (b"grpc-message", b"ok")]


@for_each("name", [b"authorization", b"x-serverless-authorization", b"x_serverless_authorization"])
def test_trailers_of_a_request_carry_no_token_in_any_spelling(name: bytes) -> None:
    assert trailer_fields([request_fields.field(name, b"s3cr3t")]) == ()


@for_each(
    "pair",
    [
        (b":path", b"/"),
        (b":status", b"200"),
        (b":x", b""),
        (b"X", b""),
        (b"a", b"\n"),
        (b"connection", b"close"),
    ],
)
def test_malformed_trailers(pair: Pair) -> None:
    for table in (request_fields, response_fields):
        with pytest.raises(MalformedMessage):
            trailer_fields([table.field(b"x-a", b"b"), table.field(*pair)])
