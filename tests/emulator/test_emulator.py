from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import Service, World
from idtoken_proxy.identity.token import IdToken
from tests.emulator.conftest import LOGIN, PROJECT, WORLD, FakeClock


async def test_it_runs_the_demo_world_by_itself(client: aiohttp.ClientSession) -> None:
    async with Emulator() as emulator:
        assert emulator.world is DEMO
        assert list(emulator.urls) == ["user-profiles", "search", "billing"]
        assert (await client.get(emulator.urls["billing"])).status == 403


async def test_it_says_where_everything_is(emulator: Emulator) -> None:
    assert emulator.url == f"http://{emulator.metadata_host}"
    assert emulator.iam_endpoint == emulator.url
    assert emulator.token_endpoint == emulator.url + "/token"
    assert emulator.certs_url == emulator.url + "/oauth2/v1/certs"
    assert emulator.jwks_url == emulator.url + "/oauth2/v3/certs"
    assert emulator.sts_endpoint == emulator.url
    assert len({emulator.url, *emulator.urls.values()}) == 8


async def test_tokens_live_as_long_as_asked(keys: Keys, clock: FakeClock) -> None:
    async with Emulator(WORLD, keys=keys, clock=clock, token_lifetime=40) as emulator:
        token = IdToken.parse(emulator.mint("login", "https://a"), origin="test")
    assert token.expires_at == clock.now + 40


async def test_key_files_come_by_call_and_over_http(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    content = emulator.key_file("login")
    assert content["token_uri"] == emulator.token_endpoint
    for name in ("login", LOGIN.email):
        response = await client.get(f"{emulator.url}/emulator/keys/{name}.json")
        assert await response.json() == content


async def test_no_such_account_has_neither_key_nor_token(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    with pytest.raises(KeyError):
        emulator.key_file("nobody")
    with pytest.raises(KeyError):
        emulator.mint("nobody", "https://a")
    response = await client.get(f"{emulator.url}/emulator/keys/nobody.json")
    assert response.status == 404


async def test_trouble_strikes_googles_endpoints_and_passes(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    async def outage(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=503) if request.path == "/oauth2/v1/certs" else None

    emulator.trouble = outage
    assert (await client.get(emulator.certs_url)).status == 503
    assert (await client.get(emulator.jwks_url)).status == 200
    emulator.trouble = None
    assert (await client.get(emulator.certs_url)).status == 200


async def test_a_taken_port_is_an_error_and_nothing_stays_behind(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        world = World(PROJECT, (), (Service("a", port=ports[1]), Service("b", port=ports[0])))
        with pytest.raises(OSError, match="address already in use"):
            await Emulator(world, keys=keys).__aenter__()
        socket.create_server(("127.0.0.1", ports[1])).close()


async def test_open_streams_do_not_hold_up_its_end(keys: Keys) -> None:
    async with aiohttp.ClientSession() as client, Emulator(WORLD, keys=keys) as emulator:
        events = await client.get(emulator.urls["public"] + "/events?interval=60")
        websocket = await client.ws_connect(emulator.urls["public"] + "/ws")
        async with asyncio.timeout(5):
            await emulator.__aexit__(None, None, None)
        events.close()
        await websocket.close()


async def test_it_listens_on_ipv6(keys: Keys, client: aiohttp.ClientSession) -> None:
    async with Emulator(WORLD, keys=keys, host="::1") as emulator:
        assert emulator.metadata_host.startswith("[::1]:")
        url = emulator.urls["profiles"]
        headers = {"Authorization": f"Bearer {emulator.mint('login', url)}"}
        assert (await client.get(url, headers=headers)).status == 200
