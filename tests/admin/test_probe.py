from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import trustme

from idtoken_proxy.admin.probe import Probe, probe
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import BrokenOff, ConnectFailed, MalformedResponse, TlsFailed, UpstreamTimeout
from idtoken_proxy.identity.answer import BODY
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.model import EgressProxy, Route, Timeouts, TokenHeader, Upstream
from tests.cases import for_each
from tests.engine.egress import relaying, saying
from tests.engine.test_tls import certified
from tests.engine.wire import Receiver, Script, Wire, answering, chunked, ok

TOKEN = IdToken("head.claims.signature", audience="aud", expires_at=0)


@pytest.fixture
async def sweeper() -> AsyncIterator[Sweeper]:
    made = Sweeper(0.1)
    yield made
    made.close()
    assert made.watched == 0


def route(port: int, **changes: Any) -> Route:
    usual = {
        "upstream": Upstream("http", "127.0.0.1", port),
        "audience": "aud",
        "timeouts": Timeouts(connect=1.0),
    }
    return Route(**{"name": "shop", **usual, **changes})


def names(found: Probe) -> list[tuple[str, bool]]:
    assert all(0 <= step.seconds < 5 for step in found.steps)
    return [(step.name, step.error is None) for step in found.steps]


async def asked(sweeper: Sweeper, script: Script, **options: Any) -> Probe:
    async with Receiver(script) as receiver:
        return await probe(route(receiver.port), TOKEN, sweeper, None, **options)


async def test_it_asks_as_the_proxy_would(sweeper: Sweeper) -> None:
    async with Receiver(answering(ok(b"hello", "Server: x"))) as receiver:
        found = await probe(route(receiver.port), TOKEN, sweeper, None)
        [request] = receiver.requests
    assert (request.method, request.target) == ("GET", "/")
    assert request.one("host") == f"127.0.0.1:{receiver.port}"
    assert request.one("authorization") == "Bearer head.claims.signature"
    assert request.one("connection") == "close"
    assert found.answer is not None
    assert (found.answer.status, found.answer.server, found.answer.body) == (200, "x", "hello")
    assert found.error is None
    assert found.at > 0
    assert names(found) == [("dns", True), ("tcp", True), ("answer", True)]


async def test_where_the_token_goes_is_the_routes_affair(sweeper: Sweeper) -> None:
    async with Receiver(answering(ok())) as receiver:
        upstream = Upstream("http", "127.0.0.1", receiver.port, "/v1")
        header = TokenHeader.X_SERVERLESS_AUTHORIZATION
        await probe(route(1, upstream=upstream, token_header=header), TOKEN, sweeper, None)
        await probe(route(1, upstream=upstream), None, sweeper, None)
        first, second = receiver.requests
    assert first.target == "/v1"
    assert first.one("x-serverless-authorization") == "Bearer head.claims.signature"
    assert first.one("authorization") is None
    assert second.one("authorization") is None


async def test_what_the_route_adds_is_there_too(sweeper: Sweeper) -> None:
    async with Receiver(answering(ok())) as receiver:
        await probe(route(receiver.port, path="/app", strip_prefix=True), TOKEN, sweeper, None)
        [request] = receiver.requests
    assert (request.target, request.one("x-forwarded-prefix")) == ("/", "/app")


async def test_a_connection_alone_says_nothing(sweeper: Sweeper) -> None:
    async with Receiver(answering(ok())) as receiver:
        found = await probe(route(receiver.port), TOKEN, sweeper, None, ask=False)
        await (await receiver.connection()).gone()
        assert receiver.received == b""
    assert found.answer is None
    assert names(found) == [("dns", True), ("tcp", True)]


