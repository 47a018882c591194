"""A client's end of the bridge, and servers for the other: one that answers as a test says, and the emulator's behind a front end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.bridge import Bridge
from idtoken_proxy.mcp.listener import Target, connected
from idtoken_proxy.mcp.messages import Message
from idtoken_proxy.mcp.remote import Pace, Remote
from idtoken_proxy.settings.model import Route, Upstream

PATIENCE = 20.0
QUICK = Pace(first=0.01, most=0.02, least=0.001, patience=0.3)
VERSION = "2025-11-25"
HELLO = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
ROUTE = Route("default", Upstream("https", "tools-abc-uc.a.run.app", 443), "https://tools-abc-uc.a.run.app")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Client:
    """Says lines to a bridge, and keeps what it says."""

    def __init__(self, remote: Remote) -> None:
        self.bridge = Bridge(remote, self._hear)
        self.heard: list[Message] = []
        self._news = asyncio.Event()
        self._number = 0

    async def _hear(self, line: str) -> None:
        assert "\n" not in line
        self.heard += messages.read(line)
        self._news.set()

    async def say(self, message: Message) -> None:
        await self.bridge.take(message.text)

    async def begin(self, method: str, **params: Any) -> int:
        """A request; its ID."""
        self._number += 1
        await self.say(messages.request(self._number, method, params))
        return self._number

    async def tell(self, method: str, **params: Any) -> None:
        await self.bridge.take(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def until(self, wanted: Callable[[Message], bool]) -> Message:
        async with asyncio.timeout(PATIENCE):
            while True:
                for message in self.heard:
                    if wanted(message):
                        return message
                self._news.clear()
                await self._news.wait()

    async def answer_to(self, own: int) -> Message:
        return await self.until(lambda message: message.id == own and message.kind is messages.Kind.RESPONSE)

    async def ask(self, method: str, **params: Any) -> Message:
        return await self.answer_to(await self.begin(method, **params))

    async def call(self, tool: str, **arguments: Any) -> str:
        answer = await self.ask("tools/call", name=tool, arguments=arguments)
        assert not answer.is_error, answer.text
        return str(answer.result["content"][0]["text"])

    async def hello(self) -> Message:
        answer = await self.ask("initialize", **HELLO)
        await self.tell("notifications/initialized")
        await self.bridge.drain(PATIENCE)
        return answer

    def errors(self, own: int) -> dict[str, Any]:
        (answer,) = (message for message in self.heard if message.id == own)
        return dict(answer.body["error"])


Clients = Callable[[Remote], Client]


@pytest.fixture
async def client_of() -> AsyncIterator[Clients]:
    clients: list[Client] = []

    def made(remote: Remote) -> Client:
        clients.append(Client(remote))
        return clients[-1]

    yield made
    for client in clients:
        await client.bridge.close()


# -- a server that answers as a test says --------------------------------------------


@dataclass
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """`answer` is what the test sets; `asked` is what came."""

    remote: Remote
    asked: list[Asked] = field(default_factory=list)
    answer: Handler | None = None

    def posts(self) -> list[str]:
        """The methods of JSON-RPC."""
        return [asked.body.get("method", "(answer)") for asked in self.asked if asked.method == "POST"]

    def first(self, method: str, act: Callable[[web.Request], Awaitable[web.StreamResponse | None]]) -> None:
        """`method` is answered by `act`; where that returns None, and whatever else is asked, as before."""
        whole = self.answer
        assert whole is not None

        async def handle(request: web.Request) -> web.StreamResponse:
            mine = self.asked[-1].body.get("method") == method
            own = await act(request) if mine else None
            return await whole(request) if own is None else own

        self.answer = handle

    def refuses(self, method: str, *statuses: int) -> None:
        """So many times, before it answers as before."""
        left = iter(statuses)

        async def refuse(_request: web.Request) -> web.StreamResponse | None:
            return next((web.Response(status=status) for status in left), None)

        self.first(method, refuse)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    socket = str(tmp_path / "s")
    async with AsyncExitStack() as stack:
        session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(socket, limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        client = await stack.enter_async_context(session)
        made = Server(Remote(client, ROUTE, "/mcp", pace=QUICK))

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            text = await request.text()
            body = json.loads(text) if text else {}
            made.asked.append(Asked(request.method, request.path_qs, request.headers.copy(), body))
            assert made.answer is not None
            return await made.answer(request)  # type: ignore[arg-type]  # which has all that these use

        runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.UnixSite(runner, socket).start()
        yield made


def answer(own: object, session: str | None = None, **result: Any) -> web.Response:
    headers = {} if session is None else {"Mcp-Session-Id": session}
    body = {"jsonrpc": "2.0", "id": own, "result": result}
    return web.json_response(body, headers=headers)


def event(message: Mapping[str, Any] | None, own: str | None = None, retry: int | None = None) -> bytes:
    said = [] if own is None else [f"id: {own}\n"]
    if retry is not None:
        said.append(f"retry: {retry}\n")
    data = "" if message is None else json.dumps({"jsonrpc": "2.0", **message})
    return "".join([*said, f"data: {data}\n\n"]).encode()


async def events(request: web.Request, *said: bytes, cut: bool = False) -> web.StreamResponse:
    """`cut`: the connection breaks behind them."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for one in said:
        await response.write(one)
    if cut:
        assert request.transport is not None
        request.transport.abort()
        return response
    await response.write_eof()
    return response


# -- the emulator's ------------------------------------------------------------------


@pytest.fixture
def seen() -> list[Seen]:
    return []


@dataclass
class Clock:
    """The emulator's; `ahead`: seconds."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def emulator(keys: Keys, seen: list[Seen], clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(DEMO, keys=keys, on_request=seen.append, clock=clock) as running:
        yield running


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect(emulator: Emulator, client_of: Clients) -> AsyncIterator[Connect]:
    """A client of a service's MCP server, by a bridge and an engine of its own."""
    environ = {"GCE_METADATA_HOST": emulator.metadata_host}
    async with AsyncExitStack() as stack:

        async def begin(service: str = "user-profiles", path: str = "/mcp") -> Client:
            target = Target.of(emulator.urls[service] + path, None, "metadata", environ)
            client = client_of(await stack.enter_async_context(connected(target, environ, QUICK)))
            stack.push_async_callback(client.bridge.close)
            return client

        yield begin
