"""`idtoken-proxy serve` as a process: signals, environment, exit codes, memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from idtoken_proxy.emulator import Emulator
from tests.cases import and_thoroughly
from tests.end_to_end.conftest import CALLER, PATIENCE, ROOT, Process, ServeProcess, _environ, config_for

MIB = 1024 * 1024


@pytest.mark.parametrize("number", and_thoroughly(signal.SIGTERM, signal.SIGINT))
async def test_a_signal_ends_it_with_0(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, number: signal.Signals
) -> None:
    process = await serve_process(config_for(emulator))
    url = await process.url()
    async with client.get(f"{url}/user-profiles/") as answer:
        assert answer.status == 200
    process.signal(number)
    assert await process.ended() == 0
    assert (await process.said("draining"))["signal"] == number.name
    await process.said("stopped")
    assert "Traceback" not in process.output


async def refuses(url: str) -> bool:
    """The listeners close right behind the word in the log: a connection in between is still taken, and answered."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with aiohttp.ClientSession() as other, other.get(f"{url}/user-profiles/") as answer:
                    assert answer.status == 200
            except aiohttp.ClientConnectorError:
                return True
            except aiohttp.ServerDisconnectedError:  # accepted, and closed before it was read
                continue


async def test_it_drains(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    process = await serve_process(config_for(emulator))
    url = await process.url()
    async with client.get(f"{url}/user-profiles/events?interval=0.3&count=4") as answer:
        await answer.content.readline()
        process.signal(signal.SIGTERM)
        await process.said("draining")
        assert await refuses(url)
        rest = await answer.content.read()
    assert b"id: 4" in rest
    assert await process.ended() == 0


@pytest.mark.parametrize("end", ["SIGTERM", "quitquitquit"])
async def test_a_lame_duck_still_takes_requests_where_a_signal_ends_it(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, end: str
) -> None:
    """Cloud Run tells the app to end at the same moment; whoever asks by /quitquitquit has made its last request."""
    signalled = end == "SIGTERM"
    timeouts = {"lameduck": "1s" if signalled else "1h"}
    process = await serve_process(config_for(emulator, timeouts=timeouts, admin="localhost:0"))
    url = await process.url()
    admin = (await process.said("admin listening"))["address"]
    if signalled:
        process.signal(signal.SIGTERM)
        await process.said("draining")
        async with client.get(f"{admin}/readiness") as answer:
            assert answer.status == 503
        async with aiohttp.ClientSession() as other, other.get(f"{url}/user-profiles/") as answer:
            assert answer.status == 200
    else:
        async with client.post(f"{admin}/quitquitquit") as answer:
            assert answer.status == 200
    assert await process.ended() == 0


async def test_a_stream_without_an_end_does_not_hold_it_up(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    process = await serve_process(config_for(emulator, timeouts={"drain": "1s"}))
    url = await process.url()
    async with (
        client.get(f"{url}/user-profiles/events?interval=0.1") as answer,
        client.ws_connect(f"{url}/user-profiles/ws") as websocket,
    ):
        await answer.content.readline()
        process.signal(signal.SIGTERM)
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()  # not a clean end
        assert (await websocket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert await process.ended() == 0
    await process.said("drain timed out")


async def test_a_second_signal_ends_it_at_once(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    process = await serve_process(config_for(emulator, timeouts={"drain": "60s"}))
    url = await process.url()
    async with client.get(f"{url}/user-profiles/events?interval=0.1") as answer:
        await answer.content.readline()
        process.signal(signal.SIGTERM)
        await process.said("draining")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 128 + signal.SIGTERM


async def test_a_signal_in_the_middle_of_a_reload_ends_it_with_0_and_loses_no_request(
    emulator: Emulator,
    serve_process: ServeProcess,
    client: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    config = config_for(emulator)
    process = await serve_process(config)
    url = await process.url()
    async with client.get(f"{url}/user-profiles/events?interval=0.1&count=5") as answer:
        await answer.content.readline()
        slow = tmp_path / "slow.yaml"
        os.mkfifo(slow)  # whose reading goes on until somebody has written to it
        slow.replace(tmp_path / "proxy-0.yaml")
        process.signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            writing = await asyncio.to_thread(
                os.open, tmp_path / "proxy-0.yaml", os.O_WRONLY
            )  # when it is read
        process.signal(signal.SIGTERM)
        await process.said("draining")
        os.write(writing, yaml.safe_dump(dict(config)).encode())
        os.close(writing)
        rest = await answer.content.read()
    assert rest.count(b"\n\n") == 5
    assert await process.ended() == 0
    await process.said("stopped")
    assert "reloaded" not in process.output
    assert "Traceback" not in process.output


async def test_a_reload_and_the_end_asked_for_at_once(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config = config_for(emulator)
    process = await serve_process(config)
    async with client.get(f"{await process.url()}/user-profiles/events?interval=0.1&count=3") as answer:
        await answer.content.readline()
        rewrite(tmp_path, {**config, "listen": ["127.0.0.1:0", f"unix:{tmp_path}/proxy.sock"]})
        process.signal(signal.SIGHUP)
        process.signal(signal.SIGTERM)
        assert (await answer.content.read()).count(b"\n\n") == 3
    assert await process.ended() == 0
    await process.said("stopped")
    assert "Traceback" not in process.output
    assert not (tmp_path / "proxy.sock").exists()


async def test_a_reload_is_no_matter_any_more_while_it_drains(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config = config_for(emulator)
    process = await serve_process(config)
    async with client.get(f"{await process.url()}/user-profiles/events?interval=0.1&count=5") as answer:
        await answer.content.readline()
        process.signal(signal.SIGTERM)
        await process.said("draining")
        rewrite(tmp_path, {**config, "listen": "127.0.0.1:0", "log": {"level": "debug"}})
        process.signal(signal.SIGHUP)
        assert (await answer.content.read()).count(b"\n\n") == 5
    assert await process.ended() == 0
    await process.said("stopped")
    assert "reload" not in process.output


def rewrite(directory: Path, config: Mapping[str, Any]) -> None:
    """The file of the first process."""
    fresh = directory / "fresh.yaml"
    fresh.write_text(yaml.safe_dump(dict(config)))
    fresh.replace(directory / "proxy-0.yaml")


async def test_a_hang_up_leaves_a_drain_alone(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    process = await serve_process(config_for(emulator))
    async with client.get(f"{await process.url()}/user-profiles/events?interval=0.1&count=5") as answer:
        await answer.content.readline()
        process.signal(signal.SIGTERM)
        await process.said("draining")
        for _ in range(2):
            process.signal(signal.SIGHUP)
            await answer.content.readline()
        assert b"id: 5" in await answer.content.read()
        while process.process.returncode is None:  # to the very end
            with contextlib.suppress(ProcessLookupError):
                process.signal(signal.SIGHUP)
            await asyncio.sleep(0.001)
    assert await process.ended() == 0


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_hang_up_without_a_file_ends_it_with_0(*, ignored: bool) -> None:
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", ("trap '' HUP; " if ignored else "") + 'exec "$@"', "sh"),
        *(
            sys.executable,
            "-m",
            "idtoken_proxy",
            "serve",
            "--upstream",
            "http://localhost:1",
            "--listen",
            "127.0.0.1:0",
        ),
        cwd=ROOT,
        env={**_environ(), "IDTOKEN_PROXY_ADMIN": "off", "IDTOKEN_PROXY_LOG_FORMAT": "json"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    serving = Process(process)
    try:
        await serving.url()
        serving.signal(signal.SIGHUP)
        if ignored:
            serving.signal(signal.SIGTERM)
        assert (await serving.said("draining"))["signal"] == ("SIGTERM" if ignored else "SIGHUP")
        assert await serving.ended() == 0
    finally:
        await serving.end()


async def test_proxy_variables_do_not_concern_it(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, dead_port: int
) -> None:
    """Receivers on loopback, and the metadata server, are reached directly."""
    dead = f"http://127.0.0.1:{dead_port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    process = await serve_process(config_for(emulator), **dict.fromkeys(names, dead))
    async with client.get(f"{await process.url()}/user-profiles/") as answer:
        assert answer.status == 200
        assert (await answer.json())["caller"] == CALLER


async def test_a_taken_port(emulator: Emulator, serve_process: ServeProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await serve_process(config_for(emulator, listen=f"127.0.0.1:{port}"))
        assert await process.ended() == 1
    assert f"Cannot listen: 127.0.0.1:{port}" in process.output
    assert "Traceback" not in process.output


async def test_a_mistake_in_the_configuration(emulator: Emulator, serve_process: ServeProcess) -> None:
    process = await serve_process(config_for(emulator, lisen="127.0.0.1:0"))
    assert await process.ended() == 2
    assert "lisen" in process.output
    assert "Traceback" not in process.output


@pytest.mark.thorough
async def test_a_hundred_mebibytes_each_way(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    total = 100 * MIB
    block = bytes(range(256)) * 256
    process = await serve_process(config_for(emulator))
    url = await process.url()

    async def body(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // len(block)):
            yield block

    async def upload(size: int, **headers: str) -> str:
        async with client.post(f"{url}/user-profiles/files", data=body(size), headers=headers) as answer:
            told = await answer.json()
        assert told["body"]["size"] == size
        return str(told["body"]["sha256"])

    async def download(size: int, query: str = "") -> str:
        digest, got = hashlib.sha256(), 0
        async with client.get(f"{url}/user-profiles/bytes/{size}{query}") as answer:
            async for chunk in answer.content.iter_any():
                digest.update(chunk)
                got += len(chunk)
        assert got == size
        return digest.hexdigest()

    expected = hashlib.sha256(block * (total // len(block))).hexdigest()
    for size in (4 * MIB, 4 * MIB):  # as large as its buffers will ever be
        await upload(size)
        await download(size)
    before = process.memory()
    async with asyncio.timeout(4 * PATIENCE):
        assert await upload(total) == expected  # chunked
        assert await download(total) == expected  # with a length
    assert process.memory("VmHWM") - before < 8 * MIB
