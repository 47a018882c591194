"""Traffic of every kind for a while, through a process of its own: what it holds at the end is what it held once it was warm."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from tests.end_to_end.conftest import ServeProcess
from tests.engine.conftest import Receive, receive, token, token_file
from tests.engine.http2.peer import GET, POST, data, headers
from tests.engine.wire import Wire, eventually
from tests.hostile.raw_http2 import ACKNOWLEDGED, CALL, Raw, settings, window

__all__ = ["receive", "token", "token_file"]  # fixtures

WARM: Final = 20  # rounds, after which nothing is made for the first time; the allocator keeps some MiB, too
ROUNDS: Final = 60
EACH: Final = 200  # requests of a round over either version
MIB: Final = 1024 * 1024


async def by_http1(client: aiohttp.ClientSession, url: str, turn: int) -> None:
    async def one(number: int) -> None:
        # As tracing has it: no two alike.
        mine = {
            "traceparent": f"00-{turn:016x}{number:016x}-{number:016x}-01",
            "cookie": f"s={turn}-{number}",
        }
        match number % 8:
            case 0:
                body = b"x" * (number * 500)
                async with client.post(f"{url}/{number}", data=body, headers=mine) as answer:
                    assert answer.status == 200
            case 1:  # the guard's
                async with client.get(url, headers={"origin": f"https://{number}.example"}) as answer:
                    assert answer.status == 403
            case 2:  # given up
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.0005):
                        await client.get(f"{url}/{number}", headers=mine)
            case _:
                async with client.get(f"{url}/{turn}/{number}", headers=mine) as answer:
                    assert answer.status == 200
                    await answer.read()

    for start in range(0, EACH, 20):
        await asyncio.gather(*map(one, range(start, start + 20)))


async def by_http2(port: int, turn: int) -> None:
    app = await Raw.app(port, settings() + ACKNOWLEDGED + window(0, 1 << 30))
    try:
        for start in range(0, EACH, 50):
            asked = range(2 * start + 1, 2 * (start + 50), 2)
            for stream in asked:
                mine = [
                    (b"traceparent", b"00-%016x%016x-0-01" % (turn, stream)),
                    (b"cookie", b"s=%d" % stream),
                ]
                if stream % 8 == 1:
                    app.send(
                        headers(stream, [*_but_for(POST, b"/%d" % stream), *mine]),
                        data(stream, b"x" * 300, end=True),
                    )
                else:
                    app.send(headers(stream, [*_but_for(GET, b"/%d" % stream), *mine], end=True))
            for stream in asked:
                assert (await app.done(stream)).status == 200
                del app.streams[stream]
    finally:
        app.close()


def _but_for(head: list[tuple[bytes, bytes]], path: bytes) -> list[tuple[bytes, bytes]]:
    changed = {b":path": path, b":authority": b"localhost"}
    return [(name, changed.get(name, value)) for name, value in head]


@pytest.mark.thorough
async def test_memory_is_flat(emulator: Emulator, serve_process: ServeProcess) -> None:
    process = await serve_process(
        {
            "listen": "127.0.0.1:0",
            "admin": "off",
            "log": {"format": "json", "access": "errors"},
            "google": {"metadata_host": emulator.metadata_host},
            "identity": {"type": "metadata"},
            "routes": [{"name": "user-profiles", "upstream": emulator.urls["user-profiles"]}],
        }
    )
    url = await process.url()
    await process.said("ready")
    port = int(url.rpartition(":")[2])
    warm = 0
    async with aiohttp.ClientSession() as client:
        for turn in range(ROUNDS):
            if turn == WARM:
                warm = process.memory()
            await by_http1(client, url, turn)
            await by_http2(port, turn)
            process.lines.clear()
    requests = (ROUNDS - WARM) * 2 * EACH
    grown = process.memory() - warm
    assert grown < 2 * MIB, f"{grown / requests:.0f} octets for each of {requests} requests"


@pytest.mark.thorough
async def test_what_a_hundred_idle_streams_take(
    serve_process: ServeProcess, receive: Receive, token_file: Path
) -> None:
    """The app's connection and the receiver's, with all that is made for a stream, as the kernel sees it."""
    arrived: list[Raw] = []

    async def silent(wire: Wire) -> None:
        arrived.append(await Raw.receiver(wire, settings(streams=100) + ACKNOWLEDGED))
        await wire.gone()

    receiver = await receive(silent)
    process = await serve_process(
        {
            "listen": "127.0.0.1:0",
            "admin": "off",
            "log": {"format": "json", "access": "errors"},
            "identity": {"type": "file", "path": str(token_file)},
            "routes": [
                {"name": "calls", "upstream": f"http://127.0.0.1:{receiver.port}", "protocol": "http2"}
            ],
        }
    )
    port = int((await process.url()).rpartition(":")[2])
    apps = []

    async def more(connections: int) -> int:
        for _ in range(connections):
            app = await Raw.app(port)
            app.send(*[headers(stream, CALL) for stream in range(1, 201, 2)])
            apps.append(app)

        def all_there() -> bool:
            for one in arrived:
                one.look()
            return len(arrived) == len(apps) and all(len(one.streams) == 100 for one in arrived)

        await eventually(all_there, "not all come through")
        return process.memory()

    before = await more(20)
    each = (await more(80) - before) / 80  # of what is let go the allocator keeps 4 MiB: 50 KiB of it
    for app in apps:
        app.close()
    assert each < 240 * 1024, f"{each / 1024:.0f} KiB"
