"""Streams to one origin: which connection carries them, and how one comes about, over clear text and TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2_pool import Http2Pool
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import ConnectFailed, NoHttp2, TlsFailed, UpstreamTimeout
from idtoken_proxy.settings.model import Upstream
from idtoken_proxy.tls_trust import trust_for_http2
from tests.engine.conftest import Receive
from tests.engine.http2_peers import PREFACE, http2_receiver, nothing
from tests.engine.wire import Receiver, Wire, answering, eventually, ok


@asynccontextmanager
async def pooled(port: int, tls: ssl.SSLContext | None = None, **changes: Any) -> AsyncIterator[Http2Pool]:
    sweeper = Sweeper(0.05)
    pool = Pool(
        Upstream("http" if tls is None else "https", "localhost" if tls else "127.0.0.1", port),
        sweeper,
        tls=tls,
        http2_tls=trust_for_http2(tls),
        **{"keepalive": 60.0, "connect": 5.0, **changes},
    )
    yield pool.http2
    pool.close()
    await eventually(lambda: not pool.http2.live, "connections outlive their pool")
    assert not sweeper.watched
    sweeper.close()


def server_tls(ca: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def client_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def test_one_connection_is_made_for_all_who_wait() -> None:
    async with http2_receiver(nothing) as receiver, pooled(receiver.port) as pool:
        assert pool.take() is None
        await asyncio.gather(*(pool.connect() for _ in range(50)))
        assert (len(receiver.peers), pool.live, pool.idle) == (1, 1, 1)
        assert pool.take() is not None
        assert pool.counts.opened == 1


async def test_more_who_wait_than_it_carries_get_another() -> None:
    async with http2_receiver(nothing) as receiver, pooled(receiver.port) as pool:
        await asyncio.gather(*(pool.connect() for _ in range(150)))
        assert len(receiver.peers) == 2


async def test_fresh_is_another_connection() -> None:
    async with http2_receiver(nothing) as receiver, pooled(receiver.port) as pool:
        await pool.connect()
        await pool.connect(fresh=True)
        assert len(receiver.peers) == 2


async def test_whoever_gives_up_waiting_does_not_end_it_for_the_others() -> None:
    async with http2_receiver(nothing) as receiver, pooled(receiver.port) as pool:
        first, second = (asyncio.ensure_future(pool.connect()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert len(receiver.peers) == 1


async def test_what_comes_about_while_the_pool_is_replaced_is_for_who_asked(receive: Receive) -> None:
    """A reload fails no request that waits for its connection."""
    go = asyncio.Event()

    async def slow(wire: Wire) -> None:
        await wire.until(PREFACE)
        await go.wait()
        wire.send(frames.build_settings({}))

    receiver = await receive(slow)
    async with pooled(receiver.port) as pool:
        asking = asyncio.ensure_future(pool.connect())
        await eventually(lambda: bool(pool.live), "it does not come about")
        pool.close()
        go.set()
        (first, again) = await asking, await pool.connect()  # by whoever has the old settings still
        for stream in (first, again):
            assert stream._connection.usable
            stream._connection.close()
        assert not pool.unspoken


async def test_what_comes_about_for_nobody_goes_with_its_pool(receive: Receive) -> None:
    receiver = await receive(lambda wire: wire.until(PREFACE))
    async with pooled(receiver.port) as pool:
        asking = asyncio.ensure_future(pool.connect())
        await eventually(lambda: bool(pool.live), "it does not come about")
        asking.cancel()
        pool.close()
        await eventually(lambda: not pool.live, "it is still there")


async def test_over_tls_it_is_h2_by_alpn() -> None:
    ca = trustme.CA()
    async with http2_receiver(nothing, server_tls(ca, "h2", "http/1.1")) as receiver:
        async with pooled(receiver.port, client_tls(ca)) as pool:
            await pool.connect()
            assert not pool.unspoken
        tls = receiver.peers[0].transport.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
async def test_a_receiver_that_has_no_h2_by_alpn(protocols: tuple[str, ...]) -> None:
    ca = trustme.CA()
    async with (
        http2_receiver(nothing, server_tls(ca, *protocols)) as receiver,
        pooled(receiver.port, client_tls(ca)) as pool,
    ):
        with pytest.raises(NoHttp2, match="does not speak HTTP/2") as raised:
            await pool.connect()
        assert "--use-http2" in (raised.value.remedy or "")
        assert pool.unspoken
        assert not receiver.streams


async def test_a_receiver_that_refuses_h2_by_an_alert() -> None:
    """As nginx does (RFC 7301 section 3.2): no_application_protocol."""

    async def refuse(wire: Wire) -> None:
        await wire.exactly(1)
        wire.send(b"\x15\x03\x03\0\2\2\x78")
        wire.close()

    async with Receiver(refuse) as receiver, pooled(receiver.port, client_tls(trustme.CA())) as pool:
        with pytest.raises(NoHttp2, match="does not speak HTTP/2"):
            await pool.connect()
        assert pool.unspoken


async def test_a_certificate_that_is_not_good() -> None:
    async with (
        http2_receiver(nothing, server_tls(trustme.CA(), "h2")) as receiver,
        pooled(receiver.port, client_tls(trustme.CA())) as pool,
    ):
        with pytest.raises(TlsFailed, match="certificate"):
            await pool.connect()
        assert not pool.unspoken


async def test_a_receiver_of_http1(receive: Receive) -> None:
    receiver = await receive(answering(ok()))
    async with pooled(receiver.port) as pool:
        with pytest.raises(NoHttp2, match=r"answers in HTTP/1\.1|closed the connection"):
            await pool.connect()


async def test_nobody_there() -> None:
    async with http2_receiver(nothing) as receiver:
        port = receiver.port
    async with pooled(port) as pool:
        with pytest.raises(ConnectFailed, match="refuses"):
            await pool.connect()


async def test_a_receiver_that_says_nothing() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with pooled(server.sockets[0].getsockname()[1], connect=0.1) as pool:
        with pytest.raises(
            UpstreamTimeout, match=r"did not speak HTTP/2 on the connection that it accepted within 0\.1 s"
        ) as late:
            await pool.connect()
        assert "protocol: http1" in str(late.value.remedy)
    server.close()
    await server.wait_closed()


async def test_an_idle_connection_goes_when_it_is_told_to() -> None:
    async with http2_receiver(nothing) as receiver, pooled(receiver.port) as pool:
        await pool.connect()
        receiver.peers[0].goaway(0)
        await eventually(lambda: not pool.live, "it stays")
        assert pool.take() is None
        assert pool.counts.goaways == 1
