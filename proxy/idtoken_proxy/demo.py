"""`idtoken-proxy demo`: the local Google, three private services and the proxy in one process, and lines to paste.

The story is Google's own (https://cloud.google.com/run/docs/authenticating/service-to-service): the login service
may call user-profiles, and may not call search.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import urlsplit

from idtoken_proxy import leaving, logs
from idtoken_proxy.demo_file import CREDENTIALS, config_text, doctor_command, tools_command
from idtoken_proxy.emulator import BREAKS, DEMO, Emulator
from idtoken_proxy.emulator.command import stop_requested
from idtoken_proxy.emulator.loopback import loopback
from idtoken_proxy.server import ListenFailed, Server
from idtoken_proxy.settings.identities import AutoIdentity, Identity, ImpersonatedIdentity, MetadataIdentity
from idtoken_proxy.settings.model import (
    Address,
    GoogleEndpoints,
    LogSettings,
    Route,
    Settings,
    TcpAddress,
    Upstream,
)
from idtoken_proxy.terminal import say

PORT = 8080
ADMIN = 9090
GRPC_HOST = "user-profiles.localhost"
DRAIN = 1.0  # seconds: an event stream left open in the other terminal does not hold up Ctrl-C
END = "# Ctrl-C ends all of it."


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom the proxy calls as. `file`: what GOOGLE_APPLICATION_CREDENTIALS names, if set."""

    identity: Identity
    file: Mapping[str, object] | None = None


def run(break_kind: str | None = None) -> int:
    """`break_kind`: a key of BREAKS. Returns the exit code: 0 after Ctrl-C or SIGTERM, 1 if it cannot listen."""
    logs.configure(log_settings(os.environ))
    try:
        return leaving.run(_serve(break_kind))
    except OSError as error:  # no loopback address at all
        say(f"cannot listen: {error.strerror or error}", err=True)
        return 1


def log_settings(environ: Mapping[str, str]) -> LogSettings:
    """Warnings, or what the proxy's variables say. Mistakes in them are ignored: `serve` reports those."""
    levels: tuple[Literal["debug", "info", "warning", "error"], ...] = ("debug", "info", "warning", "error")
    forms: tuple[Literal["text", "json"], ...] = ("text", "json")
    return LogSettings(
        level=next((one for one in levels if one == environ.get("IDTOKEN_PROXY_LOG_LEVEL")), "warning"),
        format=next((one for one in forms if one == environ.get("IDTOKEN_PROXY_LOG_FORMAT")), "auto"),
    )


async def _serve(break_kind: str | None) -> int:
    stop = stop_requested()
    async with Emulator(DEMO, host=loopback()) as emulator:
        with TemporaryDirectory() as directory:
            # Broken before the proxy's first tokens are fetched: a good token would serve for an hour.
            caller = await asyncio.to_thread(caller_for, emulator, break_kind)
            if break_kind:
                emulator.break_with(break_kind)
            environ = _environ(caller, Path(directory))

            def settings(port: int, admin: int) -> Settings:
                """Two routes, or one if something is broken: one service shows the failure as well as two."""
                made = settings_for(emulator, port, admin, caller)
                return made if break_kind else with_grpc(made)

            server = await _start(settings, environ)
            try:
                ports = server.addresses[0].port, port_of(server.admin[0])
                lines = lines_to_paste(emulator, *ports)
                if break_kind:
                    file = Path(directory) / "proxy.yaml"
                    file.write_text(config_text(settings(*ports)))
                    lines = lines_of_a_failure(break_kind, *ports, doctor_command(file, environ))
                for line in lines:
                    say(line)
                await stop.wait()
            finally:
                await server.stop(drain=DRAIN)
    return 0


def caller_for(emulator: Emulator, break_kind: str | None) -> Caller:
    """A caller whom the failure hits: one that asks only the metadata server never learns that impersonation fails."""
    match break_kind:
        case (
            "permission-denied"
            | "api-disabled"
            | "perimeter"
            | "quota-project"
            | "org-policy"
            | "project-suspended"
        ):
            search_indexer = DEMO.accounts[1]
            return Caller(ImpersonatedIdentity(search_indexer.email, source=MetadataIdentity()))
        case "clock-ahead" | "clock-behind":
            return Caller(AutoIdentity(), emulator.key_file("login"))
        case "login-expired" | "login-again":
            return Caller(AutoIdentity(), emulator.key_file("developer"))
        case "pool-gone":
            return Caller(AutoIdentity(), emulator.external_account("github", "url", impersonate="login"))
        case _:
            return Caller(MetadataIdentity())


def _environ(caller: Caller, directory: Path) -> Mapping[str, str]:
    if caller.file is None:
        return {name: value for name, value in os.environ.items() if name != CREDENTIALS}
    file = directory / "credentials.json"
    file.write_text(json.dumps(caller.file))
    return {**os.environ, CREDENTIALS: str(file)}


