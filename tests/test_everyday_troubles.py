"""What people run into before any token is refused, each as it happens, with the right value beside it: the first hour
with a proxy in front of one's app. What Google and receivers refuse is in test_troubles.py.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.admin.client import ask
from idtoken_proxy.emulator.front_ends import PAGE
from idtoken_proxy.server import ListenFailed, Server
from idtoken_proxy.settings.identities import AutoIdentity
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import GuardSettings, Route, Settings, TcpAddress, UnixAddress
from idtoken_proxy.wrapper.variables import direct, variables
from tests.cases import for_each
from tests.engine.http2_peers import (
    Http2Peer,
    Http2Receiver,
    Pair,
    Stream,
    echo,
    fixed,
    http2_app,
    http2_receiver,
    nothing,
)
from tests.engine.proxied import make_token, route_to, settings_for
from tests.engine.test_refusal_log import robot
from tests.engine.test_refused_tokens import ServerContext
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Receiver, Wire, answering, connect, eventually, get, ok, post

KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nSENTINEL\n"})
ROOT = Path(__file__).parents[1]


class Desk:
    """A developer's machine: a receiver that is private, an app, the proxy between them."""

    def __init__(self, stack: AsyncExitStack, directory: Path) -> None:
        self._stack = stack
        self.directory = directory
        self.servers: list[Server] = []
        self.token_file = directory / "token"
        self.token_file.write_text(make_token())

    async def receiver(self, script: Callable[[Wire], Awaitable[object]]) -> Receiver:
        return await self._stack.enter_async_context(Receiver(script))

    def route(self, receiver: Receiver | int, **changes: Any) -> Route:
        return route_to(receiver, self.token_file, **changes)

    async def proxy(self, settings: Settings, **environ: str) -> Server:
        server = Server(settings, {"HOME": str(self.directory), **environ})
        await server.start()
        self._stack.push_async_callback(server.stop, 0.05)
        self.servers.append(server)
        return server

    @asynccontextmanager
    async def by_http2(
        self,
        script: Callable[[Stream], object],
        route: dict[str, Any] | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
        **changes: Any,
    ) -> AsyncIterator[tuple[Http2Receiver, Http2Peer]]:
        """A receiver and an app that speak it."""
        receiver = await self._stack.enter_async_context(http2_receiver(script))
        settings = settings_for(self.route(receiver.port, **(route or {})), **changes)
        server = await self.proxy(settings, **environ)
        at = settings.listen[0]
        app = await http2_app(at.path if isinstance(at, UnixAddress) else server.addresses[0].port)
        try:
            yield receiver, app
        finally:
            app.transport.abort()

    async def app(self, server: Server) -> Wire:
        wire = await connect(server.addresses[0].port)
        self._stack.callback(wire.transport.abort)
        return wire


@asynccontextmanager
async def _desk() -> AsyncIterator[Desk]:
    with TemporaryDirectory() as made:  # a short path, for sockets
        async with AsyncExitStack() as stack:
            yield Desk(stack, Path(made))


TROUBLES: dict[str, Callable[[Desk], Awaitable[None]]] = {}


def trouble(told: str) -> Callable[[Callable[[Desk], Awaitable[None]]], Callable[[Desk], Awaitable[None]]]:
    def add(happens: Callable[[Desk], Awaitable[None]]) -> Callable[[Desk], Awaitable[None]]:
        TROUBLES[told] = happens
        return happens

    return add


async def _lacks_credentials(desk: Desk, value: str) -> str:
    """The body of the answer to a request, where GOOGLE_APPLICATION_CREDENTIALS holds this."""
    settings = settings_for(desk.route(1, identity=AutoIdentity()))
    server = await desk.proxy(settings, GOOGLE_APPLICATION_CREDENTIALS=value, GCE_METADATA_HOST="127.0.0.1:9")
    app = await desk.app(server)
    app.send(get("/"))
    answer = await app.response()
    assert answer.status == 503
    return answer.body.decode()


@trouble("the key itself in GOOGLE_APPLICATION_CREDENTIALS")
async def _(desk: Desk) -> None:
    said = await _lacks_credentials(desk, KEY)
    assert "SENTINEL" not in said
    assert "GOOGLE_APPLICATION_CREDENTIALS holds the credential itself" in said


