from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import aiohttp
from aiohttp import web

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.bridge import Bridge
from idtoken_proxy.mcp.listener import Target, connected
from idtoken_proxy.mcp.messages import Kind
from idtoken_proxy.mcp.streamable_http import StreamableHttp
from tests.cases import for_each
from tests.mcp.conftest import HELLO, PATIENCE, QUICK, VERSION, Clients, Clock, Connect, Server, answer, event

CALLER = "login@demo-project.iam.gserviceaccount.com"


# -- with a private server -----------------------------------------------------------


async def test_a_private_server_s_tools(connect: Connect, seen: list[Seen]) -> None:
    client = await connect()
    assert (await client.hello()).result["serverInfo"]["name"] == "emulated user-profiles"
    tools = (await client.ask("tools/list")).result["tools"]
    assert [tool["name"] for tool in tools] == ["whoami", "echo", "count", "ask"]
    assert json.loads(await client.call("whoami"))["caller"] == CALLER
    assert {one.refused for one in seen} == {None}


async def test_a_new_revision_of_it_is_no_affair_of_the_client_s(
    connect: Connect, emulator: Emulator
) -> None:
    client = await connect()
    await client.hello()
    emulator.forget_mcp_sessions("user-profiles")
    assert await client.call("echo", text="again") == "again"


async def test_a_cut_stream_a_question_and_progress(connect: Connect) -> None:
    client = await connect()
    await client.hello()
    own = await client.begin(
        "tools/call",
        name="count",
        arguments={"to": 5, "interval": 0.001, "cut_after": 3},
        _meta={"progressToken": 9},
    )
    assert (await client.answer_to(own)).result["content"][0]["text"] == "counted to 5"
    progress = [message.params["progress"] for message in client.heard if "progress" in message.params]
    assert progress == [1, 2, 3, 4, 5]

    own = await client.begin("tools/call", name="ask", arguments={"message": "Sure?"})
    question = await client.until(lambda message: message.method == "elicitation/create")
    assert question.params["message"] == "Sure?"
    result = {"action": "accept", "content": {"answer": "yes"}}
    await client.bridge.take(json.dumps({"jsonrpc": "2.0", "id": question.id, "result": result}))
    assert json.loads((await client.answer_to(own)).result["content"][0]["text"]) == result


async def test_a_token_that_has_run_out_is_renewed_and_the_call_made_once(
    connect: Connect, clock: Clock, seen: list[Seen]
) -> None:
    """The receiver's clock says so, and its 401 is no affair of the client's."""
    client = await connect()
    await client.hello()
    await client.ask("ping")
    clock.ahead = 3700
    seen.clear()
    assert await client.call("echo", text="a") == "a"
    assert [one.refused for one in seen if one.method == "POST"] == [401, None]


async def test_so_is_that_of_a_call_too_large_for_the_engine_to_keep(
    connect: Connect, clock: Clock, seen: list[Seen]
) -> None:
    client = await connect()
    await client.hello()
    await client.ask("ping")
    clock.ahead = 3700
    seen.clear()
    text = "a" * 100_000
    assert await client.call("echo", text=text) == text
    assert [one.refused for one in seen if one.method == "POST"] == [401, None]


async def test_a_server_that_is_gone(emulator: Emulator, client_of: Clients, unused_tcp_port: int) -> None:
    environ = {"GCE_METADATA_HOST": emulator.metadata_host}
    target = Target.of(f"http://127.0.0.1:{unused_tcp_port}/mcp", None, "metadata", environ)
    async with connected(target, environ, QUICK) as remote:
        client = client_of(remote)
        error = (await client.ask("initialize", **HELLO)).body["error"]
        await client.bridge.close()
    assert error["message"].startswith("idtoken-proxy: The receiver could not be reached: ")
    assert error["data"]["httpStatus"] == 502
    assert error["data"]["remedy"] in error["message"]


async def test_a_caller_without_the_role_is_told_the_command(connect: Connect, emulator: Emulator) -> None:
    client = await connect("search")
    error = (await client.ask("initialize", **HELLO)).body["error"]
    assert error["data"]["cause"] == "no_invoker"
    assert "gcloud run services add-iam-policy-binding" in error["message"]
    assert f"--member=serviceAccount:{CALLER} --role=roles/run.invoker" in error["message"]
    async with (
        aiohttp.ClientSession() as session,
        session.post(emulator.let_in_url("search", "login")) as let_in,
    ):
        assert let_in.status == 200
    assert not (await client.hello()).is_error


