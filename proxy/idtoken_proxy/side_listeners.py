"""The listeners beside the data path: the operator's, and the metadata server. Either's modules are imported only if it
is configured.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from idtoken_proxy.admin.place import Place
from idtoken_proxy.settings.addresses import base_url, is_remote
from idtoken_proxy.settings.model import Address, Settings

if TYPE_CHECKING:
    from idtoken_proxy.admin.app import Admin, Controllable
    from idtoken_proxy.metadata_server.app import Hands, MetadataListener

_METADATA_HOST = "GCE_METADATA_HOST"

log = structlog.get_logger("idtoken_proxy.server")


class _Listener(Protocol):
    """`address`: as the settings give it."""

    @property
    def address(self) -> Address: ...

    @property
    def addresses(self) -> tuple[Address, ...]: ...

    async def stop(self) -> None: ...


L = TypeVar("L", bound=_Listener)


class SideListener(Generic[L]):
    """One listener over reloads. The open one serves until its successor is open too: call `bind`, `open`, then
    `adopt`; or `discard`, if any of them, or anything else, is refused.
    """

    def __init__(
        self,
        place_in: Callable[[Settings], Place | None],
        open_at: Callable[[Place, Settings], Awaitable[L]],
    ) -> None:
        """`place_in`: where settings want the listener, if they do. `open_at`: serves on a bound place."""
        self.current: L | None = None
        self._place_in = place_in
        self._open_at = open_at
        self._place: Place | None = None
        self._next: L | None = None
        self._changes = False

    @property
    def addresses(self) -> tuple[Address, ...]:
        return () if self.current is None else self.current.addresses

    @property
    def all(self) -> tuple[L, ...]:
        """The open listeners: two between `open` and `adopt`."""
        return tuple(one for one in (self.current, self._next) if one is not None)

    async def bind(self, settings: Settings) -> None:
        """Takes the address if `settings` want another than the open one. Raises ListenFailed."""
        place = self._place_in(settings)
        wanted = None if place is None else place.address
        self._changes = wanted != (None if self.current is None else self.current.address)
        if self._changes and place is not None:
            await place.bind()
            self._place = place

    async def open(self, settings: Settings) -> None:
        """Serves what was bound."""
        if self._place is not None:
            self._next = await self._open_at(self._place, settings)
            self._place = None

    async def adopt(self) -> None:
        """The opened listener takes over, and its predecessor ends."""
        if self._changes:
            self._changes = False
            left, self.current, self._next = self.current, self._next, None
            if left is not None:
                await left.stop()

    async def discard(self) -> None:
        """Drops whatever was bound or opened."""
        place, self._place = self._place, None
        opened, self._next = self._next, None
        self._changes = False
        if place is not None:
            await place.close()
        if opened is not None:
            await opened.stop()

    async def close(self) -> None:
        await self.discard()
        if self.current is not None:
            await self.current.stop()


def admin_listener(server: Controllable) -> SideListener[Admin]:
    """The listener of `admin:`."""

    async def open_at(place: Place, _: Settings) -> Admin:
        # Importing aiohttp takes 0.2 s, which the first request shall not wait for.
        app = await asyncio.to_thread(importlib.import_module, "idtoken_proxy.admin.app")
        admin: Admin = app.Admin(server, place)
        await admin.start()
        _log_listening(
            "admin listening",
            admin.addresses,
            remote="whoever reaches this address reads the routes, their audiences and the identity's email",
            remedy="admin: localhost:9090 or unix:/PATH; or let only the monitoring reach it",
        )
        return admin

    return SideListener(lambda settings: None if settings.admin is None else Place(settings.admin), open_at)


def metadata_listener(server: Hands, environ: Mapping[str, str]) -> SideListener[MetadataListener]:
    """The listener of `metadata:`. It serves only what the settings in force hand out, so it may open before they
    change.
    """

    async def open_at(place: Place, settings: Settings) -> MetadataListener:
        app = await asyncio.to_thread(importlib.import_module, "idtoken_proxy.metadata_server.app")
        listener: MetadataListener = app.MetadataListener(server, place)
        await listener.start()
        asked = None if settings.google.metadata_host else environ.get(_METADATA_HOST)
        if asked in {str(bound) for bound in (listener.address, *listener.addresses)}:
            log.warning(
                "the proxy's own tokens are asked of itself",
                variable=_METADATA_HOST,
                remedy=f"set {_METADATA_HOST} for the app alone, or name Google's metadata server: google: {{metadata_host: "
                "metadata.google.internal}",
            )
        _log_listening(
            "metadata server listening",
            listener.addresses,
            remote="whoever reaches this address is handed this identity's tokens",
            remedy="metadata: {listen: localhost:8181}; or let only the app's network reach it",
        )
        return listener

    return SideListener(_metadata_place, open_at)


def _metadata_place(settings: Settings) -> Place | None:
    if settings.metadata is None:
        return None
    return Place(
        settings.metadata.listen,
        key="metadata.listen",
        remedy="choose another address with metadata: {listen: ...}; port 0 takes a free one",
    )


def _log_listening(event: str, addresses: Iterable[Address], *, remote: str, remedy: str) -> None:
    """`remote`: the warning about an address that other machines can reach."""
    for address in addresses:
        log.info(event, address=base_url(address))
        if is_remote(address):
            log.warning(remote, address=base_url(address), remedy=remedy)