async def _start(make: Callable[[int, int], Settings], environ: Mapping[str, str]) -> Server:
    """On the ports that everyone remembers, or on any if one of those is taken."""
    *remembered, (port, admin) = itertools.product((PORT, 0), (ADMIN, 0))
    for ports in remembered:
        with contextlib.suppress(ListenFailed):
            return await _started(make(*ports), environ)
    return await _started(make(port, admin), environ)


def port_of(address: Address) -> int:
    assert isinstance(address, TcpAddress)
    return address.port


async def _started(settings: Settings, environ: Mapping[str, str]) -> Server:
    server = Server(settings, environ)
    await server.start()
    return server


def settings_for(emulator: Emulator, port: int, admin: int, caller: Caller) -> Settings:
    """One route per service, its name as the path: /user-profiles/42 goes to user-profiles as /42."""
    return Settings(
        routes=tuple(_route(name, url, caller.identity) for name, url in emulator.urls.items()),
        listen=(TcpAddress("localhost", port),),
        admin=TcpAddress("localhost", admin),
        google=GoogleEndpoints(
            metadata_host=emulator.metadata_host,
            iam_endpoint=emulator.iam_endpoint,
            sts_endpoint=emulator.sts_endpoint,
        ),
    )


def with_grpc(settings: Settings) -> Settings:
    """Adds user-profiles under a host name: gRPC's paths are its methods' names, which leaves no room for a prefix."""
    profiles = settings.routes[0]
    by_name = replace(profiles, name=f"{profiles.name}-grpc", host=GRPC_HOST, path="/", strip_prefix=False)
    return replace(settings, routes=(*settings.routes, by_name))


def lines_to_paste(emulator: Emulator, port: int, admin: int) -> Iterator[str]:
    profiles = emulator.urls["user-profiles"]
    proxy = f"http://localhost:{port}"
    yield from _beginning(port)
    yield "# A private service refuses a caller without a token: 403"
    yield f"curl -i {quote(profiles)}/42"
    yield "# The same through the proxy, which attaches one: 200"
    yield f"curl -i {proxy}/user-profiles/42"
    yield "# With a good token, but as a caller who may not invoke it: 403, from the service"
    yield f"curl -i '{proxy}/search/q?x=1'"
    yield "# The emulator's word for the gcloud command that the log names: after it, the line above is 200"
    yield f"curl -X POST {quote(emulator.let_in_url('search', 'login'))}"
    yield "# Server-sent events, as they come"
    yield f"curl -N '{proxy}/billing/events?interval=1'"
    yield "# A WebSocket's handshake: 101, and then its bytes pass"
    yield (
        f"curl -i -N --max-time 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket'"
        f" -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='"
        f" {proxy}/user-profiles/ws"
    )
    yield "# HTTP/2 at the same port: 200"
    yield f"curl -i --http2-prior-knowledge {proxy}/user-profiles/42"
    # -authority names the host, because not every system resolves names under .localhost.
    yield "# And gRPC, where grpcurl is installed: SERVING"
    yield f"grpcurl -plaintext -authority {GRPC_HOST}:{port} localhost:{port} grpc.health.v1.Health/Check"
    yield "# The tools of a private MCP server, as a client has them that starts idtoken-proxy mcp URL"
    yield tools_command(f"{profiles}/mcp", emulator.metadata_host, os.environ)
    yield from _ending(admin)


def lines_of_a_failure(break_kind: str, port: int, admin: int, doctor: str) -> Iterator[str]:
    """`break_kind`: a key of BREAKS. `doctor`: the command line."""
    yield from _beginning(port)
    yield f"# Broken on purpose ({break_kind}): {BREAKS[break_kind]}. What an app sees of it:"
    yield f"curl -i http://localhost:{port}/user-profiles/42"
    yield "# What doctor makes of it, and what would mend it at Google:"
    yield doctor
    yield from _ending(admin)


def _beginning(port: int) -> Iterator[str]:
    if port != PORT:
        yield f"# Port {PORT} is taken; the proxy listens on {port}."
    yield "# A proxy, a local Google and three private services are running. In a second terminal:"
    yield ""


def _ending(admin: int) -> Iterator[str]:
    yield f"# Routes, tokens, live charts and the last errors, in a browser: http://localhost:{admin}/"
    yield ""
    yield END


def _route(name: str, url: str, identity: Identity) -> Route:
    parts = urlsplit(url)
    return Route(
        name=name,
        upstream=Upstream("http", str(parts.hostname), int(parts.port or 80)),
        audience=url,
        identity=identity,
        path=f"/{name}",
        strip_prefix=True,
    )
