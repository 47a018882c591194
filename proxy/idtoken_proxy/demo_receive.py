"""`idtoken-proxy demo --receive`: both ends of a call. A proxy attaches a token, a listener checks it, and an app
repeats what the listener told it. The local Google issues the tokens and the keys.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from idtoken_proxy import leaving, logs
from idtoken_proxy.demo import ADMIN, DRAIN, END, PORT, log_settings, port_of
from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.command import stop_requested
from idtoken_proxy.emulator.loopback import loopback
from idtoken_proxy.server import ListenFailed, Server
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import (
    GoogleEndpoints,
    Inbound,
    PathRule,
    Route,
    Settings,
    TcpAddress,
    Upstream,
)
from idtoken_proxy.terminal import say

RECEIVE = 8443
AUDIENCE = "https://orders.example.com"
OTHER = "https://search.example.com"
_ASSERTED = "X-Goog-Authenticated-User-"


def run() -> int:
    """Returns the exit code: 0 after Ctrl-C or SIGTERM, 1 if it cannot listen."""
    logs.configure(log_settings(os.environ))
    try:
        return leaving.run(_serve())
    except OSError as error:  # no loopback address at all
        say(f"cannot listen: {error.strerror or error}", err=True)
        return 1


async def _serve() -> int:
    stop = stop_requested()
    async with Emulator(DEMO, host=loopback()) as emulator, _app() as app:
        receiving = await _started(lambda port, _: receiving_for(emulator, app, port), (RECEIVE, 0), (0, 0))
        inner = port_of(receiving.inbound[0])
        proxy = await _started(
            lambda port, admin: proxy_for(emulator, inner, port, admin), (PORT, ADMIN), (0, 0)
        )
        try:
            for line in lines_to_paste(proxy.addresses[0].port, inner, port_of(proxy.admin[0])):
                say(line)
            await stop.wait()
        finally:
            await proxy.stop(drain=DRAIN)
            await receiving.stop(drain=DRAIN)
    return 0


@contextlib.asynccontextmanager
async def _app() -> AsyncIterator[int]:
    """Yields its port. The app repeats what it was told about the caller, and checks nothing."""

    async def tell(request: web.BaseRequest) -> web.Response:
        asserted = {name: value for name, value in request.headers.items() if name.startswith(_ASSERTED)}
        asserted["Authorization ends in"] = request.headers.get("Authorization", "").rpartition(".")[2]
        return web.json_response({"app": "orders", "path": request.path, **asserted}, dumps=_dumped)

    runner = web.ServerRunner(web.Server(tell, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, loopback(), 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _dumped(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


async def _started(make: Callable[[int, int], Settings], *ports: tuple[int, int]) -> Server:
    """On the first pair of ports that is free, at last on any."""
    for remembered in ports[:-1]:
        with contextlib.suppress(ListenFailed):
            return await _start(make(*remembered))
    return await _start(make(*ports[-1]))


async def _start(settings: Settings) -> Server:
    server = Server(settings)
    await server.start()
    return server


def receiving_for(emulator: Emulator, app: int, port: int) -> Settings:
    """A listener that `login` may call. The metadata server issues login's tokens."""
    login = next(account.email for account in DEMO.accounts if account.default)
    inbound = Inbound(
        name="receive orders",
        listen=TcpAddress(loopback(), port),
        upstream=Upstream("http", loopback(), app),
        audiences=(AUDIENCE,),
        rules=(PathRule("/", frozenset({f"serviceAccount:{login}"})), PathRule("/healthz", None)),
    )
    return Settings(
        routes=(),
        listen=(),
        admin=None,
        receive=(inbound,),
        google=GoogleEndpoints(keys_endpoint=emulator.jwks_url),
    )


def proxy_for(emulator: Emulator, receiving: int, port: int, admin: int) -> Settings:
    """Two routes to the same receiver: one asks for its audience, the other for another's."""
    upstream = Upstream("http", loopback(), receiving)

    def route(name: str, audience: str) -> Route:
        return Route(name, upstream, audience, MetadataIdentity(), path=f"/{name}", strip_prefix=True)

    return Settings(
        routes=(route("orders", AUDIENCE), route("wrong", OTHER)),
        listen=(TcpAddress("localhost", port),),
        admin=TcpAddress("localhost", admin),
        google=GoogleEndpoints(metadata_host=emulator.metadata_host),
    )


def lines_to_paste(port: int, receiving: int, admin: int) -> Iterator[str]:
    proxy, app = f"http://localhost:{port}", f"http://{loopback()}:{receiving}"
    yield "# A proxy, a listener before an app, and a local Google whose tokens one attaches and the other checks. In a second terminal:"
    yield ""
    yield "# The app asks nobody who he is, and its listener does: without a token 403"
    yield f"curl -i {app}/42"
    yield "# What it is told says the listener alone: still 403"
    yield f"curl -i -H 'X-Goog-Authenticated-User-Email: accounts.google.com:root@example.com' {app}/42"
    yield "# A path that is public: 200, and nobody is named"
    yield f"curl -i {app}/healthz"
    yield "# Through the proxy, which attaches one: 200, and the app is told who called; the token's signature is gone"
    yield f"curl -i {proxy}/orders/42"
    yield "# With a good token that is for another service: 401, and here stands why"
    yield f"curl -i {proxy}/wrong/42"
    yield f"# Routes and tokens, in a browser: http://localhost:{admin}/"
    yield ""
    yield END
