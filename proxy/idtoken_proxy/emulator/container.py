"""The application in a private service's container: tells what it received, and streams in every way an app does.

Its pages, by the first segment of the path:

/ws                       WebSocket: each message comes back
/events?interval=1&count= server-sent events, `interval` seconds apart, without end where there is no count
/echo                     the body comes back as it arrives
/status/404               that status; ?header=Name:value, any number of times, adds response headers
/bytes/1000               so many bytes, with Content-Length; ?chunked=1 without
/delay/2                  waits so many seconds, then tells
/mcp                      an MCP server (mcp_server.py)
anything else             tells, as JSON
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import WSMsgType, web

Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A request that the front end let through; `headers` as the container sees them, in order, signatures
    removed. `claims` are the verified token's, None where none was checked. `prefix`: of its path, that is not the
    container's to see.
    """

    service: str
    request: web.BaseRequest
    headers: Headers
    claims: Mapping[str, Any] | None = None
    expires_in: float | None = None
    prefix: str = ""


Page: TypeAlias = Callable[[Delivered, str], Awaitable[web.StreamResponse]]
BLOCK = bytes(range(256)) * 256


async def answer(delivered: Delivered) -> web.StreamResponse:
    path = delivered.request.path.removeprefix(delivered.prefix) or "/"
    _, first, *rest = [*path.split("/"), ""]
    page = PAGES.get(first, _tell)
    try:
        return await page(delivered, rest[0])
    except ValueError as mistake:
        return web.Response(status=400, text=f"{mistake}\n")
    except ConnectionError:  # the caller has gone from a stream, as callers do; no error of anybody's
        return web.Response()


async def _tell(delivered: Delivered, _argument: str) -> web.StreamResponse:
    size, digest = 0, hashlib.sha256()
    async for chunk in delivered.request.content.iter_any():
        size += len(chunk)
        digest.update(chunk)
    claims = delivered.claims or {}
    return web.json_response(
        {
            "service": delivered.service,
            "caller": claims.get("email"),
            "audience": claims.get("aud"),
            "expires_in": delivered.expires_in and int(delivered.expires_in),
            "method": delivered.request.method,
            "path": delivered.request.raw_path.removeprefix(delivered.prefix) or "/",
            "body": {"size": size, "sha256": digest.hexdigest()},
            "headers": delivered.headers,
        },
        dumps=_one_line_a_key,
    )


def _one_line_a_key(document: Mapping[str, object]) -> str:
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


async def _websocket(delivered: Delivered, _argument: str) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    if not socket.can_prepare(delivered.request):
        return web.Response(status=426, text="a WebSocket lives here\n", headers={"Upgrade": "websocket"})
    await socket.prepare(delivered.request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


async def _events(delivered: Delivered, _argument: str) -> web.StreamResponse:
    query = delivered.request.query
    interval = float(query.get("interval", "1"))
    count = int(query["count"]) if "count" in query else None
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(delivered.request)
    number = 0
    while count is None or number < count:
        if number:
            await asyncio.sleep(interval)
        number += 1
        await response.write(f"id: {number}\ndata: {delivered.service} {number}\n\n".encode())
    await response.write_eof()
    return response


async def _echo(delivered: Delivered, _argument: str) -> web.StreamResponse:
    request = delivered.request
    response = web.StreamResponse(headers={"Content-Type": request.content_type})
    await response.prepare(request)
    async for chunk in request.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def _status(delivered: Delivered, argument: str) -> web.StreamResponse:
    status = int(argument)
    if not 200 <= status <= 599:
        raise ValueError("a final status: 200 to 599")
    response = web.Response(status=status)
    for header in delivered.request.query.getall("header", []):
        name, _, value = header.partition(":")
        response.headers.add(name.strip(), value.strip())
    return response


async def _bytes(delivered: Delivered, argument: str) -> web.StreamResponse:
    left = int(argument)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    if "chunked" not in delivered.request.query:
        response.content_length = left
    await response.prepare(delivered.request)
    while left > 0:
        await response.write(BLOCK[:left])
        left -= len(BLOCK)
    await response.write_eof()
    return response


async def _delay(delivered: Delivered, argument: str) -> web.StreamResponse:
    await asyncio.sleep(float(argument))
    return await _tell(delivered, "")


PAGES: dict[str, Page] = {
    "ws": _websocket,
    "events": _events,
    "echo": _echo,
    "status": _status,
    "bytes": _bytes,
    "delay": _delay,
}
