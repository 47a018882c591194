"""A developer's own app that serves gRPC: it is spoken to in HTTP/2 with prior knowledge, as Cloud Run does with --use-http2.

Each call has a connection of its own: what an emulator saves by sharing them is not worth what it would have to know of
GOAWAY. https://cloud.google.com/run/docs/configuring/http2
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from idtoken_proxy.emulator import edge
from idtoken_proxy.emulator.http2_writer import Http2Writer
from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.heads import ResponseHead
from idtoken_proxy.engine.http2.listener import Reset
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import ENDED, Stream

_CONNECT: Final = 10.0  # seconds
_MOST_UNSENT: Final = 64 * 1024  # octets
_GONE: Final = ConnectionError("the app's answer has no end")


async def answer(
    url: str, request: web.BaseRequest, headers: CIMultiDict[str], path: str
) -> web.StreamResponse:
    """`url`: http://HOST:PORT of the app; `headers`: as it is to see them. web.HTTPException where it does not answer."""
    at = urlsplit(url)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT):
            _, call = await loop.create_connection(_Call, at.hostname or "", at.port or 80)
    except (OSError, TimeoutError):
        raise edge.no_answer("connection failure") from None
    call.begin(_pairs(request.method, path, headers))
    body = asyncio.ensure_future(call.send(request))
    try:
        return await _passed_on(request, call)
    finally:
        body.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):  # the caller's body may have none either
            await body
        call.end()


async def _passed_on(request: web.BaseRequest, call: _Call) -> web.StreamResponse:
    try:
        head = await call.head
    except ConnectionError as error:
        raise edge.no_answer(str(error)) from None
    fields = (
        (field.name.decode("ascii"), field.value.decode("latin-1"))
        for field in (*head.passing, *head.special)
    )
    headers = CIMultiDict(fields)
    headers["Server"] = edge.SERVER
    if call.is_head_alone:  # "Trailers-Only": its status is in there
        return web.Response(status=head.status, headers=headers)
    response = web.StreamResponse(status=head.status, headers=headers)
    await response.prepare(request)
    try:
        async for payload in call.payloads():
            await response.write(payload)
    except ConnectionError:
        if request.transport is not None:
            request.transport.abort()
        return response
    writer = request.writer
    assert isinstance(writer, Http2Writer)
    writer.trailers = tuple(field.pair for field in call.trailers)
    await response.write_eof()
    return response


def _pairs(method: str, path: str, headers: CIMultiDict[str]) -> Iterable[Pair]:
    named = ((b":method", method), (b":scheme", "http"), (b":authority", headers["Host"]), (b":path", path))
    yield from ((name, value.encode("latin-1")) for name, value in named)
    for name, value in headers.items():
        if name.lower() not in ("host", "content-length"):
            yield name.lower().encode("ascii"), value.encode("latin-1")
    yield b"te", b"trailers"  # what a server of gRPC wants to see


class _Call(asyncio.Protocol):
    """One stream, and the connection that it is alone on. A ClientListener."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.head: asyncio.Future[ResponseHead] = loop.create_future()
        self.trailers: Sequence[HeaderField] = ()
        self._core = ClientConnection(self, Limits(), loop.time)
        self._came: asyncio.Queue[bytes | None] = (
            asyncio.Queue()
        )  # None: the end; what it holds, the window bounds
        self.is_head_alone = False
        self._whole = False
        self._room = asyncio.Event()
        self._room.set()
        self._stream: Stream
        self._transport: asyncio.Transport

    # -- the caller's side ------------------------------------------------------

    def begin(self, head: Iterable[Pair]) -> None:
        self._stream = self._core.open(self._core.encode(head))
        self._flush()

    async def send(self, request: web.BaseRequest) -> None:
        async for block in request.content.iter_any():
            self._core.send_data(self._stream, block)
            self._flush()
            self._settle_room()
            await self._room.wait()
        self._core.send_end(self._stream)
        self._flush()

    async def payloads(self) -> AsyncIterator[bytes]:
        """ConnectionError where they come to no end."""
        while (payload := await self._came.get()) is not None:
            yield payload
            self._core.release_credit(self._stream, len(payload))
            self._flush()
        if not self._whole:
            raise _GONE

    def end(self) -> None:
        if self._stream.state not in ENDED:
            self._core.reset(self._stream, ErrorCode.CANCEL)
        self._core.close()
        self._flush()
        self._transport.close()

    def _settle_room(self) -> None:
        if self._stream.state not in ENDED and self._stream.held_octets > _MOST_UNSENT:
            self._room.clear()
        else:
            self._room.set()

    def _flush(self) -> None:
        parts = self._core.take_output()
        if parts and not self._transport.is_closing():
            self._transport.writelines(parts)
        self._core.written()

    def _lost(self, why: str) -> None:
        if not self.head.done():
            self.head.set_exception(ConnectionError(why))
            self.head.exception()  # its caller may have gone
        self._came.put_nowait(None)
        self._room.set()

    # -- asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._core.receive(data)
        self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._core.lost()
        self._lost("connection termination")

    # -- what the core tells --------------------------------------------------------

    def on_response(self, _: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        if self.head.done():  # its caller has gone
            return
        self.head.set_result(head)
        self.is_head_alone = end_stream
        if end_stream:
            self._end()

    def on_interim(self, stream: Stream, head: ResponseHead) -> None: ...

    def on_data(self, _: Stream, payload: bytes, *, end_stream: bool) -> None:
        if payload:
            self._came.put_nowait(payload)
        if end_stream:
            self._end()

    def on_end(self, _: Stream, trailers: Sequence[HeaderField]) -> None:
        self.trailers = trailers
        self._end()

    def _end(self) -> None:
        self._whole = True
        self._came.put_nowait(None)

    def on_sent(self, _: Stream, __: int) -> None:
        self._settle_room()

    def on_reset(self, _: Stream, __: Reset) -> None:
        self._lost("remote reset")

    def on_capacity(self) -> None: ...

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None: ...

    def on_pong(self, payload: bytes) -> None: ...

    def on_fault(self, _: ConnectionFault) -> None:
        self._lost("protocol error")
