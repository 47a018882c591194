"""HTTP_PROXY is all that an unmodified app needs: it names the receiver, and the proxy goes there, by TLS and with a token."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Route, Settings, TcpAddress, Upstream
from tests.end_to_end.conftest import CALLER, Serve, route_to, settings_for
from tests.engine.wire import Message, Receiver, answering, connect, eventually, get, ok

curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed; .ci/run installs it")


def port_of(server: Server) -> int:
    return server.addresses[0].port


async def ask(port: int, target: str, host: str | None = None, *fields: str, method: str = "GET") -> Message:
    """In absolute form, with the Host that RFC 9112 section 3.2.2 wants, or with another."""
    wanted = host if host is not None else target.removeprefix("http://").partition("/")[0].partition("?")[0]
    app = await connect(port)
    app.send(get(target, *fields, method=method).replace(b"Host: localhost", f"Host: {wanted}".encode()))
    try:
        return await app.response(to=method)
    finally:
        app.close()


def problem(answer: Message) -> dict[str, Any]:
    assert answer.one("content-type") == "application/problem+json", answer
    told: dict[str, Any] = json.loads(answer.body)
    return told


@pytest.fixture
async def port(emulator: Emulator, serve: Serve) -> int:
    """Of a proxy with a route for each private service, and one that is known by a name alone."""
    routes = [route_to(emulator, name) for name in emulator.urls]
    routes.append(replace(routes[0], name="named", host="profiles.localhost", path="/"))
    return port_of(await serve(settings_for(*routes, metadata_host=emulator.metadata_host)))


# -- clients as they are ---------------------------------------------------------------


@curl
@pytest.mark.parametrize("options", [[], ["--http1.0"], ["-d", "hello"]])
async def test_curl_with_nothing_but_the_variable(emulator: Emulator, port: int, options: list[str]) -> None:
    for name in ("user-profiles", "billing"):
        url = emulator.urls[name]
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--fail", *options, f"{url}/42?x=1"),
            env={"http_proxy": f"http://localhost:{port}", "no_proxy": ""},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            out, _ = await process.communicate()
        told = json.loads(out)
        assert (told["service"], told["audience"], told["caller"]) == (name, url, CALLER)
        assert told["path"] == "/42?x=1"


async def test_each_receiver_gets_the_token_that_is_for_it(
    emulator: Emulator, port: int, seen: list[Seen]
) -> None:
    for name, url in emulator.urls.items():
        answer = await ask(port, f"{url}/{name}/1")
        if name == "search":  # which login may not call
            assert answer.status == 403
            assert answer.one("proxy-status") is None
            continue
        told = json.loads(answer.body)
        assert (told["service"], told["audience"], told["path"]) == (name, url, f"/{name}/1")
    assert len(seen) == len(emulator.urls)


async def test_a_name_that_a_route_matches(port: int) -> None:
    told = json.loads((await ask(port, "http://profiles.localhost/42")).body)
    assert (told["service"], told["path"]) == ("user-profiles", "/42")


# -- https ------------------------------------------------------------------------------


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Receiver, str]]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    await asyncio.to_thread(ca.cert_pem.write_to_path, tmp_path / "ca.pem")
    async with Receiver(answering(ok()), tls=context) as receiver:
        yield receiver, str(tmp_path / "ca.pem")


async def test_the_app_says_http_and_the_proxy_speaks_tls(secure: tuple[Receiver, str], serve: Serve) -> None:
    receiver, ca_file = secure
    upstream = Upstream("https", "localhost", receiver.port, "/base")
    route = Route("it", upstream, None, NoIdentity(), path="/it", strip_prefix=True)
    server = await serve(
        Settings((route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None, ca_file=ca_file)
    )
    url = f"http://localhost:{receiver.port}"
    assert (await ask(port_of(server), f"{url}/base/x?y")).status == 200
    assert (await ask(port_of(server), f"{url}/base")).status == 200
    assert [request.target for request in receiver.requests] == ["/base/x?y", "/base"]
    assert receiver.requests[0].one("host") == f"localhost:{receiver.port}"
    assert receiver.requests[0].one("x-forwarded-host") == f"localhost:{receiver.port}"
    # What is not under the route's base path is nobody's, and nothing leads out of it.
    assert (await ask(port_of(server), f"{url}/elsewhere")).status == 404
    assert (await ask(port_of(server), url)).status == 404
    for dots in ("..", "%2e%2e", "..;x", "..%2f"):
        assert (await ask(port_of(server), f"{url}/base/{dots}/x")).status == 400
    assert len(receiver.requests) == 2


def within(authority: str, path: str) -> bytes:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + get(path).replace(
        b"Host: localhost", f"Host: {authority}".encode()
    )


async def test_a_route_s_prefix_holds_for_whoever_names_its_receiver(serve: Serve) -> None:
    """In absolute form, and through a CONNECT, however the path is spelled."""
    async with Receiver(answering(*[ok()] * 9)) as receiver:
        upstream = Upstream("http", "127.0.0.1", receiver.port)
        route = Route("it", upstream, None, NoIdentity(), path="/public")
        server = await serve(Settings((route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None))
        authority = f"127.0.0.1:{receiver.port}"
        url = f"http://{authority}"
        assert (await ask(port_of(server), f"{url}/public/x")).status == 200
        for path in (
            "/admin",
            "/",
            "",
            "/publication",
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/PUBLIC",
        ):
            assert (await ask(port_of(server), url + path)).status in (400, 404), path
            app = await connect(port_of(server))
            app.send(within(authority, path or "/"))
            await eventually(lambda: app.received.count(b"HTTP/1.1 ") == 2, "two answers")  # noqa: B023
            _, established, answer = bytes(app.received).split(b"HTTP/1.1 ")
            assert (established[:3], answer[:3] in (b"400", b"404")) == (b"200", True), path
            app.close()
        assert [request.target for request in receiver.requests] == ["/public/x"]


async def test_the_form_can_be_turned_off(serve: Serve) -> None:
    async with Receiver(answering(*[ok()] * 9)) as receiver:
        upstream = Upstream("http", "127.0.0.1", receiver.port)
        routes = (
            Route("named", upstream, None, NoIdentity(), host="named.test"),
            Route("it", upstream, None, NoIdentity()),
        )
        server = await serve(
            Settings(routes, listen=(TcpAddress("127.0.0.1", 0),), admin=None, forward_proxy=False)
        )
        port = port_of(server)
        authority = f"127.0.0.1:{receiver.port}"
        refused = (
            f"http://{authority}/",
            f"https://{authority}/",
            "https://named.test/",
            "http://named.test:81/",
        )
        for target in (*refused, f"ws://127.0.0.1:{port}/"):
            answer = await ask(port, target, target.split("/")[2])
            assert (answer.status, "forward_proxy: on" in problem(answer)["remedy"]) == (403, True), target
        for named in (authority, f"127.0.0.1:{port}", "named.test:80"):
            app = await connect(port)
            app.send(within(named, "/"))
            assert (await app.response(to="CONNECT")).status == 403, named
            app.close()
        assert not receiver.requests
        # What names the proxy itself, as any server has to take it (RFC 9112 section 3.2.2).
        for own in (f"http://127.0.0.1:{port}/", "http://localhost/", f"http://named.test:{port}/"):
            assert (await ask(port, own)).status == 200, own
        assert len(receiver.requests) == 3


async def test_a_redirect_is_one_that_an_app_behind_the_proxy_can_follow(serve: Serve) -> None:
    async with Receiver(answering(b"")) as receiver:
        origin = f"http://127.0.0.1:{receiver.port}"
        redirect = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
        places = (b"/base/login?a", origin.encode() + b"/base/x", b"https://elsewhere.example/")
        receiver.script = answering(*(redirect % place for place in places))
        upstream = Upstream("http", "127.0.0.1", receiver.port, "/base")
        route = Route("it", upstream, None, NoIdentity(), path="/it", strip_prefix=True)
        server = await serve(Settings((route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None))
        told = [(await ask(port_of(server), f"{origin}/base/")).one("location") for _ in places]
    assert told[0] in ("/base/login?a", f"{origin}/base/login?a")
    assert told[1:] == [f"{origin}/base/x", "https://elsewhere.example/"]


# -- who is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["http://evil.example/", "http://169.254.169.254/x", "http://localhost.evil/"]
)
async def test_any_other_host_is_told_the_known_ones(
    emulator: Emulator, port: int, seen: list[Seen], target: str
) -> None:
    answer = await ask(port, target)
    assert answer.status == 403
    told = problem(answer)
    assert "is no host that this proxy forwards to" in told["detail"]
    for url in emulator.urls.values():
        assert url.removeprefix("http://") in told["remedy"]
    assert "profiles.localhost" in told["remedy"]
    assert seen == []


async def test_another_server_of_this_machine_is_not_mistaken_for_the_proxy(
    emulator: Emulator, port: int, seen: list[Seen]
) -> None:
    assert (await ask(port, f"http://localhost:{port}/user-profiles/42")).status == 200
    seen.clear()
    for host in ("localhost:1", "127.0.0.1:1"):
        answer = await ask(port, f"http://{host}/user-profiles/42")
        assert answer.status == 403
        assert f"NO_PROXY={host.removesuffix(':1')}" in problem(answer)["remedy"]
    assert seen == []


async def test_the_host_must_agree(emulator: Emulator, port: int, seen: list[Seen]) -> None:
    url = emulator.urls["user-profiles"]
    for host in ("localhost", "evil.example", emulator.urls["billing"].removeprefix("http://")):
        assert (await ask(port, f"{url}/", host)).status == 400
    assert seen == []


async def test_a_host_header_alone_reaches_no_receiver(
    emulator: Emulator, port: int, seen: list[Seen]
) -> None:
    """In origin form it is the proxy's own loopback name, whose port does not matter: routed by its path as ever."""
    authority = emulator.urls["user-profiles"].removeprefix("http://")
    assert (await ask(port, f"http://{authority}/42")).status == 200
    assert (await ask(port, "/42", authority)).status == 404
    assert len(seen) == 1


