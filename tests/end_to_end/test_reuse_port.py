"""Several proxies on one port, one for each core: `reuse_port: true`."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.settings.model import TcpAddress
from tests.end_to_end.conftest import PATIENCE, Serve, ServeProcess, config_for, route_to, settings_for
from tests.engine.wire import connect, get

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="Linux alone spreads connections over those who share a port"
)
_MIGRATES: Final = Path("/proc/sys/net/ipv4/tcp_migrate_req")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_connections_are_spread_and_each_proxy_has_tokens_of_its_own(
    emulator: Emulator, serve: Serve, port: int
) -> None:
    settings = settings_for(
        route_to(emulator, "user-profiles"),
        metadata_host=emulator.metadata_host,
        listen=(TcpAddress("127.0.0.1", port),),
        reuse_port=True,
    )
    first, second = await serve(settings), await serve(settings)

    async def asked() -> int:
        async with aiohttp.ClientSession() as app, app.get(f"http://127.0.0.1:{port}/user-profiles/") as got:
            return got.status

    assert {await asked() for _ in range(40)} == {200}
    taken = [server.context.stats.connections for server in (first, second)]
    assert sum(taken) == 40
    assert min(taken) > 0
    # One fetch for each instance and audience: they share nothing but the port.
    assert [
        sum(fetches.fresh for fetches in server.context.stats.fetches.values()) for server in (first, second)
    ] == [1, 1]
    # The one that ends leaves all to the other.
    stopping = asyncio.create_task(first.stop())
    assert {await asked() for _ in range(20)} == {200}
    await stopping
    assert {await asked() for _ in range(5)} == {200}


class Load:
    """Requests without a pause, each on a connection of its own. `lost`: by how they failed."""

    def __init__(self, port: int, apps: int) -> None:
        self.answered = 0
        self.lost: Counter[str] = Counter()
        self._port = port
        self._apps = [asyncio.create_task(self._app()) for _ in range(apps)]
        self._over = False

    async def _app(self) -> None:
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self.lost[f"connect: {error.strerror}"] += 1
                continue
            try:
                writer.write(b"GET /user-profiles/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
            except OSError as error:
                self.lost[f"request: {error.strerror}"] += 1
            else:
                if answer.startswith(b"HTTP/1.1 200 ") and answer.rstrip().endswith(b"}"):
                    self.answered += 1
                else:
                    self.lost[str(answer[:12])] += 1
            writer.close()

    async def end(self) -> None:
        self._over = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._apps)


@pytest.mark.thorough
async def test_restarts_under_load_lose_what_the_kernel_s_queue_held_and_no_more(
    emulator: Emulator, serve_process: ServeProcess, port: int
) -> None:
    config = {**config_for(emulator), "listen": f"127.0.0.1:{port}", "reuse_port": True, "admin": "off"}
    instances = [await serve_process(config), await serve_process(config)]
    for one in instances:
        await one.said("ready")
    load = Load(port, 8)
    for turn in range(20):
        ending = instances[turn % 2]
        ending.signal(signal.SIGTERM)
        assert await ending.ended() == 0
        instances[turn % 2] = await serve_process(config)
        await instances[turn % 2].said("ready")
    await load.end()
    assert load.answered > 1000
    # Nothing that was accepted is lost: no answer that is cut short, no 503, no end without an answer.
    resets = sum(count for how, count in load.lost.items() if "Connection reset" in how)
    assert resets == sum(load.lost.values()), load.lost
    # A connection that nobody had accepted yet is reset as its socket is closed, unless the kernel hands it over (ip-sysctl).
    handed_over = _MIGRATES.exists() and _MIGRATES.read_text().strip() == "1"
    assert resets <= (0 if handed_over else 20 * 8), load.lost


async def test_a_second_proxy_that_does_not_say_so_is_refused(
    emulator: Emulator, serve: Serve, serve_process: ServeProcess, port: int
) -> None:
    settings = settings_for(
        route_to(emulator, "user-profiles"),
        metadata_host=emulator.metadata_host,
        listen=(TcpAddress("127.0.0.1", port),),
        reuse_port=True,
    )
    await serve(settings)
    other = await serve_process({**config_for(emulator), "listen": f"127.0.0.1:{port}"})
    assert await other.ended() == 1
    assert "Address already in use" in other.output


async def test_who_was_accepted_last_is_answered_still(emulator: Emulator, serve: Serve) -> None:
    """Its request comes a little later than the end that was asked for, as of a client that knows of none."""
    server = await serve(
        settings_for(route_to(emulator, "user-profiles"), metadata_host=emulator.metadata_host)
    )
    silent, speaking, begun = [await connect(server.addresses[0].port) for _ in range(3)]
    begun.send(b"GET /user-profiles/ HTTP/1.1\r\n")
    await asyncio.sleep(0)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.01)
    speaking.send(get("/user-profiles/"))
    begun.send(b"Host: localhost\r\n\r\n")
    for app in (speaking, begun):
        answer = await app.response()
        assert (answer.status, answer.one("connection")) == (200, "close")
    assert await silent.to_end() == b""
    await stopping
    for app in (silent, speaking, begun):
        app.close()