async def test_without_a_token_the_remedy_is_the_proxy_s(connect: Connect, emulator: Emulator) -> None:
    emulator.break_with("outage")
    client = await connect()
    error = (await client.ask("initialize", **HELLO)).body["error"]
    assert error["data"]["httpStatus"] == 503
    assert error["message"].startswith("idtoken-proxy: No ID token: ")
    assert error["data"]["remedy"] in error["message"]


async def test_a_path_that_is_no_mcp_endpoint(connect: Connect) -> None:
    client = await connect(path="/status/404")
    error = (await client.ask("initialize", **HELLO)).body["error"]
    assert "/status/404 is the server's MCP endpoint" in error["message"]


# -- by itself -----------------------------------------------------------------------


def only(server: Server, *held: str) -> asyncio.Event:
    """Answers all, but `held` methods only when the event is set."""
    go = asyncio.Event()

    async def handle(_request: web.Request) -> web.StreamResponse:
        body = server.asked[-1].body
        if body.get("method") in held:
            await go.wait()
        if "id" not in body or "method" not in body:
            return web.Response(status=202)
        return answer(body["id"], protocolVersion=VERSION)

    server.answer = handle
    return go


@for_each(
    ("line", "codes"),
    [
        ("{", [messages.PARSE_ERROR]),
        ("[]{}", [messages.PARSE_ERROR]),
        (b"\xff", [messages.PARSE_ERROR]),
        ('{"jsonrpc": "2.0"}', [messages.INVALID_REQUEST]),
        ("[]", [messages.INVALID_REQUEST]),
        ("[1, 2]", [messages.INVALID_REQUEST] * 2),
    ],
)
async def test_a_line_that_is_no_message_is_answered_as_json_rpc_has_it(
    server: Server, client_of: Clients, line: str | bytes, codes: list[int]
) -> None:
    client = client_of(server.remote)
    await client.bridge.take(line)
    assert [(error.id, error.error_code) for error in client.heard] == [(None, code) for code in codes]


async def test_of_a_batch_what_is_no_message_spoils_nothing_for_the_others(
    server: Server, client_of: Clients
) -> None:
    only(server)
    client = client_of(server.remote)
    asked = [messages.request(own, "ping").text for own in (1, 2)]
    await client.bridge.take(f'[{asked[0]}, {{"jsonrpc": "2.0", "id": 9, "method": 7}}, {asked[1]}]')
    for own in (1, 2):
        assert not (await client.answer_to(own)).is_error
    (refused,) = (message for message in client.heard if message.is_error)
    assert (refused.id, refused.error_code) == (None, messages.INVALID_REQUEST)
    assert server.posts() == ["ping", "ping"]


async def test_an_empty_line_is_nothing(server: Server, client_of: Clients) -> None:
    client = client_of(server.remote)
    await client.bridge.take(b"\r\n")
    assert not client.heard


async def test_nothing_overtakes_a_handshake(server: Server, client_of: Clients) -> None:
    """Whatever a client says at once."""
    go = only(server, "initialize", "notifications/initialized")
    client = client_of(server.remote)
    await client.begin("initialize", **HELLO)
    await client.tell("notifications/initialized")
    await client.begin("tools/list")
    await client.tell("notifications/roots/list_changed")
    await client.begin("ping")
    while not server.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)  # in which another would have come
    assert server.posts() == ["initialize"]
    go.set()
    await client.bridge.drain(5)
    assert server.posts()[:2] == ["initialize", "notifications/initialized"]
    assert sorted(server.posts()[2:]) == ["notifications/roots/list_changed", "ping", "tools/list"]


async def test_requests_do_not_wait_for_each_other(server: Server, client_of: Clients) -> None:
    go = only(server, "tools/call")
    client = client_of(server.remote)
    slow = await client.begin("tools/call", name="a")
    assert not (await client.ask("ping")).is_error
    go.set()
    assert not (await client.answer_to(slow)).is_error


async def test_notifications_keep_their_order(server: Server, client_of: Clients) -> None:
    go = only(server, "notifications/a")
    client = client_of(server.remote)
    await client.tell("notifications/a")
    await client.tell("notifications/b")
    await client.tell("notifications/c")
    while not server.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)  # in which another would have come
    assert server.posts() == ["notifications/a"]
    go.set()
    await client.bridge.drain(5)
    assert server.posts() == ["notifications/a", "notifications/b", "notifications/c"]


