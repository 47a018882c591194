"""A stream of HTTP/2 as a request of aiohttp's: its head, its body with credit, and the writer of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from aiohttp import ClientConnectionResetError, HttpVersion, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import must_be_empty_body
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from idtoken_proxy.engine.http2 import fields
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.fields import FieldTable
from idtoken_proxy.engine.http2.heads import RequestHead
from idtoken_proxy.engine.http2.hpack_encoder import Pair
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.streams import ENDED, Stream
from idtoken_proxy.policy.fields import PASS

HTTP2: Final = HttpVersion(2, 0)
BODY: Final = (
    64 * 1024
)  # octets of a request's body that wait for its reader, before the stream gets no more credit
# What aiohttp adds to an answer of HTTP/1.1's (RFC 9113 section 8.2.2).
_OF_CONNECTIONS: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})

# A receiver passes all fields on to its container, those among them that a proxy drops.
all_fields: Final = FieldTable(
    {
        b":method": fields.METHOD,
        b":scheme": fields.SCHEME,
        b":authority": fields.AUTHORITY,
        b":path": fields.PATH,
        b"host": fields.HOST,
        b"content-length": fields.CONTENT_LENGTH,
        b"te": fields.TE,
        b"cookie": fields.COOKIE,
    },
    lambda _name: PASS,
)


def raw_headers(head: RequestHead) -> tuple[Pair, ...]:
    """As a container sees them behind a front end that speaks HTTP/2: Host for :authority, names in lower case."""
    headers = [(b"host", head.authority), *(field.pair for field in head.passing)]
    if head.te_trailers:
        headers.append((b"te", b"trailers"))
    if head.content_length is not None:
        headers.append((b"content-length", b"%d" % head.content_length))
    return tuple((name, value) for name, value in headers)


class Front(Protocol):
    """The connection of a stream (http2_front.py)."""

    loop: asyncio.AbstractEventLoop
    connection: ServerConnection
    transport: asyncio.Transport | None

    def flush_soon(self) -> None: ...

    def must_wait(self, stream: Stream) -> bool: ...

    def reset(self, stream: Stream, code: ErrorCode) -> None: ...


class StreamSide:
    """What aiohttp asks of a connection, of one stream. `stream.context` is this."""

    def __init__(self, front: Front, stream: Stream, head: RequestHead, *, end_stream: bool) -> None:
        self.front = front
        self.stream = stream
        self.method = head.method.decode("ascii")
        self.target = head.path.decode("latin-1")
        self.task: asyncio.Task[None] | None = None
        self._head = head
        self._waiter: asyncio.Future[None] | None = None
        self._body: StreamReader = EMPTY_PAYLOAD
        self._protocol = StreamProtocol(self)
        if not end_stream:
            self._body = StreamReader(self._protocol, BODY, loop=front.loop)

    def request(self) -> web.BaseRequest:
        raw = raw_headers(self._head)
        headers = CIMultiDict(
            (name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in raw
        )
        path, _, query = self.target.partition("?")
        message = RawRequestMessage(
            method=self.method,
            path=self.target,
            version=HTTP2,
            headers=CIMultiDictProxy(headers),
            raw_headers=raw,
            should_close=False,
            compression=None,
            upgrade=False,
            chunked=False,
            url=URL.build(path=path, query_string=query, encoded=True),
        )
        assert self.task is not None
        protocol = cast("web.RequestHandler", self._protocol)
        return web.BaseRequest(message, self._body, protocol, Http2Writer(self), self.task, self.front.loop)

    # -- what comes -----------------------------------------------------------

    def feed(self, payload: bytes, *, end_stream: bool) -> None:
        self._protocol.owed += len(payload)
        self._body.feed_data(payload)
        if end_stream:
            self._body.feed_eof()
        self._protocol.give()

    def broken(self) -> None:
        """The stream is no more; who answers it learns that as the loss of a connection."""
        self._protocol.transport = None
        if not self._body.is_eof():
            self._body.set_exception(ClientConnectionResetError("the stream was reset"))
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


class Http2Writer(AbstractStreamWriter):
    """`trailers`: what ends the answer, set before its end."""

    def __init__(self, side: StreamSide) -> None:
        self.trailers: tuple[Pair, ...] = ()
        self._side = side
        self._connection = side.front.connection
        self._head: list[Pair] | None = None
        self._has_body = True

    def go_on(self) -> None:
        """100 Continue."""
        self._connection.send_interim(self._side.stream, self._connection.encode(((b":status", b"100"),)))
        self._side.front.flush_soon()

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        status = status_line.split(" ", 2)[1]
        self._has_body = not must_be_empty_body(self._side.method, int(status))
        if "grpc-status" in headers:  # the end of a call, and no length of anything
            headers.popall("Content-Length", None)
        self._head = [(b":status", status.encode()), *_pairs(headers.items())]

    def send_headers(self) -> None:
        self._send_head(end_stream=False)

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._side.must_be_there()
        self.send_headers()
        self._send(bytes(chunk))
        await self._side.written()
        self._side.must_be_there()

    async def write_eof(self, chunk: bytes = b"") -> None:
        stream = self._side.stream
        if stream.state in ENDED:
            return
        if self._head is not None and not chunk and not self.trailers:
            self._send_head(end_stream=True)
            self._side.front.flush_soon()
            return
        self.send_headers()
        if chunk:
            self._send(bytes(chunk))
        self._connection.send_end(stream, self.trailers)
        await self._side.written(whole=True)

    async def drain(self) -> None:
        await self._side.written()

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        raise NotImplementedError

    def enable_chunking(self) -> None:
        """DATA frames are as good."""

    def _send_head(self, *, end_stream: bool) -> None:
        head, self._head = self._head, None
        if head is not None:
            block = self._connection.encode(head)
            self._connection.send_head(self._side.stream, block, end_stream=end_stream)
            self._side.front.flush_soon()

    def _send(self, chunk: bytes) -> None:
        self.output_size += len(chunk)
        if chunk and self._has_body:
            self._connection.send_data(self._side.stream, chunk)


def _pairs(headers: Iterable[tuple[str, str]]) -> Iterable[Pair]:
    for name, value in headers:
        lowered = name.lower()
        if lowered not in _OF_CONNECTIONS:
            yield lowered.encode("ascii"), value.strip().encode("utf-8", "surrogateescape")
