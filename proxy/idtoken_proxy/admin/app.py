"""The admin listener: /startup, /readiness, /liveness, /metrics, / (the status page), /api/status and /api/history, which
feed it, and POST /quitquitquit.

Readiness tells of this proxy (started, a valid token for every route, not draining), never of a receiver's passing
trouble: a probe that fails with the receiver takes the app down with it.

Whoever reaches it may read. To end the proxy is for its own machine alone: the peer of the connection decides that, and
nothing that a request says.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import socket
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from idtoken_proxy.admin import status
from idtoken_proxy.admin.aiohttp_listener import LAST_ANSWERS, AiohttpListener
from idtoken_proxy.admin.history import History
from idtoken_proxy.admin.place import Place
from idtoken_proxy.admin.unreadable import KEPT_TO_ITSELF, NAME, expect
from idtoken_proxy.policy.guard import LOOPBACK_NAMES, name_of
from idtoken_proxy.settings.model import Address, Settings

if TYPE_CHECKING:
    from idtoken_proxy.admin.exposition import Exposition


class Controllable(status.StatusSource, Protocol):
    """What the operator may ask of the server, besides what it lets see."""

    @property
    def started(self) -> bool: ...

    @property
    def settings(self) -> Settings:
        """Those in force."""

    def quit(self, **why: str) -> None:
        """Begins the drain, and returns at once."""


class Admin:
    def __init__(self, server: Controllable, place: Place) -> None:
        """`place`: bound."""
        self.address = place.address
        self._listener = AiohttpListener(place, lambda: server.settings.timeouts.header)
        self._server = server
        self._exposition: Exposition | None = None
        self._rendering = asyncio.Lock()
        self._history = History(lambda: server.context)
        self._keeping: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What was really bound."""
        return self._listener.addresses

    async def start(self) -> None:
        app = web.Application(middlewares=[self._keep_time, self._own_host_only])
        app.on_response_prepare.append(_keep_to_itself)
        pages = {
            "/startup": self._started,
            "/readiness": self._ready,
            "/liveness": self._alive,
            "/metrics": self._metrics,
            "/": self._page,
            "/api/status": self._status,
            "/api/history": self._kept,
        }
        for path, handler in pages.items():
            app.router.add_get(path, handler, expect_handler=expect)
            app.router.add_route("*", path, _not_allowed("GET", "HEAD"), expect_handler=expect)
        # Never GET: a link must not end anything.
        app.router.add_post("/quitquitquit", self._quit, expect_handler=expect)
        app.router.add_route("*", "/quitquitquit", _not_allowed("POST"), expect_handler=expect)
        app.router.add_route("*", "/{path:.*}", _not_found, expect_handler=expect)
        await self._listener.start(web.AppRunner(app, handle_signals=False, shutdown_timeout=LAST_ANSWERS))
        self._keeping = asyncio.ensure_future(self._history.keep())

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        await self._listener.stop()

    async def _started(self, _request: web.Request) -> web.Response:
        return _verdict(self._server.started, "not started")

    async def _ready(self, _request: web.Request) -> web.Response:
        return _verdict(self._server.ready, "not ready")

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._exposition is None:
            # The library takes memory that a proxy does without which nobody scrapes.
            written = await asyncio.to_thread(importlib.import_module, "idtoken_proxy.admin.exposition")
            self._exposition = written.Exposition(self._server)
        async with self._rendering:  # one at a time: a thousand routes take a while
            body, content_type = await self._exposition.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _page(self, _request: web.Request) -> web.Response:
        text, headers = await asyncio.to_thread(status.page)
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _status(self, _request: web.Request) -> web.Response:
        told = []
        for piece in status.pieces(self._server):
            told.append(piece)
            await asyncio.sleep(0)
        headers = {"Cache-Control": "no-store"}
        return web.Response(text="".join(told), content_type="application/json", headers=headers)

    async def _kept(self, _request: web.Request) -> web.Response:
        return web.json_response(self._history.report(), headers={"Cache-Control": "no-store"})

    async def _quit(self, request: web.Request) -> web.Response:
        if not _comes_from_here(request.transport):
            raise web.HTTPForbidden(
                text="only this machine itself may end the proxy: send its process SIGTERM, or ask there, by way of "
                "localhost or a unix socket (admin: unix:/PATH)\n"
            )
        self._server.quit(asked_by="POST /quitquitquit")
        return web.Response(text="draining\n")

    @web.middleware
    async def _own_host_only(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """As on the proxy's own listener: a page that rebinds its name to 127.0.0.1 reads nothing here."""
        transport = request.transport
        if transport is None:
            return await handler(request)
        if transport.get_extra_info("socket").family != socket.AF_UNIX:
            # No page reaches a unix socket; where a port is forwarded to one, they are refused by what browsers say.
            self._judge_name(request, transport)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{request.host.lower()}":
            raise web.HTTPForbidden(text="a page of another origin may not read this\n")
        # Only what browsers say of themselves: no page can set it, and a link from elsewhere opens the status page.
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _opens_page(
            request
        ):
            raise web.HTTPForbidden(text="a page of another site may not read this\n")
        return await handler(request)

    def _judge_name(self, request: web.Request, transport: asyncio.BaseTransport) -> None:
        name = name_of(request.host.encode("utf-8", "surrogateescape"))
        if not name:
            raise web.HTTPForbidden(text="the Host header is not a host name with an optional port\n")
        address = transport.get_extra_info("sockname")[0]
        if name not in LOOPBACK_NAMES and name.strip("[]") != address and not self._is_allowed(name):
            raise web.HTTPForbidden(
                text=f'host "{name}" is not a name of this proxy: add it to guard.allowed_hosts, or ask by an address\n'
            )

    @web.middleware
    async def _keep_time(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await self._listener.answered(request, handler)

    def _is_allowed(self, name: str) -> bool:
        return any(name == allowed.lower() for allowed in self._server.settings.guard.allowed_hosts)


async def _keep_to_itself(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(KEPT_TO_ITSELF | NAME)


def _not_allowed(*methods: str) -> Handler:
    """Aiohttp's own repeats what an unknown Expect says; and so does its 404."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, methods)

    return refuse


async def _not_found(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


def _opens_page(request: web.Request) -> bool:
    """A navigation of a whole tab (https://www.w3.org/TR/fetch-metadata/)."""
    return (
        request.method == "GET"
        and request.path == "/"
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )


def _comes_from_here(transport: asyncio.BaseTransport | None) -> bool:
    """By a unix socket or from a loopback address; whoever is gone already does not."""
    if transport is None:
        return False
    if transport.get_extra_info("socket").family == socket.AF_UNIX:
        return True
    return _is_loopback(transport.get_extra_info("peername")[0])


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback  # ::ffff:127.0.0.1 is what a socket of both families says


def _verdict(good: bool, otherwise: str) -> web.Response:  # noqa: FBT001
    return (
        web.Response(text="ok\n")
        if good
        else web.Response(status=503, text=f"{otherwise}: see /api/status\n")
    )
