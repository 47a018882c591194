"""A listener that aiohttp answers at, beside the data path: the admin listener, and the metadata server's face.

Its connections are bounded in number and in time (connections.py), and what cannot be read is answered in our words
(unreadable.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web

from idtoken_proxy.admin.connections import Connections
from idtoken_proxy.admin.place import Place
from idtoken_proxy.admin.unreadable import handlers
from idtoken_proxy.settings.model import Address

# Seconds; whoever still waits for an answer at the end is not waited for.
LAST_ANSWERS: Final = 1.0

_Request = TypeVar("_Request", bound=web.BaseRequest)


class AiohttpListener:
    """`start`, then `stop`, which may also come without it."""

    def __init__(self, place: Place, head_timeout: Callable[[], float], *, name: str = "admin") -> None:
        """`place`: bound. `head_timeout`: seconds for a request's head. `name`: for the log."""
        self._place = place
        self._head_timeout = head_timeout
        self._name = name
        self._runner: web.BaseRunner | None = None
        self._connections: Connections | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What was really bound."""
        return self._place.bound

    async def start(self, runner: web.BaseRunner) -> None:
        self._runner = runner
        await runner.setup()
        server = runner.server
        assert server is not None
        self._connections = Connections(handlers(server), self._head_timeout, listener=self._name)
        await self._place.serve(self._connections)

    async def share(self, *, shared: bool) -> None:
        """Whether other users may open a unix socket; who they are is looked at with each request."""
        await self._place.share(shared=shared)

    async def stop(self) -> None:
        await self._place.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._connections is not None:
            self._connections.close()
            self._connections = None

    async def answered(
        self, request: _Request, handler: Callable[[_Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The handler's answer; its connection is told when the work on it begins and when it ends."""
        connection = None if self._connections is None else self._connections.of(request.transport)
        if connection is None:
            return await handler(request)
        connection.begin()
        try:
            return await handler(request)
        finally:
            connection.answer()
