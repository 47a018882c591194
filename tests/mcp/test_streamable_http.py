from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from aiohttp import web

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.messages import Kind
from tests.cases import for_each
from tests.mcp.conftest import HELLO, VERSION, Client, Clients, Handler, Server, answer, event, events

CAPABILITIES = {"tools": {"listChanged": True}}


def mcp(server: Server, tool: Handler | None = None, *, get: Handler | None = None) -> set[str]:
    """A server with sessions, whose names are in what it returns; `tool` answers what is asked in one."""
    names = (f"session-{number}" for number in itertools.count(1))
    sessions: set[str] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = server.asked[-1].body
        if body.get("method") == "initialize":
            sessions.add(name := next(names))
            return answer(body["id"], name, protocolVersion=VERSION, capabilities=CAPABILITIES)
        if request.headers.get("Mcp-Session-Id") not in sessions:
            raise web.HTTPNotFound(text="session not found")
        if request.method == "GET":
            if get is None:
                raise web.HTTPMethodNotAllowed("GET", ("POST",))
            return await get(request)
        if "id" not in body or "method" not in body:
            return web.Response(status=202)
        return answer(body["id"], ok=True) if tool is None else await tool(request)

    server.answer = handle
    return sessions


async def test_a_session_s_messages_say_whose_they_are(server: Server, client_of: Clients) -> None:
    mcp(server)
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/list")).result == {"ok": True}
    await client.bridge.close()
    said = [
        (a.method, a.headers.get("Mcp-Session-Id"), a.headers.get("MCP-Protocol-Version"))
        for a in server.asked
    ]
    assert said[0] == ("POST", None, None)
    assert set(said[1:]) == {(method, "session-1", VERSION) for method in ("POST", "GET", "DELETE")}
    assert said[-1][0] == "DELETE"
    assert server.asked[0].headers["Accept"] == "application/json, text/event-stream"


async def test_an_answer_by_events_brings_what_comes_before_it_in_its_order(
    server: Server, client_of: Clients
) -> None:
    async def tool(request: web.Request) -> web.StreamResponse:
        own = server.asked[-1].body["id"]
        progress = [
            event({"method": "notifications/progress", "params": {"progress": number}}) for number in range(3)
        ]
        return await events(request, *progress, event({"id": own, "result": {"done": True}}))

    mcp(server, tool)
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/call", name="a")).result == {"done": True}
    numbers = [message.params.get("progress") for message in client.heard[1:-1]]
    assert numbers == [0, 1, 2]


async def test_what_the_server_asks_is_answered_by_a_post_of_its_own(
    server: Server, client_of: Clients
) -> None:
    answered = asyncio.Event()

    async def tool(request: web.Request) -> web.StreamResponse:
        own = server.asked[-1].body["id"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event({"id": "q", "method": "sampling/createMessage", "params": {}}))
        await answered.wait()
        await response.write(event({"id": own, "result": {}}))
        return response

    mcp(server, tool)
    client = client_of(server.remote)
    await client.hello()
    own = await client.begin("tools/call", name="a")
    await client.until(lambda message: message.method == "sampling/createMessage")
    await client.say(messages.read('{"jsonrpc":"2.0","id":"q","result":{"role":"assistant"}}')[0])
    while server.asked[-1].body.get("id") != "q":
        await asyncio.sleep(0)
    answered.set()
    assert not (await client.answer_to(own)).is_error


# -- streams that break off ----------------------------------------------------------


