"""CONNECT to a receiver, as undici, Node's own proxy support and WebSocket clients ask for it: what comes within is a request
for that receiver, under every rule that holds outside.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import GuardSettings, Route, Settings, TcpAddress, Timeouts, Upstream
from tests.end_to_end.conftest import CALLER, Serve, route_to, settings_for
from tests.end_to_end.test_forward_proxy import port_of, problem
from tests.engine.wire import Message, Receiver, Wire, answering, connect, eventually, ok

curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)


@pytest.fixture
async def server(emulator: Emulator, serve: Serve) -> Server:
    routes = [route_to(emulator, name) for name in emulator.urls]
    routes.append(replace(routes[0], name="named", host="profiles.test", path="/"))
    return await serve(settings_for(*routes, metadata_host=emulator.metadata_host))


@pytest.fixture
def port(server: Server) -> int:
    return port_of(server)


@pytest.fixture
def authority(emulator: Emulator) -> str:
    return emulator.urls["user-profiles"].removeprefix("http://")


def asks(target: str, host: str | None = None, *fields: str, version: str = "1.1") -> bytes:
    lines = [
        f"CONNECT {target} HTTP/{version}",
        *([] if host == "" else [f"Host: {host or target}"]),
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def within(path: str, host: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


async def opened(port: int, authority: str, *fields: str, version: str = "1.1") -> Wire:
    app = await connect(port)
    app.send(asks(authority, None, *fields, version=version))
    head = await app.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"ontent-" not in head  # RFC 9110 section 9.3.6
    assert b"ransfer-" not in head
    return app


async def refused(port: int, wire: bytes) -> Message:
    """To the end: nothing behind it is read."""
    app = await connect(port)
    app.send(wire)
    answer = await app.response()
    assert answer.one("connection") == "close"
    assert await app.to_end() == b""
    app.close()
    return answer


# -- clients as they are ---------------------------------------------------------------


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert process.returncode == 0, out
    return out.decode()


@curl
@pytest.mark.parametrize("options", [[], ["--proxy1.0"], ["-d", "hello"], ["--http1.0"]])
async def test_curl_through_a_tunnel(
    emulator: Emulator, port: int, authority: str, options: list[str]
) -> None:
    proxy = [] if "--proxy1.0" in options else ["-x"]
    command = ["curl", "-sS", "--fail", "--proxytunnel", *options, *proxy, f"http://127.0.0.1:{port}"]
    told = json.loads(await output(*command, "--noproxy", "", f"http://{authority}/42?x=1"))
    assert (told["service"], told["caller"], told["path"]) == ("user-profiles", CALLER, "/42?x=1")


@curl
async def test_curl_with_an_https_url_is_told_what_to_write(port: int, serve: Serve, tmp_path: Path) -> None:
    known = Route("it", Upstream("https", "svc.example", 443), None, NoIdentity())
    server = await serve(Settings((known,), listen=(TcpAddress("127.0.0.1", 0),), admin=None))
    for target, remedy in (
        ("svc.example:443", "write http://svc.example/ in place of https://svc.example/"),
        ("elsewhere.example:443", "NO_PROXY"),
        ("localhost:443", "NO_PROXY=localhost"),
        (f"localhost:{port_of(server)}", "NO_PROXY=localhost"),
        ("svc.example:8443", "NO_PROXY"),
        ("svc.example", "http://"),
        ("/", "http://"),
    ):
        answer = await refused(port_of(server), asks(target) + within("/", "svc.example"))
        assert answer.status == 405, target
        assert remedy in problem(answer)["remedy"], target
    process = await asyncio.create_subprocess_exec(
        *(
            "curl",
            "-sS",
            "-x",
            f"http://127.0.0.1:{port_of(server)}",
            "--noproxy",
            "",
            "https://svc.example/",
        ),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert b"405" in said


NODE = """
const http = require("http");
const [, port, authority] = process.argv;
const asked = http.request({host: "127.0.0.1", port, method: "CONNECT", path: authority, headers: {host: authority}});
asked.on("connect", (answer, socket) => {
  if (answer.statusCode !== 200) throw new Error(answer.statusCode);
  const agent = new http.Agent({keepAlive: true, maxSockets: 1});
  agent.createConnection = () => socket;
  const get = (path, then) => http.get({host: authority.split(":")[0], port: authority.split(":")[1], path, agent}, (got) => {
    let body = ""; got.on("data", (piece) => body += piece); got.on("end", () => then(JSON.parse(body)));
  });
  get("/1", (first) => get("/2", (second) => { console.log(JSON.stringify([first.path, second.path])); process.exit(0); }));
});
asked.end();
"""


@node
async def test_node_as_undici_and_its_agents_do_it(port: int, authority: str) -> None:
    assert json.loads(await output("node", "-e", NODE, "--", str(port), authority)) == ["/1", "/2"]


@pytest.mark.parametrize(
    "fields", [(), ("Connection: close",), ("Proxy-Connection: keep-alive",), ("Content-Length: 0",)]
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_requests_within_are_the_receiver_s(
    port: int, authority: str, seen: list[Seen], fields: tuple[str, ...], version: str
) -> None:
    app = await opened(port, authority, *fields, version=version)
    assert seen == []  # nobody hears of a CONNECT
    for path in ("/1", "/2?x"):
        app.send(within(path, authority))
        told = json.loads((await app.response()).body)
        assert (told["service"], told["path"], told["caller"]) == ("user-profiles", path, CALLER)
    app.close()


async def test_a_name_that_a_route_matches_is_known(port: int) -> None:
    app = await opened(port, "profiles.test:80")
    for host in ("profiles.test", "profiles.test:80", "Profiles.Test"):
        app.send(within("/42", host))
        assert json.loads((await app.response()).body)["service"] == "user-profiles"
    app.close()


async def test_a_websocket_through_a_tunnel(serve: Serve) -> None:
    async def echo(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        wire.send(await wire.exactly(4))

    async with Receiver(echo) as receiver:
        name = f"127.0.0.1:{receiver.port}"
        route = Route("it", Upstream("http", "127.0.0.1", receiver.port), None, NoIdentity())
        server = await serve(Settings((route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None))
        app = await opened(port_of(server), name)
        app.send(within("/ws", name, "Connection: Upgrade", "Upgrade: websocket"))
        assert (await app.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        app.send(b"ping")
        assert await app.exactly(4) == b"ping"
        app.close()


# -- whole and split ------------------------------------------------------------------


async def test_wherever_it_is_split(port: int, authority: str) -> None:
    wire = asks(authority) + within("/42", authority)
    for split in range(0, len(wire), 3):
        app = await connect(port)
        app.send(wire[:split])
        await asyncio.sleep(0)
        app.send(wire[split:])
        assert (await app.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert json.loads((await app.response()).body)["path"] == "/42"
        app.close()


# -- who is refused ---------------------------------------------------------------------

Within = Callable[[str], bytes]


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        (lambda _: TLS_HELLO, "use http:// URLs, so that the proxy can attach the token"),
        (lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "connect to the proxy itself"),
        (lambda _: b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (lambda name: b"GET / HTTP/1.1\nHost: " + name.encode() + b"\n\n", "CRLF"),
        (lambda _: within("/", "localhost"), "CONNECT of its own"),
        (lambda _: within("/", "127.0.0.1"), "CONNECT of its own"),
        (lambda _: within("/", "evil.example"), "CONNECT of its own"),
        (lambda _: b"GET / HTTP/1.0\r\n\r\n", "CONNECT of its own"),
        (asks, "CONNECT of its own"),
        (lambda name: within(f"http://{name}/", name), "send the path"),
        (lambda name: within(f"https://{name}/", name), "send the path"),
    ],
)
async def test_anything_else_within_is_refused(
    port: int, authority: str, seen: list[Seen], what: Within, remedy: str
) -> None:
    for together in (False, True):
        app = await connect(port) if together else await opened(port, authority)
        app.send((asks(authority) if together else b"") + what(authority) + within("/smuggled", authority))
        if together:
            await app.until(b"\r\n\r\n")
        answer = await app.response()
        assert answer.status == 400
        assert remedy in problem(answer)["remedy"]
        assert await app.to_end() == b""
        app.close()
    assert seen == []


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_connect_with_a_body_is_refused(
    port: int, authority: str, seen: list[Seen], field: str
) -> None:
    answer = await refused(port, asks(authority, None, field) + within("/smuggled", authority))
    assert answer.status == 400
    assert seen == []


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1:1"])
async def test_a_connect_s_host_must_agree(port: int, authority: str, host: str, seen: list[Seen]) -> None:
    assert (await refused(port, asks(authority, host) + within("/", authority))).status == 400
    assert seen == []


async def test_what_is_sent_behind_a_refused_connect_is_no_request(port: int, seen: list[Seen]) -> None:
    """It was for the tunnel, and may be somebody else's words."""
    smuggled = b"GET /user-profiles/42 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for name in ("evil.example:80", "169.254.169.254:80", "metadata.google.internal:80"):
        answer = await refused(port, asks(name) + smuggled)
        assert answer.status == 405
        assert "it forwards to" in problem(answer)["remedy"]
    assert seen == []


