"""One call of gRPC: messages in their frames, metadata, the deadline, and the status that ends it.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. A call that ends before it has said anything ends
with its head alone ("Trailers-Only").
"""

from __future__ import annotations

import asyncio
import enum
import re
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict

from idtoken_proxy.emulator.container import Delivered
from idtoken_proxy.emulator.grpc_messages import Message, Values, decode, encode
from idtoken_proxy.emulator.http2_writer import Http2Writer

CONTENT_TYPE: Final = "application/grpc"
LARGEST: Final = 64 * 1024 * 1024  # octets of a message; a client's own limit is 4 MiB by default
_HEAD: Final = struct.Struct(">BI")
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_OUTER: Final = re.compile(r"^ +| +\Z")
_PRINTABLE: Final = "".join(chr(octet) for octet in range(0x20, 0x7F) if octet != 0x25)


def _encoded(message: str) -> str:
    """Percent-encoded; blanks at its ends too, which no field value may have."""
    return _OUTER.sub(lambda blanks: "%20" * len(blanks[0]), quote(message, safe=_PRINTABLE))


class Code(enum.IntEnum):
    """https://grpc.github.io/grpc/core/md_doc_statuscodes.html: those that are said here."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


class Status(Exception):
    """How a call ends that does not end with OK, or with more said than that."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Call:
    """`head` and `trailers`: metadata to send. `metadata`: what came."""

    def __init__(self, delivered: Delivered) -> None:
        self.delivered = delivered
        self.metadata = delivered.headers
        self.head: list[tuple[str, str]] = []
        self.trailers: list[tuple[str, str]] = []
        self._request = delivered.request
        self._response: web.StreamResponse | None = None

    @property
    def seconds(self) -> float | None:
        """Until its deadline, None: it has none. Status."""
        said = self._request.headers.get("grpc-timeout")
        if said is None:
            return None
        match = _TIMEOUT(said)
        if match is None:
            raise Status(Code.INTERNAL, "grpc-timeout is none")
        return int(match[1]) * _SECONDS[match[2]]

    # -- messages -------------------------------------------------------------

    async def requests(self, message: Message) -> AsyncIterator[Mapping[str, Any]]:
        """Status where one is none."""
        while True:
            octets = await self._next()
            if octets is None:
                return
            try:
                values = decode(message, octets)
            except ValueError as mistake:
                raise Status(Code.INTERNAL, f"Error parsing {message.name}: {mistake}") from None
            yield values

    async def request(self, message: Message) -> Mapping[str, Any]:
        """The only one. Status."""
        only: Mapping[str, Any] | None = None
        async for values in self.requests(message):
            if only is not None:
                raise Status(Code.UNIMPLEMENTED, "more than one request, where one belongs")
            only = values
        if only is None:
            raise Status(Code.UNIMPLEMENTED, "no request, where one belongs")
        return only

    async def _next(self) -> bytes | None:
        content = self._request.content
        try:
            is_compressed, size = _HEAD.unpack(await content.readexactly(_HEAD.size))
            if is_compressed:
                raise Status(
                    Code.UNIMPLEMENTED, "a compressed message; grpc-accept-encoding says identity alone"
                )
            if size > LARGEST:
                raise Status(
                    Code.RESOURCE_EXHAUSTED, f"a message of {size} octets; at most {LARGEST} are taken"
                )
            return await content.readexactly(size) if size else b""
        except asyncio.IncompleteReadError as end:
            if not end.partial and end.expected == _HEAD.size:
                return None
            raise Status(Code.INTERNAL, "the request ends within a message") from None

    async def begin(self) -> web.StreamResponse:
        """Send the head, where it has yet to go."""
        if self._response is None:
            self._response = web.StreamResponse(headers=self._fields(self.head))
            await self._response.prepare(self._request)
        return self._response

    async def send(self, message: Message, values: Values) -> None:
        response = await self.begin()
        octets = encode(message, values)
        await response.write(_HEAD.pack(0, len(octets)) + octets)

    # -- the end --------------------------------------------------------------

    async def end(self, status: Status) -> web.StreamResponse:
        said = [("grpc-status", str(int(status.code)))]
        if status.message:
            said.append(("grpc-message", _encoded(status.message)))
        said += self.trailers
        if self._response is None and status.code != Code.OK:
            return web.Response(headers=self._fields([*self.head, *said]))
        response = await self.begin()
        writer = self._request.writer
        assert isinstance(writer, Http2Writer)
        writer.trailers = tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in said)
        return response

    @staticmethod
    def _fields(metadata: list[tuple[str, str]]) -> CIMultiDict[str]:
        fields = CIMultiDict({"Content-Type": CONTENT_TYPE, "grpc-accept-encoding": "identity"})
        fields.extend(metadata)
        return fields