async def test_a_stream_that_broke_off_is_taken_up_behind_its_last_event(
    server: Server, client_of: Clients
) -> None:
    """Twice, each time where it was; what the server asks for between tries counts."""

    async def tool(request: web.Request) -> web.StreamResponse:
        return await events(request, event(None, "a", 1), event({"method": "notifications/x"}, "b"), cut=True)

    async def get(request: web.Request) -> web.StreamResponse:
        match request.headers.get("Last-Event-ID"):
            case "b":
                return await events(request, event({"method": "notifications/y"}, "c"))
            case "c":
                return await events(request, event({"id": 2, "result": {"whole": True}}, "d"))
        raise web.HTTPMethodNotAllowed("GET", ("POST",))

    mcp(server, tool, get=get)
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/call", name="a")).result == {"whole": True}
    assert [message.method for message in client.heard[1:]] == ["notifications/x", "notifications/y", ""]
    assert server.posts().count("tools/call") == 1


async def broken(server: Server, client: Client, get: Handler | None, *said: bytes) -> dict[str, Any]:
    async def tool(request: web.Request) -> web.StreamResponse:
        return await events(request, *said, cut=True)

    mcp(server, tool, get=get)
    await client.hello()
    own = (await client.ask("tools/call", name="a")).id
    assert isinstance(own, int)
    assert server.posts().count("tools/call") == 1
    return client.errors(own)


async def test_a_stream_without_ids_is_not_and_nobody_does_it_twice(
    server: Server, client_of: Clients
) -> None:
    error = await broken(server, client_of(server.remote), None, event({"method": "notifications/x"}))
    assert "nobody can tell whether the first was done" in error["data"]["remedy"]


async def test_an_event_s_id_that_no_field_can_hold_is_none(server: Server, client_of: Clients) -> None:
    async def get(request: web.Request) -> web.StreamResponse:
        assert request.headers["Last-Event-ID"] == "good"
        return await events(request, event({"id": 2, "result": {}}))

    async def tool(request: web.Request) -> web.StreamResponse:
        odd = "\N{EN DASH}\x01" + "a" * 10_000
        return await events(request, event(None, "good", 1), event(None, odd), cut=True)

    mcp(server, tool, get=get)
    client = client_of(server.remote)
    await client.hello()
    assert not (await client.ask("tools/call", name="a")).is_error


async def test_a_server_that_cannot_take_it_up_says_so_at_once(server: Server, client_of: Clients) -> None:
    error = await broken(server, client_of(server.remote), None, event(None, "a"))
    assert error["data"]["httpStatus"] == 405


async def test_a_server_that_does_not_come_back_is_not_waited_for_for_ever(
    server: Server, client_of: Clients
) -> None:
    async def get(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="starting")

    error = await broken(server, client_of(server.remote), get, event(None, "a", 1))
    assert "503 Service Unavailable: starting" in error["message"]


async def test_a_connection_that_breaks_is_an_answer(server: Server, client_of: Clients) -> None:
    """Before the answer began, and at each try to take it up."""

    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    error = await broken(server, client_of(server.remote), hang_up, event(None, "a", 1))
    assert error["data"]["cause"] == "cut"
    server.answer = hang_up
    error = (await client_of(server.remote).ask("ping")).body["error"]
    assert error["data"]["cause"] == "cut"


async def test_a_session_that_is_lost_meanwhile_ends_what_was_under_way(
    server: Server, client_of: Clients
) -> None:
    async def tool(request: web.Request) -> web.StreamResponse:
        sessions.clear()
        return await events(request, event(None, "a", 1), cut=True)

    sessions = mcp(server, tool)
    client = client_of(server.remote)
    await client.hello()
    error = (await client.ask("tools/call", name="a")).body["error"]
    assert "replaced while it worked on this" in error["message"]
    assert server.posts().count("tools/call") == 1


# -- sessions that are forgotten -----------------------------------------------------


