"""`idtoken-proxy mcp --tools URL`: one handshake, and the names of the server's tools, by the bridge that a client would have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from idtoken_proxy import __version__, leaving
from idtoken_proxy.errors import Fault, ProxyError
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.bridge import Bridge
from idtoken_proxy.mcp.listener import Target, connected
from idtoken_proxy.mcp.messages import Kind, Message
from idtoken_proxy.mcp.remote import Remote
from idtoken_proxy.terminal import say

_REVISION: Final = "2025-11-25"
_PATIENCE: Final = 60.0  # seconds for one answer, a cold start included
_PAGES: Final = 100


class NoTools(ProxyError):
    """`detail`: as the client would be told."""

    title = "No tools"
    fault = Fault.RECEIVER


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str


def run(target: Target, environ: Mapping[str, str]) -> int:
    """Prints one line a tool. The exit code; NoTools."""

    async def shown() -> int:
        async with connected(target, environ) as remote:
            async for tool in tools_of(remote):
                about = tool.description.strip().partition("\n")[0]
                say(f"{tool.name}: {about}" if about else tool.name)
        return 0

    return leaving.run(shown())


async def tools_of(remote: Remote) -> AsyncIterator[Tool]:
    """NoTools."""
    client = _Client(remote)
    try:
        hello = {"name": "idtoken-proxy", "version": __version__}
        await client.ask(
            "initialize", {"protocolVersion": _REVISION, "capabilities": {}, "clientInfo": hello}
        )
        await client.bridge.take(messages.notification("notifications/initialized").text)
        cursor: object = None
        for _ in range(_PAGES):
            result = await client.ask("tools/list", {} if cursor is None else {"cursor": cursor})
            listed = result.get("tools")
            for tool in listed if isinstance(listed, list) else ():
                if isinstance(tool, dict):
                    yield Tool(str(tool.get("name")), str(tool.get("description") or ""))
            cursor = result.get("nextCursor")
            if cursor is None:
                return
    finally:
        await client.bridge.close()


class _Client:
    def __init__(self, remote: Remote) -> None:
        self.bridge = Bridge(remote, self._take)
        self._waiting: dict[str, asyncio.Future[Message]] = {}

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        message = messages.request(len(self._waiting), method, params)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[message.key] = answer
        await self.bridge.take(message.text)
        try:
            async with asyncio.timeout(_PATIENCE):
                told = await answer
        except TimeoutError:
            raise NoTools(f"the server did not answer {method} within {_PATIENCE:g} s") from None
        if told.is_error:
            error = told.body["error"]
            raise NoTools(str(error.get("message") if isinstance(error, dict) else error))
        return told.result

    async def _take(self, line: str) -> None:
        for message in messages.read(line):
            waiting = self._waiting.get(message.key) if message.kind is Kind.RESPONSE else None
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
