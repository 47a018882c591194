"""A developer's own gRPC server behind the fake front end: gRPC's own implementation at both ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc import aio

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.front_ends import SIGNATURE
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import Service
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from tests.emulator.conftest import LOGIN, WORLD
from tests.emulator.grpc_client import Metadata, dialled, invoker
from tests.engine.http2_peers import Stream, http2_receiver
from tests.engine.wire import eventually

LARGE = 3_000_000  # octets: many windows, and less than grpcio's limit for a message


class App:
    """`url`: its own; `metadata`: of the last call."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.url = ""

    async def unary(self, asked: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        context.set_trailing_metadata((("x-why-bin", b"\0\xff"),))
        if asked == b"fail":
            await context.abort(grpc.StatusCode.ABORTED, "100 % of wörds")
        return asked

    async def echo(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for one in requests:
            yield one


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = App()
    server = aio.server()
    handlers: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(app.unary),
        "Echo": grpc.stream_stream_rpc_method_handler(app.echo),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("mine.App", handlers),))
    app.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield app
    await server.stop(0)


class Calls:
    """To the service that an app is, of a caller who may invoke it."""

    def __init__(self, channel: aio.Channel, metadata: Metadata) -> None:
        self._channel = channel
        self._options: dict[str, Any] = {"metadata": metadata, "timeout": 20}

    def unary(self, asked: bytes) -> Any:
        method: Any = self._channel.unary_unary("/mine.App/Unary")
        return method(asked, **self._options)

    def echo(self, **options: Any) -> Any:
        method: Any = self._channel.stream_stream("/mine.App/Echo")
        return method(**(self._options | options))


@asynccontextmanager
async def behind_cloud_run(backend: str, keys: Keys) -> AsyncIterator[Calls]:
    service = Service("mine", frozenset({LOGIN.member}), backend=backend)
    async with (
        Emulator(replace(WORLD, services=(service,)), keys=keys) as emulator,
        dialled(emulator.urls["mine"]) as client,
    ):
        yield Calls(client.channel, invoker(emulator, "mine"))


@pytest.fixture
async def calls(app: App, keys: Keys) -> AsyncIterator[Calls]:
    async with behind_cloud_run(app.url, keys) as calls:
        yield calls


async def test_a_call_and_its_trailers(app: App, calls: Calls) -> None:
    call = calls.unary(b"hello")
    assert await call == b"hello"
    assert dict(await call.trailing_metadata())["x-why-bin"] == b"\0\xff"
    assert app.metadata["authorization"].endswith(SIGNATURE)
    assert app.metadata["x-forwarded-proto"] == "https"


async def test_a_status_without_an_answer(calls: Calls) -> None:
    with pytest.raises(aio.AioRpcError) as told:
        await calls.unary(b"fail")
    assert (told.value.code(), told.value.details()) == (grpc.StatusCode.ABORTED, "100 % of wörds")
    assert dict(told.value.trailing_metadata())["x-why-bin"] == b"\0\xff"


async def test_a_conversation(calls: Calls) -> None:
    call = calls.echo()
    for number in range(20):
        await call.write(b"%d" % number)
        assert await call.read() == b"%d" % number
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_more_than_a_window_holds_both_ways(calls: Calls) -> None:
    assert len(await calls.unary(bytes(LARGE))) == LARGE


async def test_many_at_a_time(calls: Calls) -> None:
    asked = [b"%d" % number for number in range(200)]
    assert await asyncio.gather(*map(calls.unary, asked)) == asked


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
async def test_a_call_that_is_given_up_is_so_at_the_app_too(keys: Keys, how: str) -> None:
    def begun(stream: Stream) -> None:
        stream.head((b"content-type", b"application/grpc"))

    async with http2_receiver(begun) as app, behind_cloud_run(f"http://127.0.0.1:{app.port}", keys) as calls:
        call = calls.echo(timeout=20 if how == "cancelled" else 0.3)
        await call.write(b"x")
        await call.initial_metadata()
        if how == "cancelled":
            call.cancel()
        else:
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: app.streams[0].reset == ErrorCode.CANCEL, "the app goes on")
        assert app.streams[0].one("grpc-timeout")


async def unavailable(backend: str, keys: Keys) -> None:
    async with behind_cloud_run(backend, keys) as calls:
        with pytest.raises(aio.AioRpcError) as told:
            await calls.unary(b"x")
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE  # of its 503


async def test_an_app_that_is_not_there(keys: Keys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        await unavailable(f"http://127.0.0.1:{taken.getsockname()[1]}", keys)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b""])
async def test_an_app_that_speaks_no_http2(keys: Keys, says: bytes) -> None:
    """As one that was deployed with --use-http2 and does not serve it."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        await unavailable(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", keys)


async def test_an_app_that_goes_in_the_middle(keys: Keys) -> None:
    peers: list[Stream] = []

    def half(stream: Stream) -> None:
        peers.append(stream)
        stream.head((b"content-type", b"application/grpc"))
        stream.data(b"\0\0\0\0\5hal")
        stream.peer.transport.close()

    async with (
        http2_receiver(half) as receiver,
        behind_cloud_run(f"http://127.0.0.1:{receiver.port}", keys) as calls,
    ):
        with pytest.raises(aio.AioRpcError) as told:
            await calls.unary(b"x")
    assert told.value.code() is not grpc.StatusCode.OK
    assert peers
