"""The application in a private service's container: container.py's pages, and services of gRPC beside them."""

from __future__ import annotations

from aiohttp import web

from idtoken_proxy.emulator import container, grpc_echo
from idtoken_proxy.emulator.container import Delivered
from idtoken_proxy.emulator.grpc_services import Services, health, is_grpc
from idtoken_proxy.emulator.reflection import with_reflection

SERVICES = Services(*with_reflection((grpc_echo.ECHO, health(grpc_echo.NAME))))


async def answer(delivered: Delivered) -> web.StreamResponse:
    if is_grpc(delivered.request):
        return await SERVICES.answer(delivered)
    return await container.answer(delivered)
