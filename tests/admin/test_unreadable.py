"""What the admin listener says to octets that are no request."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from idtoken_proxy.admin.connections import Connections
from idtoken_proxy.admin.unreadable import handlers
from idtoken_proxy.logs import configure
from idtoken_proxy.settings.model import LogSettings
from tests.cases import for_each

FIELDS = (b"X-Content-Type-Options: nosniff", b"Cross-Origin-Resource-Policy: same-origin")
UNREADABLE = {
    "garbage": b"\x00\xffhunter2\x01\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"hunter2" * 27,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    "SSH": b"SSH-2.0-hunter2\r\n",
    "a later version": b"GET /hunter2 HTTP/3.9\r\nHost: localhost\r\n\r\n",
    "a line too long": b"GET /" + b"hunter2" * 1500 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a field too long": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"hunter2" * 1500 + b"\r\n\r\n",
    "a head without an end": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"hunter2" * 1500,
    "too many fields": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: hunter2\r\n" * 500 + b"\r\n",
    "bare LF": b"GET /hunter2 HTTP/1.1\nHost: localhost\n\n",
    "one bare LF": b"GET / HTTP/1.1\r\nHost: localhost\nX: hunter2\r\n\r\n",
    "one bare CR": b"GET / HTTP/1.1\r\nHost: localhost\rX: hunter2\r\n\r\n",
    "a control character": b"GET /\x01hunter2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: localhost\r\nX hunter2\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: hunter2\r\n\r\n",
    "no host": b"GET /hunter2 HTTP/1.1\r\n\r\n",
    "a target that is none": b"GET http://[hunter2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: hunter2\r\n\r\n",
    "a length beside a coding": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nhunter2",
    "chunks that are none": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nhunter2",
}


async def hello(request: web.Request) -> web.Response:
    if request.method == "POST":
        raise RuntimeError(request.method)
    return web.Response(text="hello\n")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/", hello)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None
    connections = Connections(handlers(runner.server), lambda: 10.0)
    listener = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await runner.cleanup()
    connections.close()


async def told(port: int, octets: bytes) -> bytes:
    """All that it says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            writer.write(octets)
            return await reader.read()
    finally:
        writer.close()


@for_each("kind", UNREADABLE)
async def test_it_is_told_so_in_a_line_and_the_connection_ends(port: int, kind: str) -> None:
    out = io.StringIO()
    configure(LogSettings("json", "debug"), out)
    head, _, body = (await told(port, UNREADABLE[kind])).partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status.split()[1] == b"400"
    assert set(FIELDS) <= set(fields)
    assert b"Server: idtoken-proxy" in fields
    assert b"Content-Type: text/plain; charset=utf-8" in fields
    assert body == b"this is no HTTP/1.1 request that can be read here\n"
    assert "hunter2" not in out.getvalue()
    assert '"ERROR"' not in out.getvalue()


@pytest.mark.parametrize("fields", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"])
async def test_behind_a_request_too(port: int, fields: bytes) -> None:
    """Both are answered, or the second alone where they came together."""
    said = await told(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\nhunter2\x01\r\n\r\n")
    assert said.endswith(b"this is no HTTP/1.1 request that can be read here\n")
    assert all(field in said.rpartition(b" 400 ")[2] for field in FIELDS)
    assert b"hunter2" not in said


async def test_a_fault_of_ours_has_the_fields_as_well(port: int) -> None:
    out = io.StringIO()
    configure(LogSettings("json", "info"), out)
    said = await told(port, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert said.split()[1] == b"500"
    assert all(field in said for field in FIELDS)
    assert "RuntimeError" in out.getvalue()


async def test_a_body_is_not_unpacked(port: int) -> None:
    """Nobody here reads one, and what is no gzip was an error in the log."""
    out = io.StringIO()
    configure(LogSettings("json", "info"), out)
    said = await told(
        port,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n"
        b"Connection: close\r\n\r\nhunter2",
    )
    assert said.split()[1] == b"200"
    assert out.getvalue() == ""


async def test_a_body_that_goes_on_behind_its_answer_is_not_waited_for(port: int) -> None:
    """Without an end, and broken after the answer."""
    begun = b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    for late in (b"", b"hunter2\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        said = await reader.readuntil(b"hello\n")
        writer.write(late)
        async with asyncio.timeout(3):
            said += await reader.read()
        assert said.split()[1] == b"200"
        assert b"hunter2" not in said
        writer.close()
