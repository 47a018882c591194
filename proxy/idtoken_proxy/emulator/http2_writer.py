"""The writer of an answer, as aiohttp's responses use one: frames of a stream in the place of HTTP/1.1's octets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import must_be_empty_body
from multidict import CIMultiDict

from idtoken_proxy.emulator.http2_stream import StreamSide
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.streams import ENDED

# What aiohttp adds to an answer of HTTP/1.1's (RFC 9113 section 8.2.2).
_OF_CONNECTIONS: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})


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

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:  # noqa: ARG002 -- aiohttp's
        raise AssertionError("nothing that the emulator answers is compressed")

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
