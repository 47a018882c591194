"""`idtoken-proxy demo`: the local Google, three private services and the proxy in one process, and lines to paste.

The story is Google's own (https://cloud.google.com/run/docs/authenticating/service-to-service): the login service
may call user-profiles, and may not call search.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import click
import uvloop

from proxy import logs
from proxy.emulator import DEMO, Emulator
from proxy.emulator.command import stop_requested
from proxy.server import ListenFailed, Server
from proxy.settings.model import (
    GoogleEndpoints,
    LogSettings,
    MetadataIdentity,
    Route,
    Settings,
    TcpAddress,
    Upstream,
)

PORT = 8080
DRAIN = 1.0  # seconds: an event stream left open in the other terminal does not hold up Ctrl-C


def run() -> int:
    """The exit code: 0 after Ctrl-C or SIGTERM."""
    logs.configure(LogSettings(level="warning"))
    uvloop.run(_serve())
    return 0


async def _serve() -> None:
    stop = stop_requested()
    async with Emulator(DEMO) as emulator:
        server = await _start(emulator)
        try:
            for line in lines_to_paste(emulator, server.addresses[0].port):
                click.echo(line)
            await stop.wait()
        finally:
            await server.stop(drain=DRAIN)


async def _start(emulator: Emulator) -> Server:
    """On the port that everyone remembers, or, where that is taken, on any."""
    try:
        return await _started(settings_for(emulator, PORT))
    except ListenFailed:
        return await _started(settings_for(emulator, 0))


async def _started(settings: Settings) -> Server:
    server = Server(settings)
    await server.start()
    return server


def settings_for(emulator: Emulator, port: int) -> Settings:
    """One route a service, its name as the path: /user-profiles/42 goes to user-profiles as /42."""
    return Settings(
        routes=tuple(_route(name, url) for name, url in emulator.urls.items()),
        listen=(TcpAddress("localhost", port),),
        admin=None,
        google=GoogleEndpoints(metadata_host=emulator.metadata_host),
    )


def lines_to_paste(emulator: Emulator, port: int) -> Iterator[str]:
    profiles = emulator.urls["user-profiles"]
    proxy = f"http://localhost:{port}"
    if port != PORT:
        yield f"# Port {PORT} is taken; the proxy listens on {port}."
    yield "# A proxy, a local Google and three private services are running. In a second terminal:"
    yield ""
    yield "# A private service refuses a caller without a token: 403"
    yield f"curl -i {profiles}/42"
    yield "# The same through the proxy, which attaches one: 200"
    yield f"curl -i {proxy}/user-profiles/42"
    yield "# With a good token, but as a caller who may not invoke it: 403, from the service"
    yield f"curl -i '{proxy}/search/q?x=1'"
    yield "# Server-sent events, as they come"
    yield f"curl -N '{proxy}/billing/events?interval=1'"
    yield "# A WebSocket's handshake: 101, and then its bytes pass"
    yield (
        f"curl -i -N --max-time 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket'"
        f" -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='"
        f" {proxy}/user-profiles/ws"
    )
    yield ""
    yield "# Ctrl-C ends all of it."


def _route(name: str, url: str) -> Route:
    parts = urlsplit(url)
    return Route(
        name=name,
        upstream=Upstream("http", str(parts.hostname), int(parts.port or 80)),
        audience=url,
        identity=MetadataIdentity(),
        path=f"/{name}",
        strip_prefix=True,
    )