@pytest.mark.parametrize(
    "field", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"]
)
async def test_pages_are_refused_on_both_levels(
    port: int, authority: str, seen: list[Seen], field: str
) -> None:
    behind = within("/smuggled", authority)
    assert (await refused(port, asks(authority, None, field) + behind)).status == 403
    app = await opened(port, authority)
    for request in (
        within("/", authority, field),
        within("/", authority, field, "Content-Length: 0", method="POST"),
        within("/ws", authority, field, "Connection: Upgrade", "Upgrade: websocket"),
    ):
        app.send(request)
        assert (await app.response()).status == 403
    assert seen == []
    app.close()


async def test_the_caller_s_secret_is_asked_of_each_request_within(
    emulator: Emulator, serve: Serve, tmp_path: Path, authority: str, seen: list[Seen]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-the-callers")
    guard = GuardSettings(caller_token_file=str(secret), caller_token_header="X-Caller")
    server = await serve(
        settings_for(route_to(emulator, "user-profiles"), metadata_host=emulator.metadata_host, guard=guard)
    )
    given = "X-Caller: a-secret-of-the-callers"
    for fields in ((), (given,)):
        app = await opened(port_of(server), authority, *fields)
        for wrong in ((), ("X-Caller: another-secret-of-theirs",)):
            app.send(within("/", authority, *wrong))
            assert (await app.response()).status == 403
        assert seen == []
        app.send(within("/", authority, given))
        assert (await app.response()).status == 200
        seen.clear()
        app.close()


async def test_a_route_s_methods_hold_within(emulator: Emulator, serve: Serve, authority: str) -> None:
    route = route_to(emulator, "user-profiles", methods=frozenset({"GET"}))
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
    app = await opened(port_of(server), authority)
    app.send(within("/", authority, "Content-Length: 0", method="POST"))
    assert (await app.response()).status == 405
    app.close()


# -- limits -----------------------------------------------------------------------------


async def served(serve: Serve, receiver: Receiver, **changes: Any) -> tuple[Server, str]:
    timeouts = changes.pop("timeouts", Timeouts())
    route = Route("it", Upstream("http", "127.0.0.1", receiver.port), None, NoIdentity(), timeouts=timeouts)
    settings = Settings(
        (route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None, timeouts=timeouts, **changes
    )
    return await serve(settings), f"127.0.0.1:{receiver.port}"


async def test_an_idle_tunnel_ends_as_any_connection_between_requests(serve: Serve) -> None:
    async with Receiver(answering(ok())) as receiver:
        server, name = await served(serve, receiver, timeouts=Timeouts(keepalive=0.2, header=0.2))
        idle = await opened(port_of(server), name)
        begun = await opened(port_of(server), name)
        begun.send(b"GET / HT")
        await idle.gone()
        await begun.gone()
        idle.close()
        begun.close()
        assert server.context.stats.limits["header_timeout"] == 1
        await eventually(lambda: not server.context.busy, "tunnels outlive their deadlines")


async def test_a_drain_ends_idle_tunnels(serve: Serve) -> None:
    async with Receiver(answering(ok())) as receiver:
        server, name = await served(serve, receiver)
        app = await opened(port_of(server), name)
        server.context.drain()
        await app.gone()
        app.close()
        await eventually(lambda: not server.context.busy, "tunnels outlive the drain")


async def test_it_is_counted_and_not_as_a_route_s(serve: Serve) -> None:
    async with Receiver(answering(ok())) as receiver:
        server, name = await served(serve, receiver)
        app = await opened(port_of(server), name)
        app.send(within("/", name))
        await app.response()
        stats = server.context.stats
        assert stats.unrouted.classes[2] == 1
        assert stats.routes["it"].classes[2] == 1
        assert server.context.active_exchanges() == []
        assert server.context.busy == 1
        app.close()


# -- the proxy itself, again ---------------------------------------------------------------


async def test_a_loop_ends_with_508(serve: Serve) -> None:
    """The route's upstream is the proxy; a chain of two proxies is none."""
    async with Receiver(answering(ok())) as receiver:
        behind, _ = await served(serve, receiver)
        front_route = Route("front", Upstream("http", "127.0.0.1", port_of(behind)), None, NoIdentity())
        context = await serve(Settings((front_route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None))
        app = await connect(port_of(context))
        app.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await app.response()).status == 200
        (request,) = receiver.requests
        hops = (request.one("via") or "").split(", ")
        assert len(hops) == 2
        assert all(hop.startswith("1.1 idtoken-proxy-") for hop in hops)
        assert hops[0] != hops[1]
        # What a client says of other proxies is no loop.
        app.send(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nVia: 1.1 idtoken-proxy, 1.1 idtoken-proxy-00000000\r\n\r\n"
        )
        assert (await app.response()).status == 200
        # Back through the first of them, whatever else it went through.
        for via in (hops[0], f"1.1 a, {hops[0]}, 2 b", f"1.0 {hops[0].split(' ')[1]} (a comment)"):
            app.send(f"GET / HTTP/1.1\r\nHost: localhost\r\nVia: {via}\r\n\r\n".encode())
            answer = await app.response()
            assert answer.status == 508
            assert "upstream" in problem(answer)["remedy"]
        assert len(receiver.requests) == 2
        app.close()


async def test_a_proxy_that_is_its_own_upstream_answers_once(serve: Serve) -> None:
    async with Receiver(answering(ok())) as stand_in:
        number = stand_in.port
    route = Route("self", Upstream("http", "127.0.0.1", number), None, NoIdentity())
    server = await serve(Settings((route,), listen=(TcpAddress("127.0.0.1", number),), admin=None))
    app = await connect(number)
    app.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await app.response()
    assert answer.status == 508
    assert problem(answer)["fault"] == "operator"
    assert server.context.stats.connections == 2
    app.close()
