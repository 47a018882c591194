"""A receiver's connection that speaks HTTP/2: engine/http2 between a transport and the handlers that HTTP/1.1 has too.

Each stream becomes a request of aiohttp's (http2_stream.py), so that one code judges the caller and one app answers,
whatever version they came by. Cloud Run allows 100 streams on a connection: https://cloud.google.com/run/quotas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, cast

from aiohttp import web

from idtoken_proxy.emulator.breaks import AGED_AFTER, AGED_BY, Broken
from idtoken_proxy.emulator.http2_request import all_fields, message_of
from idtoken_proxy.emulator.http2_stream import StreamSide
from idtoken_proxy.emulator.http2_writer import Http2Writer
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.heads import RequestHead
from idtoken_proxy.engine.http2.listener import BY_PEER, Reset
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import ENDED, ContextStream, Stream

LIMITS: Final = Limits(max_streams=100)
MOST_UNSENT: Final = 64 * 1024  # octets of one stream; whoever writes more waits
_DRAIN_DEADLINE: Final = 1.0  # seconds for the PING between the two GOAWAYs

Handle: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnReset: TypeAlias = Callable[[str, str, int], None]


class Http2Front(asyncio.Protocol):
    """`on_reset`: the client has reset a stream, with this method, target and code. `on_lost`: the connection has ended."""

    def __init__(self, handle: Handle, on_reset: OnReset, broken: Broken) -> None:
        self.loop = asyncio.get_running_loop()
        # The core is the proxy's side towards an app, which takes no token of the app's; a receiver has to see it.
        self.connection = ServerConnection(self, LIMITS, self.loop.time, all_fields, ContextStream)
        self.transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] = lambda: None
        self._handle = handle
        self._on_reset = on_reset
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = broken
        self._requests = 0
        self._aging = False
        self._flushing = False
        self._paused = False

    # -- the transport's ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # So that `resume_writing` says that all is written.
        self.transport.set_write_buffer_limits(0)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.connection.receive(data)
        self.flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._written()
        for stream in tuple(self.connection.streams.values()):
            self._side(stream).wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.connection.lost()
        for task in self._tasks:  # those too whose stream has been sent whole
            task.cancel()
        self.on_lost()

    # -- what goes out --------------------------------------------------------

    def flush_soon(self) -> None:
        """Once a turn, whatever was sent in it."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flushing = False
        parts = self.connection.take_output()
        if self.transport is None:
            return
        if parts:
            self.transport.writelines(parts)
        if not self._paused:
            self._written()
        if self.connection.failure is not None or (self.connection.drained and not self._tasks):
            self.transport.close()

    def _written(self) -> None:
        self.connection.written()
        if self.connection.output_octets:
            self.flush_soon()
        if self.transport is not None and not self.transport.is_closing():
            if self.connection.wants_input:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def must_wait(self, stream: Stream) -> bool:
        """Whoever writes to the stream is ahead of the client."""
        return stream.state not in ENDED and (self._paused or stream.held_octets > MOST_UNSENT)

    # -- the end --------------------------------------------------------------

    def _age(self) -> None:
        """With another request."""
        self._requests += 1
        if not self._broken.now.connections_age:
            return
        if self._requests == AGED_BY:
            self.drain()
        elif not self._aging:
            self._aging = True
            self.loop.call_later(AGED_AFTER, self.drain)

    def drain(self) -> None:
        """GOAWAY in two steps; the connection closes behind the last stream."""
        self.connection.drain()
        self.loop.call_later(_DRAIN_DEADLINE, self._finish_drain)
        self.flush()

    def _finish_drain(self) -> None:
        self.connection.finish_drain()
        self.flush()

    async def shutdown(self, seconds: float) -> None:
        self._finish_drain()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.flush()
        if self.transport is not None:
            self.transport.close()
            if self._paused:  # it does not read what there is
                self.transport.abort()

    # -- the connection's -----------------------------------------------------

    def on_request(self, stream: Stream, head: RequestHead, *, end_stream: bool) -> None:
        assert isinstance(stream, ContextStream)
        side = StreamSide(self, stream, head, end_stream=end_stream)
        stream.context = side
        self._age()
        side.task = self.loop.create_task(self._answer(side))
        self._tasks.add(side.task)
        side.task.add_done_callback(lambda task: self._answered(task, stream))

    def on_malformed(self, stream_id: int, reason: str, fields: Sequence[HeaderField]) -> tuple[()]:
        """The core resets it."""
        return ()

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        self._side(stream).feed(payload, end_stream=end_stream)

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        self._side(stream).feed(b"", end_stream=True)

    def on_sent(self, stream: Stream, octets: int) -> None:
        self._side(stream).wake()

    def on_reset(self, stream: Stream, reset: Reset) -> None:
        side = self._side(stream)
        if reset.by == BY_PEER:
            self._on_reset(side.method, side.target, reset.code)
        side.broken()

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        """What it has open it may still end."""

    def on_pong(self, payload: bytes) -> None:
        """The core has seen to it."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """GOAWAY is among what is sent, and `flush` closes behind it."""

    @staticmethod
    def _side(stream: Stream) -> StreamSide:
        side = stream.context if isinstance(stream, ContextStream) else None
        assert isinstance(side, StreamSide)
        return side

    # -- a request ------------------------------------------------------------

    def _request(self, side: StreamSide) -> web.BaseRequest:
        assert side.task is not None
        protocol = cast("web.RequestHandler", side.protocol)
        return web.BaseRequest(
            message_of(side.head), side.body, protocol, Http2Writer(side), side.task, self.loop
        )

    async def _answer(self, side: StreamSide) -> None:
        """As aiohttp does it for HTTP/1.1."""
        request = self._request(side)
        try:
            try:
                response = await self._handle(request)
            except web.HTTPException as refusal:
                response = refusal
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            return  # the client has gone, as clients do
        # "A server can send a complete response prior to the client sending an entire request" (RFC 9113 section 8.1).
        self.reset(side.stream, ErrorCode.NO_ERROR)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Where it has not ended."""
        if stream.state not in ENDED:
            self.connection.reset(stream, code)
            self.flush_soon()

    def _answered(self, task: asyncio.Task[None], stream: Stream) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.loop.call_exception_handler({"message": "a request over HTTP/2", "exception": error})
            self.reset(stream, ErrorCode.INTERNAL_ERROR)
        self.connection.release_slot(stream)
        self.flush_soon()