async def test_a_forgotten_session_is_begun_anew_without_the_client(
    server: Server, client_of: Clients
) -> None:
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.hello()
    await client.ask("logging/setLevel", level="debug")
    sessions.clear()
    server.asked.clear()
    assert (await client.ask("tools/list")).result == {"ok": True}
    hello = ["initialize", "notifications/initialized", "logging/setLevel"]
    assert server.posts() == ["tools/list", *hello, "tools/list"]
    again = next(asked for asked in server.asked if asked.body.get("method") == "initialize")
    assert again.body["params"] == {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": again.body["params"]["clientInfo"]}  # fmt: skip
    assert "Mcp-Session-Id" not in again.headers
    # The client hears of it that lists may have changed, and no answer to what it did not ask.
    assert [message.method for message in client.heard if message.kind is Kind.NOTIFICATION] == [
        "notifications/tools/list_changed"
    ]
    assert [message.id for message in client.heard if message.kind is Kind.RESPONSE] == [1, 2, 3]


async def test_one_that_is_forgotten_in_the_middle_of_its_handshake_too(
    server: Server, client_of: Clients
) -> None:
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.ask("initialize", **HELLO)
    sessions.clear()
    await client.tell("notifications/initialized")
    assert (await client.ask("tools/list")).result == {"ok": True}
    said = "notifications/initialized"
    assert server.posts() == ["initialize", said, "initialize", said, "tools/list"]


async def test_a_cancelled_request_takes_no_session_from_others(server: Server, client_of: Clients) -> None:
    """That the client of one does not want to wait for the new session is no affair of the other's."""
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.hello()
    go = asyncio.Event()

    async def slow(_request: web.Request) -> None:
        await go.wait()

    server.first("initialize", slow)
    sessions.clear()
    one = await client.begin("tools/list")
    while server.posts()[-1] != "initialize":
        await asyncio.sleep(0)
    other = await client.begin("tools/list")
    client.bridge._pending[str(one)].task.cancel()
    go.set()
    assert not (await client.answer_to(other)).is_error
    assert server.posts().count("initialize") == 2


async def test_many_requests_that_find_out_together_begin_one_session(
    server: Server, client_of: Clients
) -> None:
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.hello()
    sessions.clear()
    server.asked.clear()
    own = [await client.begin("tools/list") for _ in range(20)]
    for each in own:
        assert not (await client.answer_to(each)).is_error
    assert server.posts().count("initialize") == 1
    assert len(sessions) == 1


@for_each(
    "body",
    [
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "Bad Request: No valid session ID provided"}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "Bad Request: Server not initialized"}},
    ],
)  # fmt: skip
async def test_a_400_for_the_session_counts_as_404(
    server: Server, client_of: Clients, body: dict[str, Any]
) -> None:
    """So servers do that were made from the TypeScript SDK's example."""
    refusals = iter([body])

    async def tool(_request: web.Request) -> web.StreamResponse:
        for refusal in refusals:
            return web.json_response(refusal, status=400)
        return answer(server.asked[-1].body["id"], ok=True)

    mcp(server, tool)
    server.asked.clear()
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/list")).result == {"ok": True}
    assert server.posts().count("initialize") == 2


