"""What a caller or a receiver sends costs no more than its length: twice the input, twice the steps.

Counted steps of the interpreter, and for searches the octets that they look at: no machine is too slow for these.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import pytest

from idtoken_proxy.engine.body import ChunkedReader
from idtoken_proxy.engine.http1 import parse_request, parse_response
from idtoken_proxy.engine.trace import trace_of
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.logs import mask
from idtoken_proxy.policy import cors
from idtoken_proxy.policy.guard import Guard
from idtoken_proxy.policy.headers import (
    NO_TOKEN,
    Outbound,
    Peer,
    is_googles_invalid_token,
    outbound_head,
    turn_back,
)
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.policy.target import PathMap
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Rewrite, Route, Upstream
from tests.cases import for_each
from tests.steps import steps_of

GUARD = Guard(
    ["proxy.test"], ["https://listed.example"], ("X-Secret", b"s" * 32), ["a.run.app"], ["web.localhost"]
)
ROUTE = Route(
    "r", Upstream("https", "a.run.app", 443, "/base"), None, NoIdentity(), path="/p", strip_prefix=True
)
REWRITER = Rewriter(ROUTE, Rewrite())
START = b"GET /p/x HTTP/1.1\r\nHost: localhost"


def head(line: bytes, times: int) -> bytes:
    return START + (b"\r\n" + line) * times


def parsed(block: bytes) -> Request:
    return parse_request(block)


def forwarded(block: bytes) -> Callable[[], object]:
    def forward() -> None:
        request = parse_request(block)
        caller = Guard().admit(request)
        peer = Peer.of("127.0.0.1")
        outbound_head(Outbound(request, b"/base/x", b"Host: a.run.app\r\n", caller, peer, NO_TOKEN, REWRITER))

    return forward


def turned_back(block: bytes) -> Callable[[], object]:
    def turn() -> None:
        request = parse_request(START)
        turn_back(parse_response(block), request, Guard().admit(request), REWRITER, cross_origin=True)

    return turn


def preflight(times: int) -> Callable[[], object]:
    asked = b"Access-Control-Request-Headers: " + b"x-a, " * times
    block = START.replace(b"GET", b"OPTIONS") + (
        b"\r\nOrigin: https://listed.example\r\nAccess-Control-Request-Method: PUT\r\n" + asked
    )
    request = parse_request(block)
    GUARD.admit(request)
    assert request.preflight
    return lambda: cors.preflight_lines(request, ("GET",), any_method=True)


def chunks(times: int) -> Callable[[], object]:
    return lambda: ChunkedReader().feed(b"1;a=b\r\nx\r\n" * times)


def chunk_octets(times: int) -> Callable[[], object]:
    def feed() -> None:
        reader = ChunkedReader()
        for _ in range(times):
            reader.feed(b"1\r\n")
            reader.feed(b"x")
            reader.feed(b"\r\n")

    return feed


COSTS: dict[str, Callable[[int], Callable[[], object]]] = {
    "request, many fields": lambda n: lambda: parsed(head(b"X-A: b", n // 16)),
    "request, many Connections": lambda n: lambda: parsed(head(b"Connection: " + b"a," * 100, n // 16)),
    "request, many Referers": lambda n: forwarded(head(b"Referer: http://localhost/p/x", n // 16)),
    "request, many hops": lambda n: forwarded(head(b"X-Forwarded-For: 1.2.3.4\r\nVia: 1.1 a", n // 16)),
    "response, many cookies": lambda n: turned_back(
        b"HTTP/1.1 200 OK" + b"\r\nSet-Cookie: a=b; Path=/base" * (n // 16)
    ),
    "request, a long path": lambda n: lambda: parsed(b"GET /" + b"a/" * n + b" HTTP/1.1\r\nHost: localhost"),
    "request, one long Connection": lambda n: lambda: parsed(head(b"Connection: " + b"a," * n, 1)),
    "request, a list of TE": lambda n: lambda: parsed(head(b"TE: " + b"a," * n, 1)),
    "request, a long Forwarded-For": lambda n: forwarded(head(b"X-Forwarded-For: " + b"1.2.3.4, " * n, 1)),
    "request, a long Via": lambda n: forwarded(head(b"Via: " + b"1.1 a, " * n, 1)),
    "request, a long Referer": lambda n: forwarded(head(b"Referer: http://localhost/p/" + b"a/" * n, 1)),
    "request, a long Origin": lambda n: forwarded(head(b"Origin: http://" + b"a" * n, 1)),
    "request, a long Host": lambda n: lambda: GUARD.admit(parsed(b"GET / HTTP/1.1\r\nHost: " + b"a" * n)),
    "request, a long authority": lambda n: (
        lambda: GUARD.admit(parsed(b"GET http://" + b"a" * n + b"/ HTTP/1.1\r\nHost: " + b"a" * n))
    ),
    "target, dots": lambda n: (
        lambda: PathMap("/p", "/base", strip_prefix=True).map(b"/p/" + b"..;" * n, b"/p/" + b"..;" * n)
    ),
    "target, escapes": lambda n: (
        lambda: PathMap("/p", "", strip_prefix=True).map(b"/p" + b"/%2e%" * n, b"/p" + b"/%2e%" * n)
    ),
    "target, escapes of escapes": lambda n: (
        lambda: PathMap("/p", "", strip_prefix=True).map(b"/p" + b"/%25c0" * n, b"/p" + b"/%25c0" * n)
    ),
    "preflight": preflight,
    "response, a long Connection": lambda n: (
        lambda: parse_response(b"HTTP/1.1 200 OK\r\nConnection: " + b"a," * n)
    ),
    "response, a long cookie": lambda n: turned_back(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b" + b"; Path=/base/x" * n
    ),
    "response, a cookie of domains": lambda n: turned_back(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b" + b"; Domain=run.app" * n
    ),
    "response, a long Location": lambda n: turned_back(
        b"HTTP/1.1 302 OK\r\nLocation: https://a.run.app/" + b"base/" * n
    ),
    "response, a challenge": lambda n: lambda: is_googles_invalid_token(b"Bearer " + b'error="' * n),
    "chunks": chunks,
    "chunks, piece by piece": chunk_octets,
    "trace": lambda n: (
        lambda: trace_of([b"traceparent: 01-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01" + b"-x" * n + b"\r\n"])
    ),
    "a masked line": lambda n: lambda: mask("eyJ." * n + "bearer " * n + "-----BEGIN " * n),
}


@for_each("name", COSTS)
def test_twice_the_input_takes_twice_the_steps_at_most(name: str) -> None:
    def cost(times: int) -> int:
        call = COSTS[name](times)

        def tried() -> None:
            with contextlib.suppress(ProxyError):  # to refuse costs something too
                call()

        tried()  # what is remembered by now is not new the second time
        return steps_of(tried)

    once, twice = cost(1_000), cost(2_000)
    assert twice <= 2.1 * once + 50


class Searched(bytes):
    """Octets that count how many of them are searched."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(sub, start, len(self) if end is None else end)
        Searched.looked_at += (len(self) if found < 0 else found) - start
        return found

    def __add__(self, other: Any) -> Searched:
        return Searched(super().__add__(other))


def test_a_receiver_s_head_that_comes_octet_by_octet_is_searched_once() -> None:
    def looked_at(octets: int) -> int:
        connection = UpstreamConnection(cast("Any", None))
        connection.listener = cast("Any", object())
        Searched.looked_at = 0
        for octet in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * octets:
            connection.data_received(Searched(bytes((octet,))))
        return Searched.looked_at

    assert looked_at(4_000) <= 2.1 * looked_at(2_000)


def test_a_refusal_s_list_of_receivers_is_made_once() -> None:
    guard = Guard(upstreams=[f"s{n}.a.run.app" for n in range(5_000)])

    def refused() -> None:
        with pytest.raises(ProxyError):
            guard.admit(parse_request(b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test"))

    refused()
    assert steps_of(refused) < 1_000
