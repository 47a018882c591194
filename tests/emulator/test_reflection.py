"""As gRPC's own client of reflection asks, in v1alpha as it does, and in v1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest
from grpc import aio
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.grpc_app import SERVICES
from idtoken_proxy.emulator.reflection import VERSIONS
from tests.emulator.grpc_client import PATIENCE, dialled, invoker
from tests.emulator.test_grpc_descriptors import DescriptorPool

ALL = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "idtoken_proxy.Echo",
]


async def asked(emulator: Emulator, ask: Callable[[ProtoReflectionDescriptorDatabase], object]) -> object:
    """That client blocks."""

    def in_thread() -> object:
        with grpc.insecure_channel(
            emulator.urls["public"].removeprefix("http://"), (("grpc.enable_http_proxy", 0),)
        ) as channel:
            return ask(ProtoReflectionDescriptorDatabase(channel))

    return await asyncio.wait_for(asyncio.to_thread(in_thread), PATIENCE)


async def test_services_are_listed(emulator: Emulator) -> None:
    assert await asked(emulator, lambda database: sorted(database.get_services())) == ALL


async def test_services_are_described(emulator: Emulator) -> None:
    def described(database: ProtoReflectionDescriptorDatabase) -> object:
        pool = DescriptorPool(database)
        return [sorted(pool.FindServiceByName(name).methods_by_name) for name in ALL]

    assert await asked(emulator, described) == [
        ["Check", "Watch"],
        ["ServerReflectionInfo"],
        ["ServerReflectionInfo"],
        ["BidiStream", "ClientStream", "ServerStream", "Unary"],
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_versions_answer_alike(emulator: Emulator, version: str) -> None:
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    method = SERVICES.methods[path]
    async with dialled(emulator.urls["profiles"], invoker(emulator, "profiles")) as client:
        multicallable = client.method("stream_stream", path, request=method.request, reply=method.reply)
        call = multicallable(metadata=client.metadata, timeout=PATIENCE)

        async def answer(**request: object) -> dict[str, object]:
            await call.write({"host": "h", **request})
            said: dict[str, object] = await call.read()
            assert said["valid_host"] == "h"
            return {name: value for name, value in said.items() if name.endswith("response") and value}

        listed = await answer(list_services="")
        assert sorted(one["name"] for one in listed["list_services_response"]["service"]) == ALL  # type: ignore[index]
        for request in (
            {"file_by_filename": "idtoken_proxy/echo.proto"},
            {"file_containing_symbol": "idtoken_proxy.Echo"},
            {"file_containing_symbol": "idtoken_proxy.Echo.Unary"},
            {"file_containing_symbol": "idtoken_proxy.EchoReply.text"},
        ):
            [octets] = (await answer(**request))["file_descriptor_response"]["file_descriptor_proto"]  # type: ignore[index]
            assert b"idtoken_proxy/echo.proto" in octets
        for unknown in (
            {"file_by_filename": "no.proto"},
            {"file_containing_symbol": ""},
            {"file_containing_extension": {"containing_type": "a", "extension_number": 1}},
            {"all_extension_numbers_of_type": "idtoken_proxy.EchoReply"},
        ):
            error = (await answer(**unknown))["error_response"]
            assert error["error_code"] == 5  # type: ignore[index]
        await call.done_writing()
        assert await call.read() is aio.EOF
