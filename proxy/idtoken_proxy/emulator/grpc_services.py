"""The services of gRPC that stand in a private service's container, and the way from a path to a method."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp import web

from idtoken_proxy.emulator.container import Delivered
from idtoken_proxy.emulator.grpc_call import CONTENT_TYPE, Call, Code, Status
from idtoken_proxy.emulator.grpc_messages import Field, Kind, Message
from idtoken_proxy.emulator.http2_request import HTTP2

Run: TypeAlias = Callable[[Call], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Method:
    """`run` raises Status where it does not end with OK."""

    name: str
    request: Message
    reply: Message
    run: Run
    client_streams: bool = False
    server_streams: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """`name`: the full one. `file`: the .proto that declares it, `messages` and all. `enums`: by name, its values' names."""

    name: str
    file: str
    messages: tuple[Message, ...]
    methods: tuple[Method, ...]
    enums: tuple[tuple[str, tuple[str, ...]], ...] = ()


def is_grpc(request: web.BaseRequest) -> bool:
    """gRPC-Web (application/grpc-web) is another protocol."""
    content_type = request.headers.get("Content-Type", "")
    return request.version >= HTTP2 and (
        content_type == CONTENT_TYPE or content_type.startswith((CONTENT_TYPE + "+", CONTENT_TYPE + ";"))
    )


class Services:
    """`methods`: by their paths."""

    def __init__(self, *services: Service) -> None:
        self.methods: Mapping[str, Method] = {
            f"/{service.name}/{method.name}": method for service in services for method in service.methods
        }

    async def answer(self, delivered: Delivered) -> web.StreamResponse:
        call = Call(delivered)
        try:
            await self._run(call)
        except Status as status:
            return await call.end(status)
        except TimeoutError:
            return await call.end(Status(Code.DEADLINE_EXCEEDED, "Deadline Exceeded"))
        return await call.end(Status(Code.OK))

    async def _run(self, call: Call) -> None:
        path = call.delivered.request.path.removeprefix(call.delivered.prefix)
        method = self.methods.get(path)
        if method is None:
            raise Status(Code.UNIMPLEMENTED, f"unknown method {path}")
        async with asyncio.timeout(call.seconds):
            await method.run(call)


# -- grpc.health.v1: https://github.com/grpc/grpc/blob/master/doc/health-checking.md ---------------

SERVING: Final = 1
SERVICE_UNKNOWN: Final = 3
HEALTH_STATUS: Final = "grpc.health.v1.HealthCheckResponse.ServingStatus"
HEALTH_REQUEST: Final = Message("grpc.health.v1.HealthCheckRequest", (Field("service", 1, Kind.STRING),))
HEALTH_RESPONSE: Final = Message(
    "grpc.health.v1.HealthCheckResponse", (Field("status", 1, Kind.ENUM, HEALTH_STATUS),)
)


def health(*served: str) -> Service:
    """`served`: the full names of the services beside it. The server as a whole is the empty name."""
    names = {"", "grpc.health.v1.Health", *served}

    async def check(call: Call) -> None:
        asked = await call.request(HEALTH_REQUEST)
        if asked["service"] not in names:
            raise Status(Code.NOT_FOUND, "unknown service")
        await call.send(HEALTH_RESPONSE, {"status": SERVING})

    async def watch(call: Call) -> None:
        asked = await call.request(HEALTH_REQUEST)
        status = SERVING if asked["service"] in names else SERVICE_UNKNOWN
        await call.send(HEALTH_RESPONSE, {"status": status})
        await asyncio.Event().wait()  # nothing changes until the caller has gone

    return Service(
        "grpc.health.v1.Health",
        "grpc/health/v1/health.proto",
        (HEALTH_REQUEST, HEALTH_RESPONSE),
        (
            Method("Check", HEALTH_REQUEST, HEALTH_RESPONSE, check),
            Method("Watch", HEALTH_REQUEST, HEALTH_RESPONSE, watch, server_streams=True),
        ),
        ((HEALTH_STATUS, ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")),),
    )
