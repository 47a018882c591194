"""The bridge between the two ends that people have: MCP's own SDK, with the emulator's front end before its server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.world import Service
from tests.mcp.conftest import PATIENCE, Clock

if TYPE_CHECKING:
    from mcp import Client

    from tests.mcp.sdk_server import Running, Way

# To import the SDK is more than a second of CPU, and so is each client's process.
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what the SDK is made of
    pytest.mark.filterwarnings("ignore::UserWarning"),  # the SDK's own, of sampling
]

EITHER = pytest.mark.parametrize("mode", ["legacy", "auto"])
Connect = Callable[..., "Client"]


@pytest.fixture
def way() -> str:
    return "streamable"


@pytest.fixture
def server(way: Way) -> Iterator[Running]:
    from tests.mcp.sdk_server import running  # noqa: PLC0415 -- dear

    with running(way) as started:
        yield started


@pytest.fixture
async def emulator(keys: Keys, seen: list[Seen], clock: Clock, server: Running) -> AsyncIterator[Emulator]:
    (login, *_) = DEMO.accounts
    tools = Service("tools", frozenset({login.member}), backend=server.origin)
    closed = Service("closed", backend=server.origin)
    world = replace(DEMO, services=(tools, closed))
    async with Emulator(world, keys=keys, on_request=seen.append, clock=clock) as running:
        yield running


@pytest.fixture
def connect(emulator: Emulator) -> Connect:
    """The SDK's scopes must end in the task that began them, and so in the test's own."""
    from mcp import Client, StdioServerParameters  # noqa: PLC0415 -- dear

    def begin(service: str = "tools", mode: str = "legacy", **options: Any) -> Client:
        command = StdioServerParameters(
            command=sys.executable,
            args=["-m", "idtoken_proxy", "mcp", emulator.urls[service] + "/mcp"],
            env={"GCE_METADATA_HOST": emulator.metadata_host, "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]},
        )
        return Client(command, mode=mode, read_timeout_seconds=PATIENCE, **options)

    return begin


class Progress:
    """What a call was told of how far it is."""

    def __init__(self) -> None:
        self.told: list[float] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.told.append(progress)


def text_of(result: Any) -> str:
    assert not result.is_error, result
    return str(result.content[0].text)


@EITHER
async def test_tools_and_progress(connect: Connect, seen: list[Seen], mode: str) -> None:
    """By either revision's way: `auto` finds out that the server speaks that of 2026."""
    async with connect(mode=mode) as client:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"add", "count"}
        assert text_of(await client.call_tool("add", {"a": 2, "b": 3})) == "5"
        progress = Progress()
        assert (
            text_of(await client.call_tool("count", {"to": 3}, progress_callback=progress)) == "counted to 3"
        )
        assert progress.told == [1, 2, 3]
        assert {one.refused for one in seen} == {None}


@pytest.mark.parametrize("way", ["sse"])
@EITHER
async def test_a_server_of_2024(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        assert text_of(await client.call_tool("add", {"a": 2, "b": 3})) == "5"


@pytest.mark.parametrize("way", ["json"])
async def test_a_server_that_answers_by_json(connect: Connect) -> None:
    async with connect() as client:
        assert text_of(await client.call_tool("add", {"a": 2, "b": 3})) == "5"


async def test_what_the_server_asks_of_the_client(connect: Connect) -> None:
    """Up to 2025-11-25: from 2026 on an answer says what is asked, and the client calls again."""
    from mcp_types import CreateMessageResult, ElicitResult, TextContent  # noqa: PLC0415 -- dear

    async def elicit(_context: Any, params: Any) -> Any:
        assert params.message == "Sure?"
        return ElicitResult(action="accept", content={"answer": "yes"})

    async def sample(_context: Any, params: Any) -> Any:
        assert params.messages[0].content.text == "2+2?"
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="4"), model="m")

    async with connect(elicitation_callback=elicit, sampling_callback=sample) as client:
        assert text_of(await client.call_tool("ask")) == "accept: yes"
        assert text_of(await client.call_tool("sample")) == "4"


async def test_a_stream_that_the_server_hangs_up_is_taken_up_again(
    connect: Connect, seen: list[Seen]
) -> None:
    async with connect() as client:
        progress = Progress()
        assert text_of(await client.call_tool("polled", progress_callback=progress)) == "came back"
        assert progress.told == [1, 2]
        assert any("Last-Event-ID" in dict(one.headers) for one in seen if one.method == "GET")


@EITHER
async def test_a_call_is_cancelled_at_the_server(connect: Connect, server: Running, mode: str) -> None:
    async with connect(mode=mode) as client:
        call = asyncio.ensure_future(client.call_tool("for_ever", progress_callback=Progress()))
        await asyncio.sleep(0.5)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.cancelled.wait, PATIENCE)
        assert text_of(await client.call_tool("add", {"a": 1, "b": 1})) == "2"


@pytest.mark.parametrize("way", ["streamable", "sse"])
async def test_a_redeployed_server(connect: Connect, server: Running) -> None:
    """Its sessions were in memory; the client does not notice."""
    async with connect() as client:
        assert text_of(await client.call_tool("add", {"a": 1, "b": 1})) == "2"
        await asyncio.to_thread(server.stop)
        server.start()
        assert text_of(await client.call_tool("add", {"a": 2, "b": 2})) == "4"


async def test_a_token_that_has_run_out(connect: Connect, clock: Clock, seen: list[Seen]) -> None:
    async with connect() as client:
        await client.call_tool("add", {"a": 1, "b": 1})
        clock.ahead = 3700
        seen.clear()
        assert text_of(await client.call_tool("add", {"a": 2, "b": 2})) == "4"
        assert 401 in {one.refused for one in seen}


@EITHER
async def test_a_caller_without_the_role_reads_the_command(connect: Connect, mode: str) -> None:
    from mcp.shared.exceptions import MCPError  # noqa: PLC0415 -- dear

    told = r"gcloud run services add-iam-policy-binding .*--role=roles/run\.invoker"
    with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match=told), flatten_subgroups=True):
        async with connect("closed", mode=mode):
            pass
