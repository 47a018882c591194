"""The engine behind the bridge: a proxy with one route, on a unix socket that is the bridge's alone.

Tokens, their renewal after a 401, egress proxies, certificates and the words for what fails are then the proxy's own, and there
is no second way in which a token goes anywhere. No TCP port, by which others on this machine could act as its identity.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from idtoken_proxy.mcp.remote import Pace, Remote
from idtoken_proxy.server import Server
from idtoken_proxy.settings.command_line import ONLY_ROUTE, CommandLine
from idtoken_proxy.settings.load import settings_from_options
from idtoken_proxy.settings.model import Settings, UnixAddress

# A tool may be at work for as long as Cloud Run's longest request. A stream that is silent for a while is begun anew: nothing
# tells it from one whose way is lost, after a change of networks, say.
_TIMEOUTS: Final = {"response": "1h", "idle": "10m"}


@dataclass(frozen=True, slots=True)
class Target:
    """`settings`: of one route to the server's whole host. `path`: the endpoint's, with its query."""

    settings: Settings
    path: str

    @classmethod
    def of(cls, url: str, audience: str | None, identity: object, environ: Mapping[str, str]) -> Target:
        """ConfigError."""
        plain, _, query = url.partition("?")
        said = CommandLine(plain, audience, identity=identity, upstream_is="URL")
        settings = settings_from_options(said, environ, {"timeouts": _TIMEOUTS})
        (route,) = settings.routes
        # The server's other paths too: of redirects, and of an `endpoint` event.
        whole = replace(route, upstream=replace(route.upstream, base_path=""))
        path = urlsplit(plain).path or "/"
        return cls(replace(settings, routes=(whole,), admin=None), f"{path}?{query}" if query else path)


@contextlib.asynccontextmanager
async def connected(
    target: Target, environ: Mapping[str, str], pace: Pace | None = None
) -> AsyncIterator[Remote]:
    """ConfigError, ListenFailed."""
    # Whatever started the client waits for that one, and not for its servers.
    environ = {name: value for name, value in environ.items() if name != "NOTIFY_SOCKET"}
    with TemporaryDirectory(prefix="idtoken-proxy-mcp-", ignore_cleanup_errors=True) as directory:
        address = UnixAddress(str(Path(directory) / "proxy.sock"))
        server = Server(replace(target.settings, listen=(address,)), environ)
        await server.start()
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(address.path, limit=0),
                # By a cookie Cloud Run knows which instance has the session (--session-affinity). The way is no network.
                cookie_jar=aiohttp.CookieJar(treat_as_secure_origin=URL("http://localhost")),
                timeout=aiohttp.ClientTimeout(total=None),
            ) as client:
                (route,) = target.settings.routes
                yield Remote(client, route, target.path, server.slots.get(ONLY_ROUTE), pace or Pace())
        finally:
            await server.stop(drain=0)
