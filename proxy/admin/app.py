"""The admin listener: /startup, /readiness, /liveness, /api/status.

Readiness tells of this proxy (started, a valid token for every route, not draining), never of a receiver's passing
trouble: a probe that fails with the receiver takes the app down with it.
"""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from proxy import __version__
from proxy.policy.guard import LOOPBACK_NAMES
from proxy.settings.model import TcpAddress


class Operated(Protocol):
    """What the admin listener may ask of the server."""

    @property
    def ready(self) -> bool: ...

    def status(self) -> dict[str, Any]:
        """JSON-ready; nothing secret."""


class Admin:
    def __init__(self, server: Operated) -> None:
        self._server = server
        self._runner: web.AppRunner | None = None
        self.addresses: tuple[TcpAddress, ...] = ()

    async def start(self, address: TcpAddress) -> None:
        """Raises OSError where the address cannot be bound."""
        app = web.Application(middlewares=[_own_host_only])
        app.add_routes(
            [
                web.get("/startup", self._ready),
                web.get("/readiness", self._ready),
                web.get("/liveness", self._alive),
                web.get("/api/status", self._status),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        host = "127.0.0.1" if address.host == "localhost" else address.host
        try:
            await web.TCPSite(self._runner, host, address.port).start()
        except OSError:
            await self.stop()
            raise
        self.addresses = tuple(TcpAddress(bound[0], bound[1]) for bound in self._runner.addresses)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _ready(self, _request: web.Request) -> web.Response:
        if self._server.ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="not ready: see /api/status\n")

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": __version__, **self._server.status()})


@web.middleware
async def _own_host_only(request: web.Request, handler: Any) -> web.StreamResponse:
    """As on the proxy's own listener: a page that rebinds its name to 127.0.0.1 reads nothing here."""
    name = request.host.rsplit(":", 1)[0].lower() if not request.host.endswith("]") else request.host
    origin = request.headers.get("Origin")
    address = request.transport.get_extra_info("sockname")[0] if request.transport is not None else ""
    if name not in LOOPBACK_NAMES and name.strip("[]") != address:
        raise web.HTTPForbidden(text=f'host "{name}" is not a name of this proxy\n')
    if origin is not None and origin.lower() != f"http://{request.host.lower()}":
        raise web.HTTPForbidden(text="a page of another origin may not read this\n")
    response: web.StreamResponse = await handler(request)
    return response
