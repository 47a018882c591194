"""A stream of HTTP/2 in the place of a connection of aiohttp's: a body with credit, and waiting for who takes the answer."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from aiohttp import ClientConnectionResetError, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import EMPTY_PAYLOAD

from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.heads import RequestHead
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.streams import ENDED, Stream

# Octets of a request's body that wait for its reader; with twice as many the stream gets no more credit.
BODY: Final = 64 * 1024


class ServerContext(Protocol):
    """The connection of a stream (http2_front.py)."""

    loop: asyncio.AbstractEventLoop
    connection: ServerConnection
    transport: asyncio.Transport | None

    def flush_soon(self) -> None: ...

    def must_wait(self, stream: Stream) -> bool: ...

    def reset(self, stream: Stream, code: ErrorCode) -> None: ...


class StreamSide:
    """What aiohttp asks of a connection, of one stream. `stream.context` is this."""

    def __init__(self, front: ServerContext, stream: Stream, head: RequestHead, *, end_stream: bool) -> None:
        self.front = front
        self.stream = stream
        self.method = head.method.decode("ascii")
        self.target = head.path.decode("latin-1")
        self.task: asyncio.Task[None] | None = None
        self.head = head
        self._waiter: asyncio.Future[None] | None = None
        self.body: StreamReader = EMPTY_PAYLOAD
        self.protocol = StreamProtocol(self)
        if not end_stream:
            self.body = StreamReader(self.protocol, BODY, loop=front.loop)

    # -- what comes -----------------------------------------------------------

    def feed(self, payload: bytes, *, end_stream: bool) -> None:
        self.protocol.owed += len(payload)
        self.body.feed_data(payload)
        if end_stream:
            self.body.feed_eof()
        self.protocol.give()

    def broken(self) -> None:
        """The stream is no more; who answers it learns that as the loss of a connection."""
        self.protocol.transport = None
        if not self.body.is_eof():
            self.body.set_exception(ClientConnectionResetError("the stream was reset"))
        self.wake()
        if self.task is not None:
            self.task.cancel()

    # -- what goes ------------------------------------------------------------

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def written(self, *, whole: bool = False) -> None:
        """Until the client has taken so much that more may be written; `whole`: all that was."""
        self.front.flush_soon()
        while self.front.must_wait(self.stream) or (whole and self.stream.held_octets):
            self._waiter = self.front.loop.create_future()
            await self._waiter

    def must_be_there(self) -> None:
        if self.stream.state in ENDED:
            raise ClientConnectionResetError("the stream was reset")


class StreamProtocol(BaseProtocol):
    """In the place of aiohttp's protocol of a connection: flow control is the stream's own."""

    def __init__(self, side: StreamSide) -> None:
        super().__init__(side.front.loop)
        connection = side.front.transport
        assert connection is not None
        self.transport = StreamTransport(side)
        self.ssl_context = connection.get_extra_info("sslcontext")
        self.peername = connection.get_extra_info("peername")
        self.sockname = connection.get_extra_info("sockname")
        self.owed = 0  # octets whose credit the client has yet to get back
        self._side = side

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        self._reading_paused = False
        self.give()

    def give(self) -> None:
        if self.owed and not self._reading_paused:
            owed, self.owed = self.owed, 0
            self._side.front.connection.release_credit(self._side.stream, owed)
            self._side.front.flush_soon()


class StreamTransport(asyncio.Transport):
    """What handlers ask of a transport."""

    def __init__(self, side: StreamSide) -> None:
        super().__init__()
        self._side = side

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        connection = self._side.front.transport
        return default if connection is None else connection.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._side.stream.state in ENDED

    def abort(self) -> None:
        """An answer that has no end in order."""
        self._side.front.reset(self._side.stream, ErrorCode.INTERNAL_ERROR)
