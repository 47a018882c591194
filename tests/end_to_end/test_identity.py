"""Tokens, or none: outages of the metadata server, a thousand requests and no token yet, secrets that stay secret."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from tests.end_to_end.conftest import Serve, ServeProcess, config_for, route_to, settings_for
from tests.engine.proxied import route_to as route_to_receiver
from tests.engine.wire import Receiver, Wire, answering, connect, eventually, get, ok

Trouble = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


async def test_a_metadata_server_that_is_down_and_comes_up(
    emulator: Emulator,
    serve: Serve,
    seen: list[Seen],
    client: aiohttp.ClientSession,
    dead_socket: socket.socket,
) -> None:
    host = f"127.0.0.1:{dead_socket.getsockname()[1]}"
    server = await serve(settings_for(route_to(emulator, "user-profiles"), metadata_host=host))
    url = f"http://localhost:{server.addresses[0].port}/user-profiles/42"
    for _ in range(3):
        async with client.post(url, data=b"hello") as answer:
            assert (answer.status, answer.content_type) == (503, "application/problem+json")
            told = json.loads(await answer.text())
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Proxy-Status"].startswith("idtoken-proxy; error=")
        assert told["cause"] == "metadata_unreachable"
        assert (told["route"], told["audience"]) == ("user-profiles", emulator.urls["user-profiles"])
        assert told["remedy"].startswith("Only Google Cloud has one.")
    assert not server.ready
    assert not seen

    async def to_google(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = emulator.metadata_host.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        back.write(await reader.readuntil(b"\r\n\r\n"))
        writer.write(await there.readuntil(b"\r\n\r\n"))
        writer.write(await there.read(64 * 1024))
        writer.close()
        back.close()

    async with await asyncio.start_server(to_google, sock=dead_socket):
        await eventually(lambda: server.ready, "the proxy does not recover alone")
        async with client.get(url) as answer:
            assert answer.status == 200
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (lambda: web.Response(status=500, headers={"Metadata-Flavor": "Google"}), "metadata_unavailable"),
        (lambda: web.Response(status=500), "metadata_foreign"),
        (lambda: web.Response(status=404, headers={"Metadata-Flavor": "Google"}), "no_service_account"),
        (lambda: web.Response(text="<html>login here</html>"), "metadata_foreign"),
        (lambda: web.Response(text="eyJnot.a.token", headers={"Metadata-Flavor": "Google"}), "garbage"),
    ],
)
async def test_a_metadata_server_in_trouble(
    emulator: Emulator,
    serve: Serve,
    seen: list[Seen],
    client: aiohttp.ClientSession,
    answer: Callable[[], web.Response],
    cause: str,
) -> None:
    async def trouble(_request: web.Request) -> web.StreamResponse:
        return answer()

    emulator.trouble = trouble
    server = await serve(
        settings_for(route_to(emulator, "user-profiles"), metadata_host=emulator.metadata_host)
    )
    url = f"http://localhost:{server.addresses[0].port}/user-profiles/"
    async with client.get(url) as refused:
        assert refused.status == 503
        assert json.loads(await refused.text())["cause"] == cause
    assert not seen
    emulator.trouble = None
    await eventually(lambda: server.ready, "the proxy does not recover alone")
    async with client.get(url) as served:
        assert served.status == 200


async def test_a_thousand_requests_and_no_token_yet(emulator: Emulator, serve: Serve) -> None:
    gate = asyncio.Event()

    async def slow(_request: web.Request) -> None:
        await gate.wait()

    emulator.trouble = slow
    async with Receiver(answering(ok())) as receiver:
        route = route_to_receiver(receiver, None, identity=route_to(emulator, "billing").identity)
        server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
        apps = [await connect(server.addresses[0].port) for _ in range(1000)]
        for app in apps:
            app.send(get("/"))
        await asyncio.sleep(0.2)
        assert not receiver.connections
        gate.set()
        for app in apps:
            assert (await app.response()).status == 200
            app.close()
        assert len(receiver.requests) == 1000
        assert len({request.one("authorization") for request in receiver.requests}) == 1
    assert emulator.counts.handed_out["metadata"] == 1


async def test_a_hung_token_delays_nobody_else(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession
) -> None:
    hung = emulator.urls["billing"]
    gate = asyncio.Event()

    async def trouble(request: web.Request) -> None:
        if request.query.get("audience") == hung:
            await gate.wait()

    emulator.trouble = trouble
    routes = [route_to(emulator, name) for name in ("user-profiles", "billing")]
    server = await serve(settings_for(*routes, metadata_host=emulator.metadata_host))
    url = f"http://localhost:{server.addresses[0].port}"
    waiting = asyncio.ensure_future(client.get(f"{url}/billing/"))
    for _ in range(20):
        async with client.get(f"{url}/user-profiles/") as answer:
            assert answer.status == 200
    assert not waiting.done()
    gate.set()
    async with await waiting as answer:
        assert answer.status == 200


async def test_a_token_that_ran_out_is_never_sent(
    keys: Keys, serve: Serve, client: aiohttp.ClientSession
) -> None:
    """The metadata server hands out tokens with 20 s left: under 30, so none of them is good enough."""
    seen: list[Seen] = []
    async with Emulator(DEMO, keys=keys, token_lifetime=20, on_request=seen.append) as emulator:
        server = await serve(
            settings_for(route_to(emulator, "user-profiles"), metadata_host=emulator.metadata_host)
        )
        async with client.get(f"http://localhost:{server.addresses[0].port}/user-profiles/") as answer:
            assert answer.status == 503
            assert json.loads(await answer.text())["cause"] == "short_lived"
        assert not seen


# -- secrets ------------------------------------------------------------------------------


async def test_no_output_ever_holds_a_token(
    emulator: Emulator,
    seen: list[Seen],
    serve_process: ServeProcess,
    client: aiohttp.ClientSession,
    dead_port: int,
) -> None:
    """At debug level, over successes and every kind of failure, and on the status page."""
    mode = {"now": "well"}
    handed_out: list[str] = []

    async def trouble(request: web.Request) -> web.StreamResponse | None:
        if mode["now"] == "well":
            return None
        token = emulator.mint("login", request.query.get("audience", ""))
        handed_out.append(token)
        if mode["now"] == "error with it":
            return web.Response(status=500, text=token, headers={"X-Token": token})
        if mode["now"] == "garbage":
            return web.Response(text=f"{token} {token}", headers={"Metadata-Flavor": "Google"})
        # Another audience's.
        return web.Response(
            text=emulator.mint("login", "https://other"), headers={"Metadata-Flavor": "Google"}
        )

    emulator.trouble = trouble
    config = config_for(emulator, log={"level": "debug", "access": "all"}, admin="127.0.0.1:0")
    config["routes"].append(
        {"name": "dead", "match": {"path": "/dead"}, "upstream": f"http://127.0.0.1:{dead_port}"}
    )
    # A receiver that sends its request straight back, in places where a request does not belong.
    async with Receiver(_mirror) as mirror:
        config["routes"].append(
            {"name": "mirror", "match": {"path": "/mirror"}, "upstream": f"http://127.0.0.1:{mirror.port}"}
        )
        for state in ("well", "error with it", "garbage", "another audience"):
            mode["now"] = state
            process = await serve_process(config)
            url = await process.url()
            for path in (
                "/user-profiles/42?access_token=query-sentinel",
                "/search/",
                "/dead",
                "/mirror",
                "/nothing",
            ):
                for headers in ({}, {"Authorization": "Bearer app-sentinel", "Cookie": "a=cookie-sentinel"}):
                    async with client.get(url + path, headers=headers) as answer:
                        assert answer.status in (200, 403, 404, 502, 503)
                        if "Proxy-Status" in answer.headers:
                            _holds_none(await answer.text(), handed_out)
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer app-sentinel\r\n\r\n")
            _holds_none((await reader.read()).decode(), handed_out)
            writer.close()
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            tokens = handed_out + [
                value.split(" ")[1]
                for one in seen
                for name, value in one.headers
                if "authorization" in name.lower() and value.startswith("Bearer eyJ")
            ]
            assert tokens
            _holds_none(process.output, tokens)
            assert "sentinel" not in process.output
            assert '"requestUrl": "/user-profiles/42"' in process.output  # it did say something


def _holds_none(text: str, tokens: list[str]) -> None:
    for token in {*tokens}:
        _, payload, signature = token.split(".")
        assert token not in text
        for part in (payload, signature):
            for at in range(0, len(part) - 20, 4):
                assert part[at : at + 20] not in text


async def _mirror(wire: Wire) -> None:
    number = 0
    while True:
        head = await wire.until(b"\r\n\r\n")
        wire.send(
            (b"HTTP/1.1 2x0 " + head, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + head, head)[number % 3]
        )
        number += 1


async def test_started_before_google_is_there(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    """Alive and not ready, then ready by itself."""
    began = time.monotonic()
    gate = asyncio.Event()

    async def slow(_request: web.Request) -> None:
        await gate.wait()

    emulator.trouble = slow
    process = await serve_process(config_for(emulator))
    url = await process.url()
    assert time.monotonic() - began < 15
    waiting = asyncio.ensure_future(client.get(f"{url}/user-profiles/"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    gate.set()
    async with await waiting as answer:
        assert answer.status == 200
    await process.said("ready")