@for_each(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, ""),
        (ok(b""), 200, ""),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(b"x"), 200, "x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"c"), 200, "abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", 200, "ab"),
        (ok(b"x" * (BODY + 1)), 200, "x" * BODY),
    ],
    ids=["204", "304", "empty", "interim", "chunked", "cut", "long"],
)
async def test_bodies(sweeper: Sweeper, raw: bytes, status: int, body: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(raw)
        wire.close()

    found = await asked(sweeper, script)
    assert found.answer is not None
    assert (found.answer.status, found.answer.body) == (status, body)


async def test_a_body_until_the_connection_closes(sweeper: Sweeper) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        wire.close()

    found = await asked(sweeper, script)
    assert found.answer is not None
    assert found.answer.body == "abc"


async def test_a_stream_without_end_is_left_after_its_beginning(sweeper: Sweeper) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")
        await wire.gone()

    found = await asked(sweeper, script, patience=0.2)
    assert found.answer is not None
    assert found.answer.body == "data: 1\n\n"

    async def flood(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * BODY)
        wire.send(b"x" * 10)
        await wire.gone()

    found = await asked(sweeper, flood)
    assert found.answer is not None
    assert found.answer.body == "x" * BODY


async def test_a_receiver_that_is_silent(sweeper: Sweeper) -> None:
    async def script(wire: Wire) -> None:
        await wire.gone()

    found = await asked(sweeper, script, patience=0.1)
    assert isinstance(found.error, UpstreamTimeout)
    assert "did not answer within 0.1 s" in found.error.detail
    assert found.steps[-1].error == found.error.detail
    assert names(found) == [("dns", True), ("tcp", True), ("answer", False)]


@pytest.mark.parametrize(("raw", "kind"), [(b"", BrokenOff), (b"SSH-2.0-x\r\n\r\n", MalformedResponse)])
async def test_a_receiver_that_speaks_no_http(sweeper: Sweeper, raw: bytes, kind: type[Exception]) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(raw)
        wire.close()

    found = await asked(sweeper, script)
    assert isinstance(found.error, kind)
    assert names(found) == [("dns", True), ("tcp", True), ("answer", False)]


async def test_nobody_there(sweeper: Sweeper) -> None:
    found = await probe(route(1), TOKEN, sweeper, None)
    assert isinstance(found.error, ConnectFailed)
    assert names(found) == [("dns", True), ("tcp", False)]


async def test_no_such_name(sweeper: Sweeper) -> None:
    found = await probe(route(1, upstream=Upstream("http", "no-such-name.invalid", 80)), TOKEN, sweeper, None)
    assert isinstance(found.error, ConnectFailed)
    assert found.error.proxy_status == "dns_error"
    assert names(found) == [("dns", False)]


async def test_tls(sweeper: Sweeper) -> None:
    ca = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    ca.configure_trust(ours)
    async with Receiver(answering(ok(b"hello")), tls=theirs) as receiver:
        https = route(1, upstream=Upstream("https", "127.0.0.1", receiver.port))
        found = await probe(https, TOKEN, sweeper, ours)
        assert names(found) == [("dns", True), ("tcp", True), ("tls", True), ("answer", True)]
        suspicious = await probe(https, TOKEN, sweeper, ssl.create_default_context())
        assert [request.one("authorization") for request in receiver.requests] == [
            "Bearer head.claims.signature"
        ]
    assert isinstance(suspicious.error, TlsFailed)
    assert names(suspicious) == [("dns", True), ("tcp", True), ("tls", False)]


PASSWORD = "sentinel-of-the-egress-proxy"
UNKNOWN = Upstream("https", "receiver.invalid", 443)


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ours(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def through(port: int, host: str = "127.0.0.1") -> Route:
    return route(1, upstream=UNKNOWN, egress_proxy=EgressProxy(host, port, f"me:{PASSWORD}".encode()))


async def test_through_an_egress_proxy(sweeper: Sweeper, ca: trustme.CA, ours: ssl.SSLContext) -> None:
    """As the data path goes: the receiver's name is not known here."""
    theirs = certified(ca, "receiver.invalid")
    async with Receiver(answering(ok()), tls=theirs) as receiver, Receiver(relaying(receiver)) as egress:
        found = await probe(through(egress.port), TOKEN, sweeper, ours)
        [request] = receiver.requests
        assert b"head.claims.signature" not in egress.received
    assert request.one("authorization") == "Bearer head.claims.signature"
    assert request.one("host") == "receiver.invalid"
    assert found.answer is not None
    assert names(found) == [("dns", True), ("tcp", True), ("connect", True), ("tls", True), ("answer", True)]


async def test_an_egress_proxy_that_says_no(sweeper: Sweeper, ours: ssl.SSLContext) -> None:
    async with Receiver(saying(b"HTTP/1.1 407 No\r\n\r\n")) as egress:
        found = await probe(through(egress.port), TOKEN, sweeper, ours)
        await (await egress.connection()).gone()
    assert isinstance(found.error, ConnectFailed)
    assert names(found) == [("dns", True), ("tcp", True), ("connect", False)]
    assert found.steps[-1].error == found.error.detail
    assert "answered 407" in found.error.detail
    assert PASSWORD not in repr(found)


async def test_an_egress_proxy_that_hangs(sweeper: Sweeper, ours: ssl.SSLContext) -> None:
    async with Receiver(saying(b"")) as egress:
        one = replace(through(egress.port), timeouts=Timeouts(connect=0.5))
        found = await probe(one, TOKEN, sweeper, ours)
    assert isinstance(found.error, UpstreamTimeout)
    assert names(found) == [("dns", True), ("tcp", True), ("connect", False)]


async def test_an_egress_proxy_that_is_not_there(sweeper: Sweeper, ours: ssl.SSLContext) -> None:
    found = await probe(through(1), TOKEN, sweeper, ours)
    assert isinstance(found.error, ConnectFailed)
    assert found.error.detail == "the egress proxy 127.0.0.1:1 refuses connections"
    assert names(found) == [("dns", True), ("tcp", False)]
    found = await probe(through(1, "egress.invalid"), TOKEN, sweeper, ours)
    assert isinstance(found.error, ConnectFailed)
    assert "the name egress.invalid of the egress proxy" in found.error.detail
    assert names(found) == [("dns", False)]


async def test_an_egress_proxy_that_opens_tls(sweeper: Sweeper, ca: trustme.CA, ours: ssl.SSLContext) -> None:
    theirs = certified(trustme.CA(), "receiver.invalid")
    async with Receiver(answering(ok()), tls=theirs) as opener, Receiver(relaying(opener)) as egress:
        found = await probe(through(egress.port), TOKEN, sweeper, ours)
        assert opener.requests == []
    assert isinstance(found.error, TlsFailed)
    assert names(found) == [("dns", True), ("tcp", True), ("connect", True), ("tls", False)]


async def test_a_probe_that_is_given_up_leaves_nothing(sweeper: Sweeper) -> None:
    async def script(wire: Wire) -> None:
        await wire.gone()

    async with Receiver(script) as receiver:
        task = asyncio.ensure_future(probe(route(receiver.port), TOKEN, sweeper, None))
        wire = await receiver.connection()
        await wire.until(b"\r\n\r\n")
        task.cancel()
        await wire.gone()
        with pytest.raises(asyncio.CancelledError):
            await task