async def test_a_page_elsewhere_is_refused(emulator: Emulator, port: int, seen: list[Seen]) -> None:
    url = emulator.urls["user-profiles"]
    for field in ("Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"):
        assert (await ask(port, f"{url}/", None, field)).status == 403
    assert seen == []
    assert (await ask(port, f"{url}/", None, f"Origin: {url}", "Sec-Fetch-Site: same-origin")).status == 200


async def test_a_credential_for_the_proxy_goes_no_further(
    emulator: Emulator, port: int, seen: list[Seen]
) -> None:
    fields = ("Proxy-Authorization: Basic czNjcjN0", "Proxy-Connection: Keep-Alive")
    assert (await ask(port, f"{emulator.urls['user-profiles']}/", None, *fields)).status == 200
    (request,) = seen
    assert not any(name.lower().startswith("proxy-") for name, _ in request.headers)


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "ws", "wss"])
async def test_other_schemes_name_a_receiver_too(
    emulator: Emulator, port: int, scheme: str, seen: list[Seen]
) -> None:
    """Old axios sends https:// to whatever proxy it is given, WebSocket clients ws://."""
    authority = emulator.urls["user-profiles"].removeprefix("http://")
    told = json.loads((await ask(port, f"{scheme}://{authority}/42", authority)).body)
    assert (told["service"], told["path"]) == ("user-profiles", "/42")
    answer = await ask(port, f"{scheme}://evil.example/", "evil.example")
    assert answer.status == 403
    assert "it forwards to" in problem(answer)["remedy"]
    assert (await ask(port, f"{scheme}://{authority}/", "evil.example")).status == 400
    for own in (f"localhost:{port}", f"127.0.0.1:{port}"):  # which speaks no TLS
        assert (await ask(port, f"{scheme}://{own}/user-profiles/42", own)).status == 400
    assert len(seen) == 1


@pytest.mark.parametrize("target", ["ftp://{}/", "file://{}/", "wsss://{}/", "http://user@{}/", "http:/{}/"])
async def test_other_schemes_are_no_targets(emulator: Emulator, port: int, target: str) -> None:
    authority = emulator.urls["user-profiles"].removeprefix("http://")
    assert (await ask(port, target.format(authority), authority)).status == 400