@trouble("quotes that docker --env-file keeps")
async def _(desk: Desk) -> None:
    (desk.directory / "key.json").write_text(KEY)
    said = await _lacks_credentials(desk, f'"{desk.directory}/key.json"')
    assert "has quotes that are part of it" in said


@trouble("Google's keys were rotated, and the app sends POSTs alone")
async def _(desk: Desk) -> None:
    context = ServerContext(desk.token_file.read_text())
    server = await desk.proxy(settings_for(desk.route(await desk.receiver(context))))
    await eventually(lambda: server.ready, "no token")
    desk.token_file.write_text(make_token(lifetime=3000.0))
    app = await desk.app(server)
    app.send(post(b"once"))
    assert (await app.response()).status == 200
    assert context.ran == [b"once"]


@trouble("a POST without a body, which Google answers with 411")
async def _(desk: Desk) -> None:
    receiver = await desk.receiver(answering(ok()))
    app = await desk.app(await desk.proxy(settings_for(desk.route(receiver))))
    app.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await app.response()).status == 200
    assert receiver.requests[0].one("content-length") == "0"


@trouble("a PUT of gRPC-Web's or curl's by HTTP/2, without a body")
async def _(desk: Desk) -> None:
    async with desk.by_http2(fixed()) as (receiver, app):
        assert (await app.request(method="PUT").done()).status == 200
    assert receiver.streams[0].one("content-length") == "0"


@trouble("the key itself in GOOGLE_APPLICATION_CREDENTIALS, and an app of gRPC")
async def _(desk: Desk) -> None:
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": KEY, "GCE_METADATA_HOST": "127.0.0.1:9"}
    async with desk.by_http2(nothing, {"identity": AutoIdentity()}, environ=environ) as (_, app):
        status, said = (await app.call(body=b"x").done()).grpc
    assert status == 16
    assert "SENTINEL" not in said
    assert "GOOGLE_APPLICATION_CREDENTIALS holds the credential itself" in said


@trouble("what Google refuses of a call of gRPC, looked for in the log")
async def _(desk: Desk) -> None:
    html = (b"content-type", b"text/html")
    refusals = ((413, "Request Entity Too Large"), (411, "Length Required"), (404, "Not Found"))
    with capture_logs() as lines:
        for status, words in refusals:
            script = fixed(html, status=status, body=robot(status, words))
            async with desk.by_http2(script) as (_, app):
                for _ in range(2):
                    await app.call(body=b"x", path="/healthz").done()
    told = [line["cause"] for line in lines if line["event"] == "refused by Google"]
    assert told == ["request_too_large", "length_required", "reserved_path"]


@trouble("a proxy in front that ends TLS and speaks HTTP/2")
async def _(desk: Desk) -> None:
    guard = GuardSettings(trusted_proxies=(ip_network("127.0.0.0/8"),))
    https: tuple[Pair, Pair] = (b"x-forwarded-proto", b"https"), (b"origin", b"https://localhost")
    async with desk.by_http2(fixed(), guard=guard) as (receiver, app):
        passed = await app.request(*https, method="POST").done()
        other = await app.request(https[0], (b"origin", b"http://localhost"), method="POST").done()
    assert (passed.status, other.status) == (200, 403)
    assert [asked.one("x-forwarded-proto") for asked in receiver.streams] == ["https"]


@trouble("an app of HTTP/2 under a prefix that it does not see")
async def _(desk: Desk) -> None:
    under = {"path": "/app", "strip_prefix": True}
    async with desk.by_http2(fixed(), under) as (receiver, app):
        await app.request((b"x-forwarded-prefix", b"/theirs"), path="/app/login").done()
    (asked,) = receiver.streams
    assert (asked.one(":path"), asked.one("x-forwarded-prefix")) == ("/login", "/app")


