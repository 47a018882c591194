"""gRPC apps as they are, grpcio in both of its forms, through the proxy to the emulator's private services."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import grpc
import pytest
from grpc import aio
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.settings.model import FileIdentity, Route, UpstreamProtocol
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


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
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


# -- refusals: what an app's developer reads -----------------------------------------------

# name: (what the route says, the app's metadata, the status, words of its message)
REFUSALS: dict[str, tuple[dict[str, Any], tuple[tuple[str, str], ...], str, str]] = {
    "by the guard": ({}, (("origin", "http://evil.test"),), "PERMISSION_DENIED", "may not use this proxy"),
    "no route": ({"path": "/other"}, (), "UNIMPLEMENTED", "no route matches this host and path"),
    "a method": ({"methods": frozenset({"GET"})}, (), "UNIMPLEMENTED", "does not take POST"),
    "http1": ({"protocol": UpstreamProtocol.HTTP1}, (), "UNIMPLEMENTED", "Take protocol: http1 out"),
    "an audience": ({"audience": "https://other.example"}, (), "UNAUTHENTICATED", "audience"),
    "no token": ({"identity": FileIdentity("/no/token")}, (), "UNAUTHENTICATED", "/no/token"),
    "no such path": ({}, (("x-path", "/nowhere"),), "UNIMPLEMENTED", ""),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_says_what_mends_it(dial: Dial, emulator: Emulator, name: str) -> None:
    route, metadata, code, words = REFUSALS[name]
    plain = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    client = await dial(replace(plain, **route))
    path = dict(metadata).get("x-path", "/idtoken_proxy.Echo/Unary")
    call: Any = client.channel.unary_unary(path)
    with pytest.raises(aio.AioRpcError) as told:
        await call(b"", metadata=metadata, timeout=20)
    assert told.value.code().name == code, told.value
    assert words in str(told.value.details())


async def test_a_missing_role_is_told_with_the_command(
    dial: Dial, emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    async with client.delete(emulator.let_in_url("user-profiles", "login")) as removed:
        assert removed.status < 300
    app = await dial()
    with pytest.raises(aio.AioRpcError) as told:
        await app.unary({})
    assert told.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "run.invoker" in str(told.value.details())


async def test_nobody_there(dial: Dial, emulator: Emulator) -> None:
    plain = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    client = await dial(replace(plain, upstream=replace(plain.upstream, port=9)))
    with pytest.raises(aio.AioRpcError) as told:
        await client.unary({})
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "refuses connections" in str(told.value.details())


async def test_a_receiver_of_http1_alone(keys: Keys, serve: Serve) -> None:
    async with Emulator(DEMO, keys=keys, http2=False) as emulator:
        route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
        server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
        async with dialled(f"http://localhost:{server.addresses[0].port}") as client:
            with pytest.raises(aio.AioRpcError) as told:
                await client.unary({})
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "--use-http2" in str(told.value.details())


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
