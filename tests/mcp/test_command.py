"""`idtoken-proxy mcp` as a client starts it: its streams, its end, its mistakes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from idtoken_proxy.cli import main
from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from tests.cases import for_each
from tests.mcp.conftest import HELLO, PATIENCE

URL = "https://tools-x7f3kq2abc-uc.a.run.app/mcp"
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(emulator: Emulator) -> AsyncIterator[Start]:
    started: list[asyncio.subprocess.Process] = []
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "IDTOKEN_"))
    }

    async def begin(*options: str, service: str = "user-profiles") -> asyncio.subprocess.Process:
        url = emulator.urls[service] + "/mcp"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "idtoken_proxy", "mcp", *options, url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environ, "GCE_METADATA_HOST": emulator.metadata_host},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def say(process: asyncio.subprocess.Process, **message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    await process.stdin.drain()


async def heard(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        message: dict[str, Any] = json.loads(await process.stdout.readline())
    return message


async def test_a_client_s_whole_life(start: Start, seen: list[Seen]) -> None:
    """Nothing but messages on its output, though it logs all that it can; and it ends soon after its input."""
    process = await start("--log-level", "debug")
    await say(process, id=1, method="initialize", params=HELLO)
    await say(process, method="notifications/initialized")
    await say(process, id=2, method="tools/list")
    assert (await heard(process))["result"]["serverInfo"]["name"] == "emulated user-profiles"
    tools = (await heard(process))["result"]["tools"]
    assert [tool["name"] for tool in tools][:2] == ["whoami", "echo"]
    before = time.monotonic()
    output, log = await process.communicate(b"")
    assert process.returncode == 0
    assert time.monotonic() - before < 5  # clients kill after two; a busy machine is no failure
    assert output == b""
    assert b"token fetched" in log
    assert b"eyJ" not in log  # as every token begins
    assert seen[-1].method == "DELETE"


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_in_order(start: Start, seen: list[Seen], number: signal.Signals) -> None:
    process = await start()
    await say(process, id=1, method="initialize", params=HELLO)
    await heard(process)
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
    assert seen[-1].method == "DELETE"


@pytest.mark.thorough
async def test_a_client_that_reads_no_more_is_the_end(start: Start) -> None:
    process = await start()
    await say(process, id=1, method="initialize", params=HELLO)
    await heard(process)
    transport = process._transport  # type: ignore[attr-defined]  # there is no other way to close one end
    transport.get_pipe_transport(1).close()
    await say(process, id=2, method="ping")
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0


@pytest.mark.thorough
async def test_what_is_under_way_when_the_input_ends_holds_nothing_up(start: Start) -> None:
    process = await start()
    await say(process, id=1, method="initialize", params=HELLO)
    await heard(process)
    await say(process, method="notifications/initialized")
    await say(process, id=2, method="tools/call", params={"name": "count", "arguments": {"to": 1000}})
    before = time.monotonic()
    output, _ = await process.communicate(b"")
    assert (process.returncode, output) == (0, b"")
    assert time.monotonic() - before < 6


@pytest.mark.thorough
async def test_its_tools_are_listed_for_a_person(start: Start) -> None:
    process = await start("--tools")
    output, _ = await process.communicate(b"")
    assert process.returncode == 0
    assert output.decode().splitlines()[1] == "echo: Says the text again."
    process = await start("--tools", service="search")
    output, error = await process.communicate(b"")
    assert (process.returncode, output) == (1, b"")
    assert b"No tools: idtoken-proxy: 403 Forbidden" in error


@pytest.mark.thorough
async def test_a_person_at_a_terminal_is_told_what_it_is_for(emulator: Emulator) -> None:
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "idtoken_proxy", "mcp", emulator.urls["user-profiles"]),
        stdin=its,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "GCE_METADATA_HOST": emulator.metadata_host},
    )
    os.close(its)
    os.write(ours, b"\x04")  # Ctrl-D
    output, error = await process.communicate()
    os.close(ours)
    assert (process.returncode, output) == (0, b"")
    assert b"An MCP client starts this" in error


@for_each(
    ("arguments", "said"),
    [
        ((), "Missing argument 'URL'"),
        (("http://tools.example.com/mcp",), "URL: would send tokens in the clear"),
        (("https://mcp.example.com/mcp",), "--audience: cannot be derived"),
        ((URL, "--identity", "metdata"), 'did you mean "metadata"'),
        ((URL, "--identity", "{type: file"), "--identity "),
        ((URL, "--identity", "{type: file, pth: a}"), '--identity: unknown key; did you mean "path"'),
        ((URL, "--name", "a"), "--name goes with --print-config"),
        ((URL, "--tools", "--print-config", "claude"), "leave out one"),
        ((URL, "--print-config", "emacs"), "'emacs' is not one of"),
        ((URL, "--audience", "https://me:secret@a.example.com", "--log-level", "loud"), "'loud' is not one of"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mcp", *arguments])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert said in told.err
    assert told.out == ""


def test_a_configuration_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mcp", "--print-config", "vscode", "--identity", "me@p.iam.gserviceaccount.com", URL])
    assert ended.value.code == 0
    (entry,) = json.loads(capsys.readouterr().out)["servers"].values()
    assert entry["args"][-3:] == [URL, "--identity", "me@p.iam.gserviceaccount.com"]
