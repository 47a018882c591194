"""A way to the receiver that is lost without a word, and a receiver that has merely nothing to say: over TLS, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trustme

from idtoken_proxy.engine.http2_liveness import ANSWERED, RARELY, SILENT
from idtoken_proxy.settings.model import Timeouts, Upstream
from tests.engine.conftest import Start
from tests.engine.http2_peers import Http2Peer, Http2Receiver, Stream, http2_app, http2_receiver
from tests.engine.proxied import Proxied
from tests.engine.test_http2_pool import server_tls
from tests.engine.wire import eventually

PATIENT = Timeouts(response=10_000, idle=10_000)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@dataclass
class World:
    receiver: Http2Receiver
    proxied: Proxied
    app: Http2Peer

    async def called(self, connections: int = 1) -> Stream:
        """A call that has come to the receiver's last connection, of so many."""
        call = self.app.call(body=b"x", end=False)
        await eventually(
            lambda: len(self.receiver.peers) == connections and bool(self.receiver.peers[-1].streams),
            "it did not come",
        )
        return call

    async def answered(self) -> None:
        """What was asked of the receiver has been answered."""
        (one,) = self.proxied.pool.http2.connections
        await eventually(lambda: not one.liveness.silent, "no octet came")


def asked_so_often(peer: Http2Peer, times: int) -> bool:
    return peer.pings == times


def greets(stream: Stream) -> None:
    """A receiver's script: a stream that begins, and goes on as the test says."""
    stream.head((b"content-type", b"application/grpc"))


@asynccontextmanager
async def world(start: Start, ca: trustme.CA, tmp_path: Path, *, tls: bool = True) -> AsyncIterator[World]:
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    async with http2_receiver(greets, server_tls(ca, "h2") if tls else None) as receiver:
        upstream = Upstream("https" if tls else "http", "127.0.0.1", receiver.port)
        proxied = await start(
            receiver.port, timeouts=PATIENT, route={"upstream": upstream}, ca_file=str(file) if tls else None
        )
        app = await http2_app(proxied.port)
        try:
            yield World(receiver, proxied, app)
        finally:
            app.transport.abort()
            for peer in receiver.peers:
                peer.transport.resume_reading()


async def test_a_receiver_that_answers_no_more_is_given_up_and_another_way_taken(
    start: Start, ca: trustme.CA, tmp_path: Path
) -> None:
    async with world(start, ca, tmp_path) as at:
        calls = [await at.called() for _ in range(3)]
        await calls[-1].until(lambda call: call.status == 200)
        (lost,) = at.receiver.peers
        lost.transport.pause_reading()
        await at.proxied.elapse(SILENT)
        await at.proxied.elapse(ANSWERED - 1)
        assert [call.ended for call in calls] == [False] * 3
        await at.proxied.elapse(1)
        for call in calls:
            await call.done()
            status, message = call.grpc
            assert status == 14
            assert "no answer to a PING within 15 s. Remedy: say it again" in message
        after = await at.called(connections=2)
        await after.until(lambda call: call.status == 200)
        assert lost is not at.receiver.peers[-1]


async def test_a_call_on_what_was_idle_finds_out_at_once(
    start: Start, ca: trustme.CA, tmp_path: Path
) -> None:
    async with world(start, ca, tmp_path) as at:
        first = await at.called()
        await first.until(lambda call: call.status == 200)
        first.cancel()
        await at.proxied.settled(idle=1)
        (lost,) = at.receiver.peers
        lost.transport.pause_reading()
        await at.proxied.elapse(SILENT + 10)
        second = at.app.call(body=b"x", end=False)
        await eventually(lambda: at.proxied.pool.http2.idle == 0, "it has no connection")
        await at.proxied.elapse(ANSWERED)
        await second.done()
        assert second.grpc[0] == 14


async def test_a_receiver_with_nothing_to_say_keeps_its_streams(
    start: Start, ca: trustme.CA, tmp_path: Path
) -> None:
    async with world(start, ca, tmp_path) as at:
        call = await at.called()
        await call.until(lambda call: call.status == 200)
        for number, seconds in enumerate((SILENT, SILENT, RARELY, RARELY)):
            for _ in range(int(seconds / 5)):
                await at.proxied.elapse(5)
            (peer,) = at.receiver.peers
            await peer.until(partial(asked_so_often, peer, number + 1))
            await at.answered()
        (asked,) = at.receiver.streams
        asked.data(b"at last")
        await call.until(lambda call: call.body == b"at last")


async def test_in_clear_text_who_stands_still_is_in_a_debugger(
    start: Start, ca: trustme.CA, tmp_path: Path
) -> None:
    async with world(start, ca, tmp_path, tls=False) as at:
        call = await at.called()
        await call.until(lambda call: call.status == 200)
        at.receiver.peers[0].transport.pause_reading()
        for _ in range(20):
            await at.proxied.elapse(60)
        await asyncio.sleep(0)
        assert (call.ended, call.reset) == (False, None)
