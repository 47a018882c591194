"""A proxy with the metadata server's face, in front of the local Google."""

from __future__ import annotations

from typing import Any

from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import MetadataSettings, Scopes, TcpAddress
from tests.end_to_end.conftest import client, emulator, route_to, seen, serve, settings_for

__all__ = ["client", "emulator", "route_to", "seen", "serve", "settings_for"]


def metadata_settings(**changes: Any) -> MetadataSettings:
    usual: dict[str, Any] = {
        "listen": TcpAddress("localhost", 0),
        "identity": MetadataIdentity(),
        "scopes": Scopes(),
    }
    return MetadataSettings(**{**usual, **changes})