@trouble("an HTTP client that takes HTTP_PROXY by CONNECT")
async def _(desk: Desk) -> None:
    receiver = await desk.receiver(answering(ok()))
    app = await desk.app(await desk.proxy(settings_for(desk.route(receiver))))
    host = f"127.0.0.1:{receiver.port}"
    app.send(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (await app.response(to="HEAD")).status == 200
    app.send(f"GET /inside HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (await app.response()).status == 200
    assert receiver.requests[0].one("authorization") == f"Bearer {desk.token_file.read_text()}"


@trouble("https:// of a receiver in absolute form, as old axios has it")
async def _(desk: Desk) -> None:
    receiver = await desk.receiver(answering(ok()))
    app = await desk.app(await desk.proxy(settings_for(desk.route(receiver))))
    host = f"127.0.0.1:{receiver.port}"
    app.send(f"GET https://{host}/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (await app.response()).status == 200
    assert receiver.requests[0].target == "/x"


@trouble("any Host on a unix socket, an empty one too")
async def _(desk: Desk) -> None:
    receiver = await desk.receiver(answering(ok()))
    path = str(desk.directory / "it.sock")
    await desk.proxy(settings_for(desk.route(receiver), listen=(UnixAddress(path),)))
    for host in (b"anything.example", b"", b"localhost"):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@trouble("a WebSocket whose app ends its direction, and waits for the rest")
async def _(desk: Desk) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)
        await wire.to_end()
        wire.send(b"the rest")
        wire.close()

    app = await desk.app(await desk.proxy(settings_for(desk.route(await desk.receiver(script)))))
    app.send(HANDSHAKE)
    assert (await app.response()).status == 101
    app.half_close()
    assert await app.to_end() == b"the rest"


@trouble("an app under a prefix that it does not see")
async def _(desk: Desk) -> None:
    receiver = await desk.receiver(answering(ok()))
    app = await desk.app(await desk.proxy(settings_for(desk.route(receiver, path="/app", strip_prefix=True))))
    app.send(get("/app/login", "X-Forwarded-Prefix: /theirs"))
    assert (await app.response()).status == 200
    (seen,) = receiver.requests
    assert (seen.target, seen.one("x-forwarded-prefix")) == ("/login", "/app")


@trouble("TLS that is ended in front of the proxy, and redirects that lose it")
async def _(desk: Desk) -> None:
    receiver_port: list[int] = []

    async def script(wire: Wire) -> None:
        await wire.request()
        there = f"Location: http://127.0.0.1:{receiver_port[0]}/next"
        wire.send(f"HTTP/1.1 302 Found\r\n{there}\r\nContent-Length: 0\r\n\r\n".encode())

    receiver = await desk.receiver(script)
    receiver_port.append(receiver.port)
    for trusted, scheme in (("[127.0.0.0/8]", "https"), ("[]", "http")):
        text = (
            f"listen: 127.0.0.1:0\nadmin: off\nguard: {{trusted_proxies: {trusted}}}\n"
            f"routes: [{{name: a, upstream: 'http://127.0.0.1:{receiver.port}', identity: none}}]\n"
        )
        app = await desk.app(await desk.proxy(settings_from_text(text, "proxy.yaml", {})))
        app.send(get("/", "X-Forwarded-Proto: https"))
        assert (await app.response()).one("location") == f"{scheme}://localhost/next"


@trouble("a corporate http_proxy in the environment of a wrapped app")
async def _(desk: Desk) -> None:
    settings = settings_for(desk.route(1))
    environ = {"http_proxy": "http://proxy.corp.example:3128", "NO_PROXY": "intranet.example"}
    set_ = direct(environ, variables(settings, (TcpAddress("127.0.0.1", 8080),), http_proxy=False))
    for name in ("NO_PROXY", "no_proxy"):
        assert {"localhost", "127.0.0.1", "::1", "intranet.example"} <= set(set_[name].split(","))


@trouble("a dev server with changeOrigin: true, whose GETs pass and POSTs do not")
async def _(desk: Desk) -> None:
    app = await desk.app(await desk.proxy(settings_for(desk.route(await desk.receiver(answering(ok()))))))
    app.send(post(b"x", "Origin: http://localhost:5173"))
    answer = await app.response()
    assert answer.status == 403
    assert "changeOrigin: false" in json.loads(answer.body)["remedy"]


@trouble("a Python that is too old for make demo")
async def _(desk: Desk) -> None:
    old = desk.directory / "python3.9"
    old.write_text('#!/bin/sh\ncase "$*" in *--version*) echo Python 3.9.1;; *) exit 1;; esac\n')
    old.chmod(0o755)
    command = ["make", "-C", str(ROOT), "demo", f"PYTHON={old}", f"DEMO={desk.directory}/venv"]
    made = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "This needs Python 3.11 or later" in made.stderr
    assert "PYTHON=python3.13" in made.stderr


@trouble("a second proxy on one machine, which dies of the admin port")
async def _(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_for(desk.route(1), admin=TcpAddress("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(ListenFailed) as caught:
            await Server(settings, {}).start()
    assert "(admin)" in caught.value.detail
    assert "--admin" in str(caught.value.remedy)
    assert "IDTOKEN_PROXY_ADMIN" in str(caught.value.remedy)


@trouble("an upstream that leads back to the proxy itself")
async def _(desk: Desk) -> None:
    server = await desk.proxy(settings_for(desk.route(1)))
    own = server.addresses[0].port
    await server.reload(replace(server.settings, routes=(desk.route(own, name="looped"),)))
    app = await desk.app(server)
    app.send(get("/"))
    answer = await app.response()
    assert answer.status == 508
    assert 'route "looped"' in json.loads(answer.body)["remedy"]


@trouble("an upstream that leads back to the proxy itself, by HTTP/2")
async def _(desk: Desk) -> None:
    async with desk.by_http2(fixed()) as (_, app):
        server = desk.servers[-1]
        looped = desk.route(server.addresses[0].port, name="looped")
        await server.reload(replace(server.settings, routes=(looped,)))
        status, said = (await app.call(body=b"x").done()).grpc
        assert (await app.request().done()).status == 508
    assert status == 13
    assert 'route "looped"' in said


@trouble("an app of gRPC that names its unix socket, or anything, for an authority")
async def _(desk: Desk) -> None:
    path = str(desk.directory / "it.sock")
    async with desk.by_http2(echo, listen=(UnixAddress(path),)) as (receiver, app):
        for authority in (b"localhost", b"anything.example", b"%2Frun%2Fit.sock"):
            head = [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/x"),
                (b":authority", authority),
            ]
            call = app.open([*head, (b"content-type", b"application/grpc")])
            call.data(b"x", end=True)
            assert (await call.done()).grpc == (0, "")
    assert len(receiver.streams) == 3


@trouble("https:// to the plain port")
async def _(desk: Desk) -> None:
    app = await desk.app(await desk.proxy(settings_for(desk.route(1))))
    app.send(b"\x16\x03\x01\x02\x00\x01")
    assert b"http, not https" in await app.to_end()


@trouble("what Google refuses, looked for on the status page afterwards")
async def _(desk: Desk) -> None:
    page = PAGE.format(title="403 Forbidden", sentence="Your client does not have permission.").encode()
    head = "HTTP/1.1 403 Forbidden\r\nServer: Google Frontend\r\nContent-Type: text/html\r\n"
    forbidden = f"{head}Content-Length: {len(page)}\r\n\r\n".encode() + page
    receiver = await desk.receiver(answering(forbidden))
    server = await desk.proxy(settings_for(desk.route(receiver), admin=TcpAddress("127.0.0.1", 0)))
    app = await desk.app(server)
    app.send(get("/"))
    assert (await app.response()).status == 403
    _, metrics = await asyncio.to_thread(ask, server.admin[0], "/metrics")
    assert 'upstream_refusals_total{cause="no_invoker",route="receiver"} 1' in metrics
    _, status = await asyncio.to_thread(ask, server.admin[0], "/api/status")
    (told,) = json.loads(status)["errors"]
    assert "may not invoke" in told["detail"]
    assert "--role=roles/run.invoker" in told["remedy"]


@trouble("a name in a guard that browsers tell nothing of")
async def _(desk: Desk) -> None:
    settings = settings_for(
        desk.route(await desk.receiver(answering(ok()))), guard=GuardSettings(allowed_hosts=("p.test",))
    )
    app = await desk.app(await desk.proxy(settings))
    app.send(b"GET / HTTP/1.1\r\nHost: p.test\r\n\r\n")
    answer = await app.response()
    assert answer.status == 403
    assert "unverified_pages: allow" in json.loads(answer.body)["remedy"]


@for_each("told", TROUBLES)
async def test_it_comes_out_right(told: str) -> None:
    async with _desk() as desk:
        await TROUBLES[told](desk)


def test_there_are_enough_of_them() -> None:
    assert len(TROUBLES) >= 25
