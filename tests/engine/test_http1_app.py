"""What an HTTP/1.1 app is sent, octet by octet; through a whole proxy in test_downstream.py and test_exchange.py."""

from __future__ import annotations

from typing import Any

from idtoken_proxy.engine.http1 import parse_request, parse_response
from idtoken_proxy.engine.http1_app import Http1App
from idtoken_proxy.errors import NoRoute
from tests.cases import for_each


class Written:
    def __init__(self) -> None:
        self.octets = b""

    def write(self, data: bytes) -> None:
        self.octets += data


class ServerContext:
    draining = False


def begun(version: str = "1.1", context: ServerContext | None = None) -> tuple[Http1App, Written]:
    """A connection whose request has been read."""
    app, written = Http1App(context or ServerContext()), Written()
    transport: Any = written
    app.transport = transport
    app.request = parse_request(f"GET / HTTP/{version}\r\nHost: localhost".encode())
    return app, written


LENGTH = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5")
CHUNKED = parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")
EARLY_HINTS = parse_response(b"HTTP/1.1 103 Early Hints\r\nLink: </a>")


def test_an_answer_that_has_come_whole_is_one_write() -> None:
    app, written = begun()
    assert app.send_head(LENGTH, b"hello") == len(written.octets)
    assert written.octets == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert app.keep


def test_a_body_without_a_length_goes_in_chunks_and_its_trailers_behind_it() -> None:
    app, written = begun()
    octets = app.send_head(CHUNKED, None) + app.send_data(b"hello") + app.send_end([b"X: y\r\n"])
    assert octets == len(written.octets)
    assert written.octets == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    )


def test_to_http10_it_goes_until_the_connection_closes() -> None:
    app, written = begun("1.0")
    assert app.send_interim(EARLY_HINTS) == 0
    app.send_head(CHUNKED, None)
    app.send_data(b"hello")
    assert app.send_end([b"X: y\r\n"]) == 0
    assert written.octets == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert not app.keep


@for_each("why", ["draining", "a body that is still coming"])
def test_the_last_answer_says_that_it_is(why: str) -> None:
    context = ServerContext()
    context.draining = why == "draining"
    app, written = begun(context=context)
    app.request_complete = context.draining
    app.send_head(LENGTH, b"hello")
    assert b"\r\nConnection: close\r\n" in written.octets
    assert not app.keep


def test_what_could_not_be_read_is_refused_and_no_other_follows() -> None:
    app, written = begun()
    app.request = None
    assert app.send_problem(NoRoute("no route"), None) == len(written.octets)
    assert written.octets.startswith(b"HTTP/1.1 404 ")
    assert not app.keep
