"""Where the admin listener, or the metadata server's face, will be: bound before anything is served, and before aiohttp is
there to serve it.

A port that somebody else has is told of before the log says that the proxy listens, and before a token is fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from idtoken_proxy.engine.listeners import Door, Listeners, ListenFailed, Prepared
from idtoken_proxy.settings.model import Address

_ADMIN_REMEDY: Final = (
    "choose another address, or turn it off, with --admin ADDR|off, with the variable IDTOKEN_PROXY_ADMIN, or with admin: in "
    "the file"
)


class Place:
    """`bind`, then `serve`; `close` at any time. `key`: of the configuration, which says the address; `remedy`: where it
    cannot be bound.
    """

    def __init__(self, address: Address, *, key: str = "admin", remedy: str = _ADMIN_REMEDY) -> None:
        self.address = address
        self._key = key
        self._remedy = remedy
        self._factory: Callable[[], asyncio.Protocol]
        self._listeners = Listeners(self._protocol)
        self._prepared: Prepared | None = None

    def _protocol(self, _: Door) -> asyncio.Protocol:
        return self._factory()

    @property
    def bound(self) -> tuple[Address, ...]:
        """What is really served: both families of localhost, the port that the kernel chose."""
        return self._listeners.bound

    async def bind(self) -> None:
        """Takes no connection yet. ListenFailed."""
        try:
            self._prepared = await self._listeners.prepare([self.address])
        except ListenFailed as error:
            raise ListenFailed(f"{error.detail} ({self._key})", remedy=self._remedy) from None

    async def serve(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self._factory = factory
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        await self._listeners.adopt(prepared)

    async def share(self, *, shared: bool) -> None:
        """As of Listeners: whether other users may open a unix socket."""
        await self._listeners.share(shared=shared)

    async def close(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await prepared.discard()
        await self._listeners.close()
