"""A developer's own app behind the fake front end: real sockets on both sides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.emulator.backend import as_delivered
from idtoken_proxy.emulator.edge import LARGEST
from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.front_ends import SIGNATURE
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import Service
from idtoken_proxy.identity.answer import Answer, Speaker
from tests.emulator.conftest import LOGIN, WORLD, FakeClock
from tests.emulator.test_receivers import bearer, raw, token_for


async def _tell(request: web.Request) -> web.Response:
    told = {
        "method": request.method,
        "target": request.raw_path,
        "body": (await request.read()).decode(),
        "headers": [[name.decode(), value.decode()] for name, value in request.raw_headers],
    }
    return web.json_response(told, status=201, headers={"Set-Cookie": "a=b", "Server": "mine", "X-App": "1"})


async def _redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def _forbidden(_request: web.Request) -> web.Response:
    return web.Response(status=403, text="not in my house\n")


async def _compressed(_request: web.Request) -> web.Response:
    response = web.Response(text="x" * 2000)
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def _echo(request: web.Request) -> web.StreamResponse:
    """Each block as it comes."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for block in request.content.iter_any():
        await response.write(block)
    return response


async def _broken_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.abort()
    return response


async def _hung_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _chat(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("chat.v2",))
    socket.headers["X-Room"] = "7"
    await socket.prepare(request)
    async for message in socket:
        if message.data == "bye":
            await socket.close(code=4000, message=b"as you wish")
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


