"""An MCP server at each private service's /mcp, by Streamable HTTP: enough of one to see a client, a bridge or a proxy working.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http. Its tools:

    whoami                          the caller that the front end found in the token
    echo {text}                     the text
    count {to, interval, cut_after} progress, `interval` seconds apart; behind event `cut_after` the stream breaks off, and is to
                                    be taken up again by Last-Event-ID
    ask {message}                   asks the client's user (elicitation), and tells what the answer was
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from aiohttp import web

from idtoken_proxy import __version__
from idtoken_proxy.emulator.container import Delivered

App: TypeAlias = Callable[[Delivered], Awaitable[web.StreamResponse]]
Json: TypeAlias = dict[str, Any]

PATH: Final = "/mcp"
SESSION: Final = "Mcp-Session-Id"
_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
_NOT_FOUND: Final = -32601
_INVALID: Final = -32602
_RETRY: Final = 50  # milliseconds after which a client may come again


def _tool(name: str, about: str, **arguments: str) -> Json:
    properties = {argument: {"type": kind} for argument, kind in arguments.items()}
    return {
        "name": name,
        "description": about,
        "inputSchema": {"type": "object", "properties": properties},
    }


TOOLS: Final = (
    _tool("whoami", "Tells who called, by the token that the service's front end verified."),
    _tool("echo", "Says the text again.", text="string"),
    _tool(
        "count",
        "Counts, and tells how far it is.",
        to="integer",
        interval="number",
        cut_after="integer",
    ),
    _tool("ask", "Asks you something, and tells what you said.", message="string"),
)


@dataclass
class _Stream:
    """Its events, kept so that they can be said again; its last one answers a request, or there is none."""

    name: str
    events: list[str] = field(default_factory=list)
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, message: Json | None) -> None:
        """None: an event without data, at which the stream may be taken up again."""
        data = "" if message is None else json.dumps({"jsonrpc": "2.0", **message})
        retry = f"retry: {_RETRY}\n" if message is None else ""
        self.events.append(f"id: {self.name}-{len(self.events)}\n{retry}data: {data}\n\n")
        self.news.set()

    def end(self) -> None:
        self.ended = True
        self.news.set()


@dataclass
class _Session:
    streams: dict[str, _Stream] = field(default_factory=dict)
    calls: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    answers: dict[str, asyncio.Future[Json]] = field(default_factory=dict)

    def stream(self) -> _Stream:
        name = str(len(self.streams))
        self.streams[name] = _Stream(name)
        return self.streams[name]

    def end(self) -> None:
        """Whatever is at work for it, and every stream."""
        for call in self.calls.values():
            call.cancel()
        for stream in self.streams.values():
            stream.end()


class McpServer:
    """Of one service. `otherwise`: what answers at any other path."""

    def __init__(self, otherwise: App) -> None:
        self._otherwise = otherwise
        self._sessions: dict[str, _Session] = {}

    async def answer(self, delivered: Delivered) -> web.StreamResponse:
        request = delivered.request
        if request.path.removeprefix(delivered.prefix) != PATH:
            return await self._otherwise(delivered)
        try:
            match request.method:
                case "POST":
                    return await self._post(delivered)
                case "GET":
                    return await self._get(request)
                case "DELETE":
                    self._session(request).end()
                    del self._sessions[request.headers[SESSION]]
                    return web.Response(status=204)
        except ConnectionError:  # the caller has gone
            return web.Response()
        return web.Response(status=405, headers={"Allow": "GET, POST, DELETE"})

    def forget(self) -> None:
        """All sessions, as a new revision does that keeps them in memory."""
        for session in self._sessions.values():
            session.end()
        self._sessions.clear()

    def _session(self, request: web.BaseRequest) -> _Session:
        name = request.headers.get(SESSION)
        if name is None:
            raise web.HTTPBadRequest(text="Mcp-Session-Id is missing\n")
        if name not in self._sessions:
            raise web.HTTPNotFound(
                text=_error(None, -32001, "Session not found"), content_type="application/json"
            )
        return self._sessions[name]

    async def _get(self, request: web.BaseRequest) -> web.StreamResponse:
        session = self._session(request)
        name, _, number = request.headers.get("Last-Event-ID", "").rpartition("-")
        if name in session.streams and number.isdigit():
            return await _said(request, session.streams[name], int(number) + 1)
        stream = session.stream()
        stream.say(None)
        return await _said(request, stream, 0)

    async def _post(self, delivered: Delivered) -> web.StreamResponse:
        request = delivered.request
        try:
            message = json.loads(await request.read())
            method, own = message.get("method"), message.get("id")
        except (ValueError, AttributeError):
            return _json(_error(None, -32700, "Parse error"), status=400)
        params = message.get("params") or {}
        if method == "initialize":
            name = secrets.token_urlsafe(16)
            self._sessions[name] = _Session()
            return _json(_result(own, _hello(delivered.service, params)), headers={SESSION: name})
        session = self._session(request)
        if method is None or own is None:
            _hear(session, message)
            return web.Response(status=202)
        if method == "tools/call" and params.get("name") in ("count", "ask"):
            return await self._stream(request, session, own, params)
        return _json(_answer(delivered, own, method, params))

    async def _stream(
        self, request: web.BaseRequest, session: _Session, own: object, params: Mapping[str, Any]
    ) -> web.StreamResponse:
        arguments = params.get("arguments") or {}
        stream = session.stream()
        stream.say(None)
        work = _count if params["name"] == "count" else _ask
        call = asyncio.ensure_future(_work(stream, own, work(session, stream, params, arguments)))
        session.calls[json.dumps(own)] = call
        return await _said(request, stream, 0, int(arguments.get("cut_after", 0)))


async def _work(stream: _Stream, own: object, told: Awaitable[str]) -> None:
    try:
        stream.say({"id": own, "result": _text(await told)})
    except ValueError as mistake:
        stream.say({"id": own, "error": {"code": _INVALID, "message": str(mistake)}})
    finally:
        stream.end()


async def _count(
    _session: _Session, stream: _Stream, params: Mapping[str, Any], arguments: Mapping[str, Any]
) -> str:
    to, interval = int(arguments.get("to", 3)), float(arguments.get("interval", 1))
    token = (params.get("_meta") or {}).get("progressToken")
    for number in range(1, to + 1):
        await asyncio.sleep(interval)
        if token is not None:
            progress = {"progressToken": token, "progress": number, "total": to}
            stream.say({"method": "notifications/progress", "params": progress})
    return f"counted to {to}"


async def _ask(
    session: _Session, stream: _Stream, _params: Mapping[str, Any], arguments: Mapping[str, Any]
) -> str:
    own = f"ask-{stream.name}"
    heard = session.answers[own] = asyncio.get_running_loop().create_future()
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    question = {"message": str(arguments.get("message", "Well?")), "requestedSchema": schema}
    stream.say({"id": own, "method": "elicitation/create", "params": question})
    answer = await heard
    return json.dumps(answer.get("result") or answer.get("error"))


def _hear(session: _Session, message: Mapping[str, Any]) -> None:
    """What asks for no answer: what the client says to a question, or that a call is no longer wanted."""
    answer = session.answers.get(str(message.get("id")))
    if answer is not None and not answer.done():
        answer.set_result(dict(message))
    if message.get("method") == "notifications/cancelled":
        call = session.calls.get(json.dumps((message.get("params") or {}).get("requestId")))
        if call is not None:
            call.cancel()


def _answer(delivered: Delivered, own: object, method: str, params: Mapping[str, Any]) -> str:
    arguments = params.get("arguments") or {}
    match method, params.get("name"):
        case "ping", _:
            return _result(own, {})
        case "tools/list", _:
            return _result(own, {"tools": TOOLS})
        case "tools/call", "echo":
            return _result(own, _text(str(arguments.get("text", ""))))
        case "tools/call", "whoami":
            claims = delivered.claims or {}
            told = {
                "service": delivered.service,
                "caller": claims.get("email"),
                "audience": claims.get("aud"),
            }
            return _result(own, _text(json.dumps(told)))
        case "tools/call", name:
            return _error(own, _INVALID, f"Unknown tool: {name}")
    return _error(own, _NOT_FOUND, "Method not found")


def _hello(service: str, params: Mapping[str, Any]) -> Json:
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in _VERSIONS else _VERSIONS[0],
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": f"emulated {service}", "version": __version__},
    }


async def _said(
    request: web.BaseRequest, stream: _Stream, begin: int, cut_after: int = 0
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    written = 0
    async for event in _events(stream, begin):
        await response.write(event.encode())
        written += 1
        if written == cut_after and request.transport is not None:
            request.transport.abort()
            break
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response


async def _events(stream: _Stream, begin: int) -> AsyncIterator[str]:
    while True:
        while begin < len(stream.events):
            yield stream.events[begin]
            begin += 1
        if stream.ended:
            return
        stream.news.clear()
        await stream.news.wait()


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}]}


def _result(own: object, result: Json) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": own, "result": result})


def _error(own: object, code: int, message: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": own, "error": {"code": code, "message": message}})


def _json(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)
