"""A server as people write them, with MCP's own SDK, in a thread of its own; it can be stopped and started again at its port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage, SamplingMessage, TextContent
from pydantic import BaseModel

Way: TypeAlias = Literal["streamable", "json", "sse"]


class Answer(BaseModel):
    answer: str


class Events(EventStore):
    """All of them, in memory."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        number = int(last_event_id)
        stream = self._events[number][0]
        for own, (name, message) in list(enumerate(self._events))[number + 1 :]:
            if name == stream and message is not None:
                await send_callback(EventMessage(message, str(own)))
        return stream


def made(cancelled: threading.Event) -> MCPServer:
    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @server.tool()
    async def count(to: int, context: Context[Any, Any]) -> str:
        """Counts, and tells how far it is."""
        for number in range(1, to + 1):
            await context.report_progress(number, to)
        return f"counted to {to}"

    @server.tool()
    async def polled(context: Context[Any, Any]) -> str:
        """Hangs up, and has its answer when the client comes back."""
        await context.report_progress(1, 2)
        await context.close_sse_stream()
        await asyncio.sleep(0.3)
        await context.report_progress(2, 2)
        return "came back"

    @server.tool()
    async def for_ever(context: Context[Any, Any]) -> str:
        """Until it is cancelled."""
        await context.report_progress(0)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    @server.tool()
    async def ask(context: Context[Any, Any]) -> str:
        """Asks the user."""
        result = await context.elicit("Sure?", Answer)
        return f"{result.action}: {result.data.answer if result.action == 'accept' else None}"

    @server.tool()
    async def sample(context: Context[Any, Any]) -> str:
        """Asks the client's model."""
        question = SamplingMessage(role="user", content=TextContent(type="text", text="2+2?"))
        result = await context.session.create_message(
            [question], max_tokens=5, related_request_id=context.request_id
        )
        return result.content.text if isinstance(result.content, TextContent) else ""

    return server


class Running:
    """`url`: of its endpoint, without a front end before it. `cancelled`: somebody has cancelled `for_ever`."""

    def __init__(self, way: Way) -> None:
        self.cancelled = threading.Event()
        self._way = way
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server: uvicorn.Server
        self._thread: threading.Thread

    def start(self) -> None:
        tools = made(self.cancelled)
        if self._way == "sse":
            app = tools.sse_app(sse_path="/mcp")
        else:
            app = tools.streamable_http_app(
                json_response=self._way == "json",
                event_store=Events() if self._way == "streamable" else None,
                retry_interval=50,
            )
        config = uvicorn.Config(app, log_level="error", lifespan="on", ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        serve = self._server.serve([self._socket.dup()])
        self._thread = threading.Thread(target=asyncio.run, args=(serve,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self._socket.close()


@contextlib.contextmanager
def running(way: Way) -> Iterator[Running]:
    server = Running(way)
    server.start()
    try:
        yield server
    finally:
        server.close()
