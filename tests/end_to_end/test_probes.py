"""How a process starts, tells and stops, as an orchestrator sees it: probes, `wait`, /quitquitquit, SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from tests.end_to_end.conftest import PATIENCE, ROOT, ServeProcess, _environ, config_for


@pytest.fixture
def admin(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/admin.sock"


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Talks to the admin listener; a connection of its own for each question."""
    connector = aiohttp.UnixConnector(f"{tmp_path}/admin.sock", force_close=True)
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


async def command(*argv: str, **environ: str) -> tuple[int | None, str]:
    """Exit code, and what it said to standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "idtoken_proxy", *argv),
        cwd=ROOT,
        env={**_environ(), **environ},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        _, err = await process.communicate()
    return process.returncode, err.decode()


async def status_of(operator: aiohttp.ClientSession, path: str) -> int:
    async with operator.get(path) as answer:
        return answer.status


async def answers(operator: aiohttp.ClientSession) -> tuple[int, int, int]:
    startup, readiness, liveness = [
        await status_of(operator, path) for path in ("/startup", "/readiness", "/liveness")
    ]
    return startup, readiness, liveness


async def is_served(operator: aiohttp.ClientSession) -> bool:
    try:
        return await status_of(operator, "/liveness") == 200
    except aiohttp.ClientError:
        return False


async def test_from_the_first_moment_to_the_last(
    emulator: Emulator,
    serve_process: ServeProcess,
    operator: aiohttp.ClientSession,
    client: aiohttp.ClientSession,
    admin: str,
    tmp_path: Path,
) -> None:
    """A metadata server that comes late: alive, not started, and then by itself; and a stream that outlives SIGTERM."""
    emulator.break_with("outage")
    process = await serve_process(config_for(emulator, admin=admin, timeouts={"drain": "30s"}))
    url = await process.url()
    await process.said("token fetch failed")
    async with asyncio.timeout(PATIENCE):
        while not await is_served(operator):  # it is bound before
            await asyncio.sleep(0.02)
    assert await answers(operator) == (503, 503, 200)
    for what, wanted in (("startup", 1), ("readiness", 1), ("liveness", 0)):
        code, said = await command("probe", what, "--admin", admin)
        assert code == wanted
        assert ("see /api/status" in said) is bool(wanted)
    code, said = await command("wait", "--max", "300ms", IDTOKEN_PROXY_ADMIN=admin)
    assert code == 1
    assert said.startswith("not ready within 0.3 s\n")
    for name in emulator.urls:
        assert f'route "{name}": ' in said

    emulator.mend()
    assert await command("wait", "--admin", admin) == (0, "")
    assert await answers(operator) == (200, 200, 200)
    assert (await command("probe", "readiness", "--admin", admin))[0] == 0

    async with client.get(f"{url}/user-profiles/events?interval=0.1") as stream:
        await stream.content.readline()
        process.signal(signal.SIGTERM)
        await process.said("draining")
        assert await answers(operator) == (200, 503, 200)
        async with operator.get("/api/status") as answer:
            told = await answer.json()
        assert (told["state"], told["ready"], told["draining"]) == ("draining", False, True)
        code, said = await command("wait", "--admin", admin, "--max", "1ms")
        assert (code, said) == (1, "not ready within 0.001 s\nit is draining\n")
        await stream.content.readline()  # still going
    assert await process.ended() == 0
    await process.said("stopped")
    assert not (tmp_path / "admin.sock").exists()


async def test_quitquitquit_drains_and_exits_with_0(
    emulator: Emulator,
    serve_process: ServeProcess,
    operator: aiohttp.ClientSession,
    client: aiohttp.ClientSession,
    admin: str,
) -> None:
    """And SIGTERM, which an orchestrator sends then, is its first signal: it does not break the drain off."""
    process = await serve_process(config_for(emulator, admin=admin))
    url = await process.url()
    assert await command("wait", "--admin", admin) == (0, "")
    async with operator.get("/quitquitquit") as answer:
        assert answer.status == 405
    async with client.get(f"{url}/user-profiles/events?interval=0.1&count=8") as stream:
        await stream.content.readline()
        async with operator.post("/quitquitquit") as answer:
            assert (answer.status, await answer.text()) == (200, "draining\n")
        assert await status_of(operator, "/readiness") == 503
        process.signal(signal.SIGTERM)
        assert b"id: 8" in await stream.content.read()
    assert await process.ended() == 0
    assert (await process.said("draining"))["asked_by"] == "POST /quitquitquit"


async def test_quitquitquit_of_an_idle_proxy_is_answered_before_it_goes(
    emulator: Emulator, serve_process: ServeProcess, operator: aiohttp.ClientSession, admin: str
) -> None:
    process = await serve_process(config_for(emulator, admin=admin))
    assert await command("wait", "--admin", admin) == (0, "")
    async with operator.post("/quitquitquit") as answer:
        assert await answer.text() == "draining\n"
    assert await process.ended() == 0


async def test_idle_connections_end_with_sigterm_and_tunnels_may_finish(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession
) -> None:
    process = await serve_process(config_for(emulator, timeouts={"drain": "30s"}))
    url = await process.url()
    port = int(url.rpartition(":")[2])
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
    async with client.ws_connect(f"{url}/user-profiles/ws") as websocket:
        process.signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await idle_reader.read() == b""
        await websocket.send_str("still there?")
        assert "still there?" in (await websocket.receive(PATIENCE)).data
    idle_writer.close()
    assert await process.ended() == 0


async def test_systemd_is_told(emulator: Emulator, serve_process: ServeProcess, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{tmp_path}")  # an abstract one
        heard.setblocking(False)
        loop = asyncio.get_running_loop()

        async def next_word() -> str:
            async with asyncio.timeout(PATIENCE):
                return (await loop.sock_recv(heard, 4096)).decode()

        process = await serve_process(config_for(emulator), NOTIFY_SOCKET=f"@{tmp_path}")
        while (word := await next_word()).startswith("STATUS=waiting for "):
            pass
        assert word == "READY=1\nSTATUS=serving"
        process.signal(signal.SIGHUP)
        assert (await next_word()).startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert await next_word() == "READY=1"
        process.signal(signal.SIGTERM)
        assert await next_word() == "STOPPING=1\nSTATUS=draining"
        assert await process.ended() == 0


async def test_a_file_s_admin_key_is_enough(
    emulator: Emulator, serve_process: ServeProcess, tmp_path: Path, admin: str
) -> None:
    """`-c` names the same file as for serve; a mistake made in it since is none of a probe's affair."""
    config: dict[str, Any] = config_for(emulator, admin=admin)
    await serve_process(config)
    file = tmp_path / "proxy-0.yaml"
    assert await command("wait", "-c", str(file)) == (0, "")
    text = await asyncio.to_thread(file.read_text)
    await asyncio.to_thread(file.write_text, text + "nonsense: true\n")
    assert await command("probe", "liveness", IDTOKEN_PROXY_CONFIG=str(file)) == (0, "")
