"""By a server of 2024-11-05, which the bridge finds out by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.http_sse import HttpSse
from idtoken_proxy.mcp.messages import Kind, Message
from idtoken_proxy.mcp.refusal import Refused
from tests.cases import for_each
from tests.mcp.conftest import VERSION, Clients, Server, event, events


class Older:
    """Its sessions are its streams; `ended` gives one up. `revision` is what it speaks."""

    def __init__(self, server: Server, endpoint: str = "/messages?session={}", refuses: int = 405) -> None:
        self._server = server
        self._endpoint = endpoint
        self._refuses = refuses
        self.streams: dict[str, asyncio.Queue[bytes | None]] = {}
        self.revision = VERSION
        self.silent = False
        server.answer = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/mcp":
            return await (self._stream(request) if request.method == "GET" else self._refused())
        name = request.query["session"]
        if name not in self.streams:
            return web.Response(status=404, text="no such session")
        body = self._server.asked[-1].body
        if "method" in body and "id" in body and not self.silent:
            hello = {"protocolVersion": self.revision, "capabilities": {"tools": {"listChanged": True}}}
            result = hello if body["method"] == "initialize" else {"session": name}
            self.say(name, {"id": body["id"], "result": result})
        return web.Response(status=202, text="Accepted")

    async def _refused(self) -> web.StreamResponse:
        return web.Response(status=self._refuses)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        name = str(len(self.streams))
        said = self.streams[name] = asyncio.Queue()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"event: endpoint\ndata: {self._endpoint.format(name)}\n\n".encode())
        while (one := await said.get()) is not None:
            await response.write(one)
        return response

    def say(self, name: str, message: Mapping[str, Any]) -> None:
        self.streams[name].put_nowait(event(message))

    def ended(self, name: str) -> None:
        self.streams[name].put_nowait(None)


@for_each("refuses", [400, 404, 405])
async def test_it_is_found_out_and_all_comes_by_its_stream(
    server: Server, client_of: Clients, refuses: int
) -> None:
    older = Older(server, refuses=refuses)
    server.asked.clear()
    client = client_of(server.remote)
    assert (await client.hello()).result["protocolVersion"] == VERSION
    assert (await client.ask("tools/list")).result == {"session": "0"}
    older.say("0", {"id": "q", "method": "roots/list"})
    await client.until(lambda message: message.method == "roots/list")
    await client.bridge.take('{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}')
    await client.bridge.drain(5)
    said = [(asked.method, asked.target) for asked in server.asked]
    assert said[:2] == [("POST", "/mcp"), ("GET", "/mcp")]
    assert set(said[2:]) == {("POST", "/messages?session=0")}
    assert server.asked[-1].body == {"jsonrpc": "2.0", "id": "q", "result": {"roots": []}}
    older.ended("0")
    await client.bridge.close()


@for_each("endpoint", ["messages?session={}", "http://tools-abc-uc.a.run.app/messages?session={}"])
async def test_its_endpoint_may_be_relative_or_of_its_own_host(
    server: Server, client_of: Clients, endpoint: str
) -> None:
    Older(server, endpoint)
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("ping")).result == {"session": "0"}
    await client.bridge.close()


async def test_no_token_goes_to_another_host_that_its_endpoint_names(
    server: Server, client_of: Clients
) -> None:
    Older(server, "https://evil.example.com/messages")
    own = HttpSse(server.remote, _nobody)
    with pytest.raises(Refused, match=r"evil\.example\.com, which gets no token"):
        await own.open()
    error = (await client_of(server.remote).ask("initialize")).body["error"]
    assert error["data"]["httpStatus"] == 405  # what was refused first
    assert {asked.target for asked in server.asked} == {"/mcp"}


async def test_when_its_stream_ends_another_session_is_begun(server: Server, client_of: Clients) -> None:
    older = Older(server)
    client = client_of(server.remote)
    await client.hello()
    await client.ask("tools/list")
    older.silent = True
    own = await client.begin("tools/call", name="a")
    while server.posts()[-1] != "tools/call":
        await asyncio.sleep(0)
    older.silent = False
    older.ended("0")
    await client.answer_to(own)
    assert "nobody can tell whether the first was done" in client.errors(own)["data"]["remedy"]
    assert (await client.ask("tools/list")).result == {"session": "1"}
    assert server.posts().count("tools/call") == 1
    assert server.posts().count("notifications/initialized") == 2
    assert [message.method for message in client.heard if message.kind is Kind.NOTIFICATION] == [
        "notifications/tools/list_changed"
    ]
    await client.bridge.close()


async def test_one_that_speaks_another_revision_now_is_told_of_at_once(
    server: Server, client_of: Clients
) -> None:
    older = Older(server)
    client = client_of(server.remote)
    await client.hello()
    await client.ask("tools/list")
    older.revision = "2024-11-05"
    older.ended("0")
    while len(older.streams) < 2:
        await asyncio.sleep(0.001)
    error = (await client.ask("tools/list")).body["error"]
    assert "restart this MCP server in the client" in error["message"]
    await client.bridge.close()


async def test_one_that_does_not_come_back_is_not_waited_for_for_ever(
    server: Server, client_of: Clients
) -> None:
    older = Older(server)
    client = client_of(server.remote)
    await client.hello()
    await client.ask("tools/list")

    async def gone(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="gone")

    server.answer = gone
    older.ended("0")
    while server.asked[-1].method != "GET":
        await asyncio.sleep(0.001)
    assert "503 Service Unavailable: gone" in (await client.ask("tools/list")).body["error"]["message"]
    await client.bridge.close()


@for_each("status", [404, None])
async def test_a_message_that_it_does_not_take_is_answered_for(
    server: Server, client_of: Clients, status: int | None
) -> None:
    """By what it says, or, where it hangs up, that it does."""
    older = Older(server)
    client = client_of(server.remote)
    await client.hello()

    async def refusing(request: web.Request) -> web.StreamResponse:
        if status is None:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status or 200, text="no such session")

    server.first("tools/call", refusing)
    error = (await client.ask("tools/call", name="a")).body["error"]
    assert ("no such session" if status else "the connection ended") in error["message"]
    assert (await client.ask("tools/list")).result == {"session": "0"}
    older.ended("0")
    await client.bridge.close()


async def test_a_stream_that_begins_otherwise_is_none_of_these(server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await events(request, event({"method": "a"}))

    server.answer = answer
    with pytest.raises(Refused, match="endpoint"):
        await HttpSse(server.remote, _nobody).open()


async def test_the_answer_to_a_cancelled_request_is_for_nobody(server: Server, client_of: Clients) -> None:
    """It comes by the one stream, which goes on."""
    older = Older(server)
    client = client_of(server.remote)
    await client.hello()
    older.silent = True
    own = await client.begin("tools/call", name="a")
    while server.posts()[-1] != "tools/call":
        await asyncio.sleep(0)
    await client.tell("notifications/cancelled", requestId=own)
    await client.bridge.drain(5)
    older.silent = False
    older.say("0", {"id": own, "result": {}})
    assert (await client.ask("ping")).result == {"session": "0"}
    assert own not in [message.id for message in client.heard]
    assert server.posts()[-2:] == ["notifications/cancelled", "ping"]


async def test_what_it_says_that_is_no_message_is_left_out(server: Server, client_of: Clients) -> None:
    older = Older(server)
    client = client_of(server.remote)
    await client.hello()
    await client.ask("tools/list")
    older.streams["0"].put_nowait(b"data: hello\n\n")
    older.say("0", {"method": "notifications/x"})
    await client.until(lambda message: message.method == "notifications/x")
    assert json.loads(client.heard[-1].text)["method"] == "notifications/x"
    await client.bridge.close()


async def _nobody(_message: Message) -> None:
    raise AssertionError(messages.INTERNAL_ERROR)