async def test_a_cancelled_request_s_stream_is_read_no_further_and_the_server_is_told(
    server: Server, client_of: Clients
) -> None:
    """An answer that comes all the same is for nobody."""
    told, hung_up = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = server.asked[-1].body
        if body["method"] == "notifications/cancelled":
            assert body["params"] == {"requestId": 1, "reason": "bored"}
            told.set()
            return web.Response(status=202)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for number in itertools.count():
                params = {"progressToken": 1, "progress": number}
                await response.write(event({"method": "notifications/progress", "params": params}))
                if told.is_set():
                    await response.write(event({"id": body["id"], "result": {}}))
                await asyncio.sleep(0.001)
        finally:
            hung_up.set()
        raise AssertionError

    server.answer = handle
    client = client_of(server.remote)
    own = await client.begin("tools/call", name="a")
    await client.until(lambda message: message.method == "notifications/progress")
    await client.tell("notifications/cancelled", requestId=own, reason="bored")
    heard = len(client.heard)
    async with asyncio.timeout(PATIENCE):
        await told.wait()
        await hung_up.wait()
    assert {message.kind for message in client.heard} == {Kind.NOTIFICATION}
    assert len(client.heard) <= heard + 1  # what was being written


async def test_a_cancelled_request_is_not_answered_by_the_bridge_either(
    server: Server, client_of: Clients
) -> None:
    """Nor does the same ID of a later request get what belongs to it."""
    go = only(server, "tools/call")
    client = client_of(server.remote)
    await client.say(messages.request(7, "tools/call"))
    while not server.asked:
        await asyncio.sleep(0)
    await client.tell("notifications/cancelled", requestId=7)
    await client.bridge.drain(PATIENCE)
    assert not client.heard
    go.set()
    await client.say(messages.request(7, "ping"))
    assert (await client.answer_to(7)).result == {"protocolVersion": VERSION}
    assert [message.id for message in client.heard] == [7]


async def test_a_handshake_is_not_cancelled(server: Server, client_of: Clients) -> None:
    """By the specification it cannot be; and what waits for it would be sent too early."""
    go = only(server, "initialize")
    client = client_of(server.remote)
    own = await client.begin("initialize", **HELLO)
    await client.tell("notifications/cancelled", requestId=own)
    go.set()
    assert not (await client.answer_to(own)).is_error


async def test_from_2026_on_a_cancellation_is_the_end_of_the_request(
    server: Server, client_of: Clients
) -> None:
    hung_up = asyncio.Event()

    async def handle(_request: web.Request) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            hung_up.set()
        raise AssertionError

    server.answer = handle
    client = client_of(server.remote)
    meta = {messages.VERSION_KEY: "2026-07-28"}
    own = await client.begin("tools/call", name="a", _meta=meta)
    while not server.asked:
        await asyncio.sleep(0)
    await client.tell("notifications/cancelled", requestId=own, _meta=meta)
    await asyncio.wait_for(hung_up.wait(), 5)
    await client.tell("notifications/cancelled", requestId="unknown", _meta=meta)
    await client.tell("notifications/cancelled", requestId="unknown")
    await client.bridge.drain(1)
    assert server.posts() == ["tools/call"]
    assert not client.heard


async def test_a_server_that_has_no_handshakes_any_more_is_no_older_one(
    server: Server, client_of: Clients
) -> None:
    data = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
    error: dict[str, Any] = {"code": -32022, "message": "Unsupported protocol version", "data": data}

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"jsonrpc": "2.0", "id": 1, "error": error}, status=400)

    server.answer = handle
    assert (await client_of(server.remote).ask("initialize", **HELLO)).body["error"] == error
    assert [asked.method for asked in server.asked] == ["POST"]


async def test_a_fault_of_ours_is_an_answer_too(server: Server, client_of: Clients) -> None:
    client = client_of(server.remote)
    client.bridge._transport = None  # type: ignore[assignment]  # as a bug would
    assert "a fault of the bridge's own" in (await client.ask("ping")).body["error"]["message"]
    client.bridge._transport = StreamableHttp(server.remote, client.bridge._write)


async def test_an_end_waits_for_answers_as_long_as_it_may(server: Server) -> None:
    lines: list[str] = []

    async def write(line: str) -> None:
        lines.append(line)

    go = only(server, "tools/call")
    bridge = Bridge(server.remote, write)
    await bridge.take(messages.request(1, "tools/call").text)
    await bridge.take(messages.request(2, "ping").text)
    await bridge.drain(0.05)
    assert [messages.read(line)[0].id for line in lines] == [2]
    await bridge.close()
    go.set()
    assert len(lines) == 1