@pytest.fixture
async def app() -> AsyncIterator[str]:
    """Its URL."""
    application = web.Application()
    for path, handler in (
        ("/redirect", _redirect),
        ("/forbidden", _forbidden),
        ("/compressed", _compressed),
        ("/echo", _echo),
        ("/broken-off", _broken_off),
        ("/hung-up", _hung_up),
        ("/chat", _chat),
    ):
        application.router.add_route("*", path, handler)
    application.router.add_route("*", "/{rest:.*}", _tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def emulator(app: str, keys: Keys, clock: FakeClock) -> AsyncIterator[Emulator]:
    """As the other tests' world, with the app behind what this module's tests ask."""
    invokers = frozenset({LOGIN.member})
    services = (
        Service("mine", invokers, backend=app),
        Service("resize", invokers, is_function=True, backend=app),
        Service("public", frozenset({"allUsers"}), backend=app),
    )
    async with Emulator(replace(WORLD, services=services), keys=keys, clock=clock) as running:
        yield running


def headers_of(told: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in told["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


async def test_the_app_sees_what_cloud_run_would_send(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    token = token_for(emulator, "mine")
    sent = {
        **bearer(token),
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=evil",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Proxy-Authorization": "Basic eDp5",
        "X-Kept": "yes",
        "Accept-Encoding": "br",
    }
    url = emulator.urls["mine"]
    response = await client.post(url, data=b"some", headers=sent)
    assert (response.status, response.headers["X-App"], response.headers["Set-Cookie"]) == (201, "1", "a=b")
    assert response.headers["Server"] == "Google Frontend"
    told = await response.json()
    assert (told["method"], told["body"]) == ("POST", "some")
    seen = headers_of(told)
    assert seen["authorization"] == [f"Bearer {token.rpartition('.')[0]}.{SIGNATURE}"]
    assert seen["host"] == [url.removeprefix("http://")]
    assert seen["x-forwarded-for"] == ["203.0.113.9, 127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["https"]
    assert seen["forwarded"] == ['for="127.0.0.1";proto=https']
    assert (seen["x-kept"], seen["accept-encoding"], seen["content-length"]) == (["yes"], ["br"], ["4"])
    assert len(seen["x-cloud-trace-context"]) == 1
    assert not {"x-hop", "proxy-authorization", "transfer-encoding"} & set(seen)


async def test_x_serverless_authorization_loses_its_signature_and_the_app_s_own_is_kept(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    token = token_for(emulator, "mine")
    sent = {"X-Serverless-Authorization": f"Bearer {token}", "Authorization": "Basic eDp5"}
    told = await (await client.get(emulator.urls["mine"], headers=sent)).json()
    seen = headers_of(told)
    assert seen["x-serverless-authorization"] == [f"Bearer {token.rpartition('.')[0]}.{SIGNATURE}"]
    assert seen["authorization"] == ["Basic eDp5"]


@pytest.mark.parametrize(
    ("service", "path", "target"),
    [
        ("mine", "/a%2Fb/./c;d?x=%20&y", "/a%2Fb/./c;d?x=%20&y"),
        ("resize", "", "/"),
        ("resize", "/x?y", "/x?y"),
        ("resize", "%2F@127.0.0.2:1/y", "/%2F@127.0.0.2:1/y"),
        ("resize", "%2f..%2fx", "/%2f..%2fx"),
    ],
)
async def test_the_target_goes_on_as_it_came(
    emulator: Emulator, service: str, path: str, target: str
) -> None:
    url = emulator.urls[service]
    token = emulator.mint("login", url)
    host, _, own = url.removeprefix("http://").partition("/")
    own = f"/{own}" if own else ""
    request = f"GET {own}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    host_only = replace_urls(emulator, service, f"http://{host}")
    answer = await raw(host_only, service, request.encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["target"] == target


def replace_urls(emulator: Emulator, service: str, url: str) -> Emulator:
    emulator.urls[service] = url  # of a function: without its path, for a connection of this test's own
    return emulator


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 403),
        ("GET", "/", {"Authorization": "Bearer nonsense"}, 401),
        ("GET", "/healthz", {}, 404),
        ("GET", "/_ah/x", {}, 404),
    ],
)
async def test_what_the_front_end_refuses_never_reaches_the_app(
    emulator: Emulator, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    host = emulator.urls["mine"].removeprefix("http://")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n"
    answer = await raw(emulator, "mine", head.encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"x-app" not in answer.lower()


async def test_what_is_too_large_is_refused_before_the_app_reads_it(emulator: Emulator) -> None:
    host = emulator.urls["mine"].removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LARGEST + 1}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_a_post_without_a_length_is_411(emulator: Emulator) -> None:
    host = emulator.urls["mine"].removeprefix("http://")
    answer = await raw(
        emulator, "mine", f"POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 411 ")


async def test_the_app_s_own_answers_pass_untouched(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url, headers = emulator.urls["mine"], bearer(token_for(emulator, "mine"))
    response = await client.get(f"{url}/redirect", headers=headers, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
    response = await client.get(f"{url}/forbidden", headers=headers)
    assert (response.status, await response.text()) == (403, "not in my house\n")
    response = await client.head(f"{url}/forbidden", headers=headers)
    assert (response.status, response.content_length) == (403, 16)
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        response = await plain.get(f"{url}/compressed", headers=headers | {"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        assert (await response.read())[:2] == b"\x1f\x8b"
    response = await client.get(emulator.urls["public"])
    assert "authorization" not in headers_of(await response.json())


async def test_both_ways_at_once(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    """A block of the request comes back before the next one goes."""
    back: asyncio.Queue[bytes] = asyncio.Queue()

    async def blocks() -> AsyncIterator[bytes]:
        yield b"one"
        assert await back.get() == b"one"
        yield b"two"
        assert await back.get() == b"two"

    headers = bearer(token_for(emulator, "mine")) | {"Expect": "100-continue"}
    async with asyncio.timeout(5):
        async with client.post(f"{emulator.urls['mine']}/echo", data=blocks(), headers=headers) as response:
            async for block in response.content.iter_any():
                back.put_nowait(block)


async def test_a_websocket_with_its_subprotocol_extensions_and_close(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer(token_for(emulator, "mine"))
    url = f"{emulator.urls['mine']}/chat"
    big = bytes(range(256)) * 4096
    async with asyncio.timeout(5):
        async with client.ws_connect(url, headers=headers, protocols=["chat.v2"], compress=15) as socket:
            assert (socket.protocol, socket.compress) == ("chat.v2", 15)
            assert socket.get_extra_info("peername") is not None
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            await socket.send_bytes(big)
            assert await socket.receive_bytes() == big
            await socket.send_str("bye")
            message = await socket.receive()
            assert (message.type, message.data, message.extra) == (
                aiohttp.WSMsgType.CLOSE,
                4000,
                "as you wish",
            )


async def test_a_handshake_that_the_app_or_the_front_end_refuses(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer(token_for(emulator, "mine"))
    for path, sent in (("/forbidden", headers), ("/chat", {})):
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await client.ws_connect(emulator.urls["mine"] + path, headers=sent)
        assert raised.value.status == 403


async def test_an_open_websocket_does_not_hold_up_the_emulator_s_end(
    app: str, keys: Keys, client: aiohttp.ClientSession
) -> None:
    services = (Service("mine", frozenset({"allUsers"}), backend=app),)
    async with asyncio.timeout(5):
        async with Emulator(replace(WORLD, services=services), keys=keys) as running:
            socket = await client.ws_connect(f"{running.urls['mine']}/chat")
            await socket.send_str("hello")
            await socket.receive()
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)


async def test_an_app_that_breaks_off_is_told_from_one_that_ends(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer(token_for(emulator, "mine"))
    response = await client.get(f"{emulator.urls['mine']}/broken-off", headers=headers)
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_a_caller_who_hangs_up_ends_what_the_app_does(
    keys: Keys, client: aiohttp.ClientSession
) -> None:
    """Whether or not it has something to say."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    runner = web.ServerRunner(web.Server(work, handler_cancellation=True))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app = f"http://127.0.0.1:{runner.addresses[0][1]}"
    services = (Service("mine", frozenset({"allUsers"}), backend=app),)
    async with asyncio.timeout(5), Emulator(replace(WORLD, services=services), keys=keys) as running:
        async with client.get(running.urls["mine"]):
            await begun.wait()
        await ended.wait()
    await runner.cleanup()


async def test_an_app_that_hangs_up_or_is_down_is_503(
    keys: Keys, emulator: Emulator, client: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    said = "upstream connect error or disconnect/reset before headers. reset reason: "
    response = await client.get(
        f"{emulator.urls['mine']}/hung-up", headers=bearer(token_for(emulator, "mine"))
    )
    assert (response.status, await response.text()) == (503, said + "connection termination")
    gone = Service("gone", frozenset({"allUsers"}), backend=f"http://127.0.0.1:{unused_tcp_port}")
    async with Emulator(replace(WORLD, services=(gone,)), keys=keys) as running:
        response = await client.get(running.urls["gone"])
        body = await response.read()
        assert (response.status, body.decode()) == (503, said + "connection failure")
        lines = [b"%s: %s" % field for field in response.raw_headers]
    # The proxy must not take it for certain, as an app may have an Envoy of its own.
    assert Answer.of(503, lines, body).speaker is Speaker.PERHAPS


async def test_an_app_that_speaks_no_http_is_503(keys: Keys, client: aiohttp.ClientSession) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        odd = Service("odd", frozenset({"allUsers"}), backend=f"http://127.0.0.1:{port}")
        async with Emulator(replace(WORLD, services=(odd,)), keys=keys) as running:
            response = await client.get(running.urls["odd"])
            assert response.status == 503
            assert (await response.text()).endswith("reset reason: protocol error")


def test_an_ipv6_peer_is_in_brackets() -> None:
    seen = as_delivered((("Host", "x"),), "::1")
    assert (seen["X-Forwarded-For"], seen["Forwarded"]) == ("::1", 'for="[::1]";proto=https')
