"""gRPC apps as they are, grpcio in both of its forms, through the proxy to the emulator's private services."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.settings.model import Route
from tests.cases import for_each
from tests.emulator.grpc_client import Client, dialled
from tests.end_to_end.conftest import Serve, route_to, settings_for

Dial = Callable[..., Awaitable[Client]]
CALLS = 1000  # at a time
COMMAND = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
echo = channel.unary_unary("/idtoken_proxy.Echo/Unary")
answer, call = echo.with_call(b"\\x0a\\x05hello", metadata=[("x-echo-trailing-bin", b"\\x00\\xff")], timeout=20)
print(answer, dict(call.trailing_metadata())["x-echo-trailing-bin"])
streamed = channel.unary_stream("/idtoken_proxy.Echo/ServerStream")(b"\\x18\\x03", timeout=20)
print(len(list(streamed)))
"""


@pytest.fixture
async def dial(emulator: Emulator, serve: Serve) -> AsyncIterator[Dial]:
    """An app's channel to a proxy, with one route to user-profiles."""
    async with AsyncExitStack() as stack:

        async def begin(route: Route | None = None, **changes: Any) -> Client:
            one = route or route_to(emulator, "user-profiles", path="/", strip_prefix=False)
            server = await serve(settings_for(one, metadata_host=emulator.metadata_host, **changes))
            url = f"http://localhost:{server.addresses[0].port}"
            return await stack.enter_async_context(dialled(url))

        yield begin


async def test_all_four_kinds(dial: Dial) -> None:
    client = await dial()
    answer = await client.unary({"text": "hallo, wörld", "tell": True}, ("k-bin", b"\0\xff"), ("x-a", "b"))
    assert (answer["text"], answer["service"]) == ("hallo, wörld", "user-profiles")
    assert answer["caller"].startswith("login@")
    came = {one["name"]: one["value"] for one in answer["metadata"]}
    assert (came["te"], came["x-a"], came["k-bin"]) == ("trailers", "b", "AP8")
    answers = [one async for one in client.server_stream({"count": 20, "answer_octets": 50_000})]
    assert [len(one["payload"]) for one in answers] == [50_000] * 20
    up = client.client_stream()
    for number in range(20):
        await up.write({"text": str(number), "payload": bytes(50_000)})
    await up.done_writing()
    assert (await up)["octets"] == 1_000_000
    both = client.bidi_stream()
    for number in range(5):
        await both.write({"text": str(number)})
        assert (await both.read())["text"] == str(number)
    await both.done_writing()
    assert await both.read() is aio.EOF
    assert await both.code() is grpc.StatusCode.OK


async def test_metadata_and_trailers_come_back(dial: Dial) -> None:
    client = await dial()
    call = client.unary({}, ("x-echo-initial", "first"), ("x-echo-trailing-bin", b"\0\1\xff"))
    assert dict(await call.initial_metadata())["x-echo-initial"] == "first"
    assert dict(await call.trailing_metadata())["x-echo-trailing-bin"] == b"\0\1\xff"


@for_each("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_a_service_s_own_status_passes(dial: Dial, code: grpc.StatusCode) -> None:
    client = await dial()
    with pytest.raises(aio.AioRpcError) as told:
        await client.unary({"status": code.value[0], "message": "100 % of wörds"})
    assert (told.value.code(), told.value.details()) == (code, "100 % of wörds")


async def test_health_and_reflection(dial: Dial, emulator: Emulator, serve: Serve) -> None:
    client = await dial()
    assert (await client.health("Check", ""))["status"] == 1
    route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host))

    def reflected() -> list[str]:
        with grpc.insecure_channel(f"localhost:{server.addresses[0].port}") as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert "idtoken_proxy.Echo" in await asyncio.to_thread(reflected)


async def test_a_thousand_calls_at_a_time(dial: Dial) -> None:
    client = await dial()
    answers = await asyncio.gather(
        *(client.unary({"text": str(number), "delay_ms": 20}, timeout=60) for number in range(CALLS))
    )
    assert [answer["text"] for answer in answers] == [str(number) for number in range(CALLS)]


async def test_a_route_s_host_by_the_channel_s_authority(emulator: Emulator, serve: Serve) -> None:
    """For whose resolver knows no name under localhost."""
    route = route_to(emulator, "user-profiles", host="echo.localhost", path="/", strip_prefix=False)
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
    port = server.addresses[0].port
    authority = ("grpc.default_authority", f"echo.localhost:{port}")
    async with aio.insecure_channel(f"localhost:{port}", options=(authority,)) as channel:
        assert (await Client(channel).unary({"text": "by name"}))["text"] == "by name"


async def test_a_deadline_is_the_app_s(dial: Dial) -> None:
    client = await dial()
    with pytest.raises(aio.AioRpcError) as told:
        await client.unary({"delay_ms": 5000}, timeout=0.2)
    assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_cancellation_reaches_the_service(keys: Keys, serve: Serve) -> None:
    cancelled: list[Any] = []
    async with Emulator(DEMO, keys=keys, on_cancel=cancelled.append) as emulator:
        route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
        server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
        async with dialled(f"http://localhost:{server.addresses[0].port}") as client:
            call = client.server_stream({"count": 1000, "delay_ms": 20})
            await call.read()
            call.cancel()
            async with asyncio.timeout(10):
                while not cancelled:
                    await asyncio.sleep(0.01)
        assert cancelled[0].method == "POST"


async def test_connections_that_age_lose_no_call(dial: Dial, emulator: Emulator) -> None:
    client = await dial()
    emulator.break_with("connection-age")
    for number in range(60):
        assert (await client.unary({"text": str(number)}))["text"] == str(number)


async def test_grpcio_s_synchronous_form(emulator: Emulator, serve: Serve) -> None:
    route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, f"localhost:{server.addresses[0].port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert "hello" in lines[0]
    assert r"b'\x00\xff'" in lines[0]
    assert lines[1] == "3"
