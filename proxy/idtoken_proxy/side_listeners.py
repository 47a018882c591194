"""The listeners beside the data path: the operator's, and the metadata server's face. What either is made of is imported only
where it is configured.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from idtoken_proxy.admin.place import Place
from idtoken_proxy.settings.addresses import base_url, is_remote
from idtoken_proxy.settings.model import Address, Settings

if TYPE_CHECKING:
    from idtoken_proxy.admin.app import Admin, Controllable
    from idtoken_proxy.metadata_server.app import Hands, MetadataListener

_METADATA_HOST = "GCE_METADATA_HOST"

log = structlog.get_logger("idtoken_proxy.server")


async def bind_admin(address: Address | None) -> Place | None:
    """Where the admin listener will be. ListenFailed."""
    if address is None:
        return None
    place = Place(address)
    await place.bind()
    return place


async def bind_metadata(settings: Settings) -> Place | None:
    """ListenFailed."""
    if settings.metadata is None:
        return None
    place = Place(
        settings.metadata.listen,
        key="metadata.listen",
        remedy="choose another address with metadata: {listen: ...}; port 0 takes a free one",
    )
    await place.bind()
    return place


async def open_admin(server: Controllable, place: Place | None) -> Admin | None:
    if place is None:
        return None
    # aiohttp takes 0.2 s to import, for which the first request shall not wait.
    app = await asyncio.to_thread(importlib.import_module, "idtoken_proxy.admin.app")
    admin: Admin = app.Admin(server, place)
    await admin.start()
    for bound in admin.addresses:
        log.info("admin listening", address=base_url(bound))
        if is_remote(bound):
            log.warning(
                "whoever reaches this address reads the routes, their audiences and the identity's email",
                address=base_url(bound),
                remedy="admin: localhost:9090 or unix:/PATH; or let only the monitoring reach it",
            )
    return admin


async def open_metadata(
    server: Hands, place: Place | None, settings: Settings, environ: Mapping[str, str]
) -> MetadataListener | None:
    if place is None:
        return None
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
    for bound in listener.addresses:
        log.info("metadata server listening", address=base_url(bound))
        if is_remote(bound):
            log.warning(
                "whoever reaches this address is handed this identity's tokens",
                address=base_url(bound),
                remedy="metadata: {listen: localhost:8181}; or let only the app's network reach it",
            )
    return listener
