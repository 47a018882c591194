"""Health, and the way from a path to a method."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.grpc_services import HEALTH_REQUEST, HEALTH_RESPONSE, SERVICE_UNKNOWN, SERVING
from tests.emulator.grpc_client import dialled, invoker


@pytest.mark.parametrize("service", ["", "idtoken_proxy.Echo", "grpc.health.v1.Health"])
async def test_what_is_served_is_well(emulator: Emulator, service: str) -> None:
    async with dialled(emulator.urls["public"]) as client:
        assert await client.health("Check", service) == {"status": SERVING}


async def test_what_is_not_served_is_not_found(emulator: Emulator) -> None:
    async with dialled(emulator.urls["public"]) as client:
        with pytest.raises(aio.AioRpcError) as told:
            await client.health("Check", "other.Service")
    assert told.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(("service", "status"), [("", SERVING), ("other.Service", SERVICE_UNKNOWN)])
async def test_a_watch_stays_open_until_it_is_cancelled(
    emulator: Emulator, service: str, status: int
) -> None:
    async with dialled(emulator.urls["public"]) as client:
        call = client.health("Watch", service)
        assert await call.read() == {"status": status}
        assert not call.done()
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("path", ["/idtoken_proxy.Echo/Nothing", "/no.Such/Method"])
async def test_an_unknown_method_is_unimplemented(emulator: Emulator, path: str) -> None:
    async with dialled(emulator.urls["public"]) as client:
        with pytest.raises(aio.AioRpcError) as told:
            await client.method("unary_unary", path, request=HEALTH_REQUEST, reply=HEALTH_RESPONSE)({})
    assert told.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert told.value.details() == f"unknown method {path}"


async def test_front_ends_judge_calls_as_they_do_requests(emulator: Emulator) -> None:
    """In HTML, of which a client shows its status alone."""
    refused = {
        "profiles": ((), grpc.StatusCode.PERMISSION_DENIED, "403"),
        "search": (invoker(emulator, "search"), grpc.StatusCode.PERMISSION_DENIED, "403"),
        "members": ((("authorization", "Bearer x"),), grpc.StatusCode.UNAUTHENTICATED, "401"),
        "intranet": ((), grpc.StatusCode.UNAUTHENTICATED, "401"),
    }
    for service, (metadata, code, status) in refused.items():
        async with dialled(emulator.urls[service], metadata) as client:
            with pytest.raises(aio.AioRpcError) as told:
                await client.unary({})
            assert (told.value.code(), told.value.details()) == (
                code,
                f"Received http2 header with status: {status}",
            )
    async with dialled(emulator.urls["search"], invoker(emulator, "search", "indexer")) as client:
        assert (await client.unary({"text": "in"}))["text"] == "in"