@for_each(
    ("status", "body"),
    [
        (400, {"jsonrpc": "2.0", "id": 2, "error": {"code": -32602, "message": "Invalid params"}}),
        (404, {"jsonrpc": "2.0", "id": 2, "error": {"code": -32601, "message": "Method not found"}}),
    ],
)
async def test_another_400_or_404_is_an_answer(
    server: Server, client_of: Clients, status: int, body: dict[str, Any]
) -> None:
    async def tool(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    mcp(server, tool)
    server.asked.clear()
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/list")).body["error"] == body["error"]
    assert server.posts().count("initialize") == 1


async def test_instances_that_do_not_know_each_other_s_sessions_are_told_of(
    server: Server, client_of: Clients
) -> None:
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.hello()
    handle = server.answer
    assert handle is not None

    async def forgetful(request: web.Request) -> web.StreamResponse:
        response = await handle(request)
        sessions.clear()
        return response

    server.answer = forgetful
    sessions.clear()
    error = (await client.ask("tools/list")).body["error"]
    assert "--session-affinity" in error["message"]


async def test_so_is_a_session_that_is_lost_as_soon_as_it_is_whole(
    server: Server, client_of: Clients
) -> None:
    async def tool(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound(text="session not found")

    mcp(server, tool)
    client = client_of(server.remote)
    await client.hello()
    error = (await client.ask("tools/list")).body["error"]
    assert "--session-affinity" in error["message"]
    assert server.posts().count("initialize") == 2


async def test_a_server_that_cannot_begin_anew_says_why_and_is_asked_again(
    server: Server, client_of: Clients
) -> None:
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.hello()
    whole = server.answer
    assert whole is not None

    async def refusing(request: web.Request) -> web.StreamResponse:
        if server.asked[-1].body.get("method") == "initialize":
            return web.Response(status=500, text="out of order")
        return await whole(request)

    sessions.clear()
    server.answer = refusing
    assert "out of order" in (await client.ask("tools/list")).body["error"]["message"]
    server.answer = whole
    assert (await client.ask("tools/list")).result == {"ok": True}


async def test_the_end_of_a_handshake_that_did_not_get_through_is_said_again(
    server: Server, client_of: Clients
) -> None:
    mcp(server)
    server.refuses("notifications/initialized", 503)
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/list")).result == {"ok": True}
    said = "notifications/initialized"
    assert server.posts() == ["initialize", said, said, "tools/list"]


# -- what the server says unasked ----------------------------------------------------


async def test_the_server_s_own_stream_is_kept_up(server: Server, client_of: Clients) -> None:
    """However often it ends, and behind its last event; what is no message of it does not get through."""
    asked_for: list[str | None] = []

    async def get(request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        asked_for.append(last)
        if len(asked_for) == 2:
            return web.Response(status=503)
        number = int(last or 0) + 1
        if number == 4:
            await asyncio.Event().wait()
        said = {"method": "notifications/resources/updated", "params": {"number": number}}
        return await events(request, b"data: no message\n\n", event(said, str(number), 1), cut=number == 2)

    mcp(server, get=get)
    client = client_of(server.remote)
    await client.hello()
    await client.until(lambda message: message.params.get("number") == 3)
    while len(asked_for) < 5:
        await asyncio.sleep(0.001)
    assert asked_for == [None, "1", "1", "2", "3"]
    assert [message.params["number"] for message in client.heard if message.method] == [1, 2, 3]


async def test_a_new_revision_is_found_out_by_the_server_s_own_stream(
    server: Server, client_of: Clients
) -> None:
    """So that a client with nothing to ask hears of new tools."""
    hold = asyncio.Event()

    async def get(request: web.Request) -> web.StreamResponse:
        await hold.wait()
        return await events(request)

    sessions = mcp(server, get=get)
    client = client_of(server.remote)
    await client.hello()
    sessions.clear()
    hold.set()
    await client.until(lambda message: message.method == "notifications/tools/list_changed")
    assert server.posts().count("initialize") == 2
    assert (await client.ask("tools/list")).result == {"ok": True}


async def test_a_server_without_sessions_is_asked_for_no_stream(server: Server, client_of: Clients) -> None:
    """It would hold an instance for nothing."""

    async def handle(_request: web.Request) -> web.StreamResponse:
        body = server.asked[-1].body
        if "id" not in body:
            return web.Response(status=202)
        return answer(body["id"], protocolVersion=VERSION, capabilities={})

    server.answer = handle
    client = client_of(server.remote)
    await client.hello()
    await client.ask("tools/list")
    await client.bridge.close()
    assert {asked.method for asked in server.asked} == {"POST"}


async def test_a_server_that_offers_no_stream_is_not_asked_again(server: Server, client_of: Clients) -> None:
    mcp(server)
    client = client_of(server.remote)
    await client.hello()
    await client.ask("tools/list")
    await asyncio.sleep(0.05)  # several times as long as it would wait
    assert [asked.method for asked in server.asked].count("GET") == 1


async def test_a_new_session_that_cannot_be_had_is_tried_for_again(
    server: Server, client_of: Clients
) -> None:
    """By the stream of the server's own messages, for a client with nothing to ask."""
    hold = asyncio.Event()

    async def get(request: web.Request) -> web.StreamResponse:
        await hold.wait()
        return await events(request)

    sessions = mcp(server, get=get)
    client = client_of(server.remote)
    await client.hello()
    server.refuses("initialize", 503, 503)
    sessions.clear()
    hold.set()
    await client.until(lambda message: message.method == "notifications/tools/list_changed")
    assert server.posts().count("initialize") == 4


async def test_a_notification_of_a_lost_session_is_lost_with_it(server: Server, client_of: Clients) -> None:
    """It is about that session; and there is nobody to tell."""
    sessions = mcp(server)
    client = client_of(server.remote)
    await client.hello()
    while server.asked[-1].method != "GET":  # which it does not offer
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    sessions.clear()
    await client.tell("notifications/roots/list_changed")
    await client.bridge.drain(5)
    assert server.posts()[-1] == "notifications/roots/list_changed"
    assert len(client.heard) == 1


# -- what servers should not do ------------------------------------------------------


@for_each(
    ("made", "said"),
    [
        (lambda: web.Response(status=202), "takes a request for a notification"),
        (lambda: web.Response(text="<html>"), "no JSON-RPC message"),
        (lambda: answer(999), "to another request"),
        (lambda: web.Response(body=b"data: {}\n\n", headers={"Content-Type": "text/event-stream"}), "no JSON-RPC"),
        (lambda: web.Response(status=302, headers={"Location": "/login"}), "302 Found"),
    ],
    ids=range(5),
)  # fmt: skip
async def test_a_request_is_answered_whatever_the_server_does(
    server: Server, client_of: Clients, made: Callable[[], web.Response], said: str
) -> None:
    async def tool(_request: web.Request) -> web.StreamResponse:
        return made()

    mcp(server, tool)
    client = client_of(server.remote)
    await client.hello()
    assert said in (await client.ask("tools/list")).body["error"]["message"]


async def test_a_batch_of_the_server_s_brings_its_messages_whatever_else_is_in_it(
    server: Server, client_of: Clients
) -> None:
    async def tool(_request: web.Request) -> web.StreamResponse:
        said = {"jsonrpc": "2.0", "method": "notifications/x"}
        own = {"jsonrpc": "2.0", "id": server.asked[-1].body["id"], "result": {"whole": True}}
        return web.json_response([said, {"jsonrpc": "2.0"}, own])

    mcp(server, tool)
    client = client_of(server.remote)
    await client.hello()
    assert (await client.ask("tools/list")).result == {"whole": True}
    assert [message.method for message in client.heard[1:]] == ["notifications/x", ""]


async def test_from_2026_on_there_is_no_session_and_a_message_says_its_revision(
    server: Server, client_of: Clients
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        own = server.asked[-1].body.get("id")
        if own is None:
            return web.Response(status=202)
        schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
        return answer(own, tools=[{"name": "deploy", "inputSchema": schema}])

    server.answer = handle
    client = client_of(server.remote)
    meta = {messages.VERSION_KEY: "2026-07-28"}
    await client.ask("tools/list", _meta=meta)
    await client.ask("tools/call", name="deploy", arguments={"region": "eu"}, _meta=meta)
    fields = server.asked[-1].headers
    assert (fields["MCP-Protocol-Version"], fields["Mcp-Method"]) == ("2026-07-28", "tools/call")
    assert (fields["Mcp-Name"], fields["Mcp-Param-Region"]) == ("deploy", "eu")
    assert "Mcp-Session-Id" not in fields
    await client.tell("notifications/x")  # which need not say it
    await client.bridge.drain(5)
    assert server.asked[-1].headers["MCP-Protocol-Version"] == "2026-07-28"
