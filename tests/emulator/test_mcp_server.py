from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.mcp.event_stream import EventStream
from tests.cases import for_each

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}}


class Mcp:
    """Of `members`, which takes anyone's token."""

    def __init__(self, emulator: Emulator, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._url = emulator.urls["members"] + "/mcp"
        token = emulator.mint("login", emulator.urls["members"])
        self.headers = {"Authorization": f"Bearer {token}"}

    async def send(
        self, method: str = "POST", body: object = None, **headers: str
    ) -> tuple[int, Mapping[str, str], str]:
        fields = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self._http.request(
            method, self._url, headers=fields, json=None if body is None else body
        ) as answer:
            try:
                text = await answer.text()
            except aiohttp.ClientPayloadError:  # it broke off
                text = ""
            return answer.status, answer.headers, text

    async def hello(self) -> None:
        _, headers, _ = await self.send(body=request(1, "initialize", HELLO))
        self.headers["Mcp-Session-Id"] = headers["Mcp-Session-Id"]

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        status, _, text = await self.send(body=request(7, method, params))
        assert status == 200
        answer: dict[str, Any] = json.loads(text)
        assert answer["id"] == 7
        return answer


def request(own: object, method: str, params: object = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": own, "method": method, "params": params or {}}


def messages_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in EventStream(10**6).feed(text.encode()) if event.data]


@pytest.fixture
async def mcp(emulator: Emulator, client: aiohttp.ClientSession) -> Mcp:
    return Mcp(emulator, client)


async def test_nobody_gets_there_without_a_token(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    async with client.post(emulator.urls["profiles"] + "/mcp", json=request(1, "initialize")) as answer:
        assert answer.status == 403


@for_each(
    ("asked", "agreed"),
    [("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-11-25"), ("2099-01-01", "2025-11-25")],
)
async def test_a_revision_is_agreed_upon(mcp: Mcp, asked: str, agreed: str) -> None:
    _, _, text = await mcp.send(body=request(1, "initialize", {"protocolVersion": asked}))
    assert json.loads(text)["result"]["protocolVersion"] == agreed


async def test_its_tools(mcp: Mcp) -> None:
    await mcp.hello()
    status, _, text = await mcp.send(body={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (status, text) == (202, "")
    assert [tool["name"] for tool in (await mcp.ask("tools/list"))["result"]["tools"]] == [
        *("whoami", "echo", "count", "ask")
    ]
    echo = await mcp.ask("tools/call", name="echo", arguments={"text": "hello"})
    assert echo["result"] == {"content": [{"type": "text", "text": "hello"}]}
    whoami = (await mcp.ask("tools/call", name="whoami"))["result"]["content"][0]["text"]
    assert json.loads(whoami)["caller"] == "login@test-project.iam.gserviceaccount.com"
    assert (await mcp.ask("ping"))["result"] == {}
    assert (await mcp.ask("tools/call", name="dance"))["error"]["code"] == -32602
    assert (await mcp.ask("resources/list"))["error"]["code"] == -32601


async def test_sessions(mcp: Mcp, emulator: Emulator) -> None:
    assert (await mcp.send(body=request(1, "ping")))[0] == 400
    assert (await mcp.send(body=request(1, "ping"), Mcp_Session_Id="unknown"))[0] == 404
    await mcp.hello()
    emulator.forget_mcp_sessions("members")
    assert (await mcp.send(body=request(1, "ping")))[0] == 404
    await mcp.hello()
    assert (await mcp.send("DELETE"))[0] == 204
    assert (await mcp.send(body=request(1, "ping")))[0] == 404


async def test_progress_and_the_answer_by_events(mcp: Mcp) -> None:
    await mcp.hello()
    call = {"name": "count", "arguments": {"to": 2, "interval": 0}, "_meta": {"progressToken": "t"}}
    _, _, text = await mcp.send(body=request(3, "tools/call", call))
    *progress, answer = messages_of(text)
    assert [one["params"]["progress"] for one in progress] == [1, 2]
    assert answer["result"]["content"][0]["text"] == "counted to 2"


async def test_a_stream_is_taken_up_again_behind_an_event(mcp: Mcp) -> None:
    await mcp.hello()
    call = {
        "name": "count",
        "arguments": {"to": 2, "interval": 0, "cut_after": 1},
        "_meta": {"progressToken": 1},
    }
    await mcp.send(body=request(3, "tools/call", call))
    _, _, rest = await mcp.send("GET", Last_Event_ID="0-1")
    assert [one.get("id") for one in messages_of(rest)] == [None, 3]


async def test_a_call_that_is_cancelled_ends_without_an_answer(
    mcp: Mcp, emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    await mcp.hello()
    call = request(3, "tools/call", {"name": "count", "arguments": {"to": 1000}})
    async with client.post(emulator.urls["members"] + "/mcp", headers=mcp.headers, json=call) as answer:
        await answer.content.readline()
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}
        assert (await mcp.send(body=cancel))[0] == 202
        assert messages_of(await answer.text()) == []


@for_each(("method", "body"), [("PUT", None), ("POST", None), ("POST", []), ("GET", None)])
async def test_what_it_does_not_take(mcp: Mcp, method: str, body: object) -> None:
    assert (await mcp.send(method, body))[0] in (400, 405)


async def test_any_other_path_is_the_container_s(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    async with client.get(emulator.urls["public"] + "/mcp/other") as answer:
        assert (await answer.json())["path"] == "/mcp/other"
