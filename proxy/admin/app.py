"""The admin listener: /startup, /readiness, /liveness, /api/status, POST /quitquitquit.

Readiness tells of this proxy (started, a valid token for every route, not draining), never of a receiver's passing
trouble: a probe that fails with the receiver takes the app down with it.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy import __version__
from proxy.engine.listeners import Listeners, ListenFailed
from proxy.policy.guard import LOOPBACK_NAMES
from proxy.settings.model import Address

_LAST_ANSWERS = 1.0  # seconds; whoever still waits for one is not waited for


class Operated(Protocol):
    """What the admin listener may ask of the server."""

    @property
    def started(self) -> bool: ...

    @property
    def ready(self) -> bool: ...

    def quit(self, **why: str) -> None:
        """Begins the drain, and returns at once."""

    def status(self) -> dict[str, Any]:
        """JSON-ready; nothing secret."""


class Admin:
    def __init__(self, server: Operated, address: Address) -> None:
        self.address = address
        self._server = server
        self._runner: web.AppRunner | None = None
        self._listeners: Listeners | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What was really bound."""
        return () if self._listeners is None else self._listeners.bound

    async def start(self) -> None:
        """Raises ListenFailed."""
        app = web.Application(middlewares=[_own_host_only])
        app.add_routes(
            [
                web.get("/startup", self._started),
                web.get("/readiness", self._ready),
                web.get("/liveness", self._alive),
                web.get("/api/status", self._status),
                web.post("/quitquitquit", self._quit),  # never GET: a link must not end anything
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_LAST_ANSWERS
        )
        await self._runner.setup()
        factory = self._runner.server
        assert factory is not None
        self._listeners = Listeners(factory)
        try:
            await self._listeners.listen([self.address])
        except ListenFailed as error:
            await self.stop()
            raise ListenFailed(
                f"{error.detail} (admin)",
                remedy="choose another address with admin: or turn it off with admin: off",
            ) from None

    async def stop(self) -> None:
        if self._listeners is not None:
            await self._listeners.close()
            self._listeners = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _started(self, _request: web.Request) -> web.Response:
        return _verdict(self._server.started, "not started")

    async def _ready(self, _request: web.Request) -> web.Response:
        return _verdict(self._server.ready, "not ready")

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": __version__, **self._server.status()})

    async def _quit(self, _request: web.Request) -> web.Response:
        self._server.quit(asked_by="POST /quitquitquit")
        return web.Response(text="draining\n")


def _verdict(good: bool, otherwise: str) -> web.Response:  # noqa: FBT001
    return (
        web.Response(text="ok\n")
        if good
        else web.Response(status=503, text=f"{otherwise}: see /api/status\n")
    )


@web.middleware
async def _own_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """As on the proxy's own listener: a page that rebinds its name to 127.0.0.1 reads nothing here."""
    transport = request.transport
    if transport is None or transport.get_extra_info("socket").family == socket.AF_UNIX:
        return await handler(request)  # where no page can reach
    name = request.host.rsplit(":", 1)[0].lower() if not request.host.endswith("]") else request.host
    origin = request.headers.get("Origin")
    address = transport.get_extra_info("sockname")[0]
    if name not in LOOPBACK_NAMES and name.strip("[]") != address:
        raise web.HTTPForbidden(text=f'host "{name}" is not a name of this proxy\n')
    if origin is not None and origin.lower() != f"http://{request.host.lower()}":
        raise web.HTTPForbidden(text="a page of another origin may not read this\n")
    return await handler(request)
