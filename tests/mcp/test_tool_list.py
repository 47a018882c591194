from __future__ import annotations

import pytest
from aiohttp import web

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.mcp.listener import Target, connected
from idtoken_proxy.mcp.tool_list import NoTools, Tool, tools_of
from tests.mcp.conftest import VERSION, Server, answer


async def test_all_pages_are_asked_for(server: Server) -> None:
    async def handle(_request: web.Request) -> web.StreamResponse:
        body = server.asked[-1].body
        match body["method"]:
            case "initialize":
                return answer(body["id"], protocolVersion=VERSION)
            case "tools/list" if "cursor" not in body["params"]:
                return answer(body["id"], tools=[{"name": "a", "description": "A.\nMore"}], nextCursor="x")
            case "tools/list":
                return answer(body["id"], tools=[{"name": "b"}, "?"])
        return web.Response(status=202)

    server.answer = handle
    found = [tool async for tool in tools_of(server.remote)]
    assert found == [Tool("a", "A.\nMore"), Tool("b", "")]
    said = ["initialize", "notifications/initialized", "tools/list", "tools/list"]
    assert server.posts() == said


async def test_what_is_wrong_is_told_with_what_mends_it(emulator: Emulator) -> None:
    environ = {"GCE_METADATA_HOST": emulator.metadata_host}
    target = Target.of(emulator.urls["search"] + "/mcp", None, "metadata", environ)
    async with connected(target, environ) as remote:
        with pytest.raises(NoTools, match=r"gcloud run services add-iam-policy-binding"):
            [tool async for tool in tools_of(remote)]
