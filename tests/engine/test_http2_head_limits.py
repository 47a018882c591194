"""Heads beyond what their reader says that it takes, the proxy, the app or the receiver: a status that says so, and nobody
else's stream is any the worse.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h2.settings
import pytest

from idtoken_proxy.engine.http1 import MAX_FIELDS
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2_head_limits import USUAL
from idtoken_proxy.settings.model import Limits, UpstreamProtocol
from tests.engine.http2_peers import Http2Peer, Stream, echo, nothing
from tests.engine.test_http2_downstream import Serve, serve
from tests.engine.wire import eventually

__all__ = ["serve"]  # a fixture

LIMIT = 8192
GRPC = (b"content-type", b"application/grpc")


async def limit(peer: Http2Peer, octets: int = LIMIT) -> None:
    """What it takes, as the other end knows it now."""
    peer.h2.update_settings({h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: octets})
    peer.flush()
    acknowledged = peer.acknowledged
    await peer.until(lambda: peer.acknowledged > acknowledged)


def head_of(octets: int) -> Any:
    """A receiver's script: an answer whose head has so many octets, as RFC 9113 reckons, and whose body follows."""

    def script(stream: Stream) -> None:
        whole = stream.one("x-whole") is not None
        fields = [GRPC, (b"x-fill", b"")]
        used = sum(len(name) + len(value) + 32 for name, value in [(b":status", b"200"), *fields])
        stream.head(GRPC, (b"x-fill", b"x" * (octets - used)), end=whole)
        if not whole:
            stream.data(b"payload")
            stream.end((b"grpc-status", b"0"))

    return script


@pytest.mark.parametrize("whole", [(), ((b"x-whole", b"1"),)], ids=["a body follows", "whole"])
async def test_an_answer_that_the_app_does_not_take(
    serve: Serve, whole: tuple[tuple[bytes, bytes], ...]
) -> None:
    receiver, proxied, app = await serve(head_of(LIMIT + 1))
    await limit(app)
    call = await app.call(*whole, body=b"x").done()
    assert call.grpc[0] == 8
    assert f"has {LIMIT + 1} octets, and the app takes {LIMIT}" in call.grpc[1]
    assert call.body == b""
    plain = await app.request(*whole).done()
    assert (plain.status, plain.one("content-type")) == (502, "application/problem+json")
    assert app.goaways == []
    await proxied.settled(idle=1)
    assert len(receiver.peers) == 1


async def test_an_answer_that_the_app_just_takes(serve: Serve) -> None:
    _, _, app = await serve(head_of(LIMIT))
    await limit(app)
    call = await app.call(body=b"x").done()
    assert (call.status, call.body, call.grpc[0]) == (200, b"payload", 0)


async def test_an_app_without_a_limit(serve: Serve) -> None:
    _, _, app = await serve(head_of(60_000))
    await limit(app, 2**32 - 1)
    assert (await app.call(body=b"x").done()).body == b"payload"


async def test_a_request_that_the_receiver_does_not_take(serve: Serve) -> None:
    receiver, proxied, app = await serve(echo)
    assert (await app.call(body=b"before").done()).body == b"before"
    (peer,) = receiver.peers
    await limit(peer, 16_384)
    going = app.call(body=b"going", end=False)
    call = await app.call((b"x-large", b"x" * 16_000), body=b"large").done()
    assert call.grpc[0] == 8
    assert "the receiver takes 16384" in call.grpc[1]
    plain = await app.request((b"x-large", b"x" * 16_000)).done()
    assert (plain.status, plain.one("content-type")) == (431, "application/problem+json")
    going.end()
    assert (await going.done()).body == b"going"
    fits = await app.call((b"x-large", b"x" * 12_000), body=b"fits").done()
    assert fits.body == b"fits"
    assert len(receiver.peers) == 1
    await proxied.settled(idle=1)


async def test_of_http1_too(serve: Serve) -> None:
    receiver, proxied, _ = await serve(nothing, route={"protocol": UpstreamProtocol.HTTP2})
    first = asyncio.ensure_future(proxied.ask(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    await eventually(lambda: bool(receiver.streams), "it did not come")
    (peer,) = receiver.peers
    await limit(peer, 16_384)
    large = b"GET /b HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 16_000 + b"\r\n\r\n"
    assert (await proxied.ask(large)).status == 431
    receiver.streams[0].head(end=True)
    assert (await first).status == 200


# -- the proxy's own limits ---------------------------------------------------------------------


def filled(octets: int) -> tuple[bytes, bytes]:
    """What a call's head needs to have so many, as RFC 9113 reckons."""
    pairs = [
        *(
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"localhost"),
            (b":path", b"/Echo/Unary"),
        ),
        *(GRPC, (b"te", b"trailers"), (b"x-fill", b"")),
    ]
    return b"x-fill", b"x" * (octets - sum(len(name) + len(value) + 32 for name, value in pairs))


async def test_a_request_beyond_the_proxy_s_limit_costs_itself_alone(serve: Serve) -> None:
    receiver, _, app = await serve(echo, limits=Limits(header_bytes=LIMIT))
    going = app.call(body=b"going", end=False)
    for octets, status in ((LIMIT, 0), (LIMIT + 1, 8), (2 * LIMIT, 8), (LIMIT, 0)):
        call = await app.call(filled(octets), body=b"x").done()
        assert call.grpc[0] == status, octets
        assert not status or f"larger than {LIMIT} octets" in call.grpc[1]
    plain = await app.request((b"x-large", b"x" * LIMIT)).done()
    assert (plain.status, plain.one("content-type")) == (431, "application/problem+json")
    going.end()
    assert (await going.done()).body == b"going"
    assert len(receiver.streams) == 3
    app.call(filled(2 * LIMIT + 1))
    await app.until_lost()
    assert app.goaways[-1][1] == ErrorCode.ENHANCE_YOUR_CALM


async def test_more_fields_than_are_taken(serve: Serve) -> None:
    _, proxied, app = await serve(echo)
    many = [(b"x-%d" % number, b"") for number in range(2 * MAX_FIELDS)]
    assert (await app.call(*many[: MAX_FIELDS - 2], body=b"x").done()).body == b"x"
    call = await app.call(*many[:MAX_FIELDS], body=b"x").done()
    assert (call.grpc[0], f"more than {MAX_FIELDS} header fields" in call.grpc[1]) == (8, True)
    assert proxied.server.context.stats.limits["header_fields"] == 1
    app.call(*many)
    await app.until_lost()
    assert app.goaways[-1][1] == ErrorCode.ENHANCE_YOUR_CALM


def test_usual_heads_are_not_looked_at() -> None:
    """Grpcio takes 8 KiB by default, and no other known client or server less."""
    assert USUAL <= LIMIT // 2
