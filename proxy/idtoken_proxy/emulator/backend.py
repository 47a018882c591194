"""A developer's own app in the container's place: what the front end let through goes to it as Cloud Run would send it.

Sources: https://cloud.google.com/run/docs/container-contract and, for the fields that an app sees on Cloud Run, the request
in https://github.com/googleapis/google-cloudevents/blob/main/proto/google/events/cloud/audit/v1/README.md: X-Forwarded-For,
X-Forwarded-Proto, Forwarded, X-Cloud-Trace-Context, and the caller's own Host. Where the app does not answer, 503 in the
words of the Envoy before it.

gRPC goes on by HTTP/2 (grpc_backend.py), all else by HTTP/1.1. A WebSocket's octets pass unread after the 101: its extensions and subprotocols are the two ends' own business.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from idtoken_proxy.emulator import edge, grpc_backend
from idtoken_proxy.emulator.container import Delivered, Headers
from idtoken_proxy.emulator.grpc_services import is_grpc

# RFC 9110 section 7.6.1; and Expect, which the front end has answered already.
_OF_ONE_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("expect", "proxy-authorization", "proxy-authenticate"),
    }
)
_GOOGLE_S_OWN: Final = frozenset({"x-forwarded-proto", "forwarded", "x-cloud-trace-context"})
_OWN_NAMES_ONLY: Final = (
    "Accept",
    "Accept-Encoding",
    "Content-Type",
    "User-Agent",
)  # aiohttp would add its own
_BLOCK: Final = 64 * 1024  # octets


class Backend:
    """Of one service. `url`: http://HOST:PORT of the app."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            auto_decompress=False,  # the caller takes what the app sends, as it is
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OWN_NAMES_ONLY,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),  # an event stream has no end
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def answer(self, delivered: Delivered) -> web.StreamResponse:
        assert self._client is not None
        request = delivered.request
        headers = as_delivered(delivered.headers, request.remote or "127.0.0.1")
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        if upgrade:
            headers["Connection"], headers["Upgrade"] = "Upgrade", "websocket"
        target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        rest = target.removeprefix(delivered.prefix)
        # Behind the app's address, `%2F@other` would make it the user of another host.
        path = rest if rest.startswith("/") else f"/{rest}"
        if is_grpc(request):
            return await grpc_backend.answer(self._url, request, headers, path)
        try:
            answer = await self._client.request(
                request.method,
                URL(self._url + path, encoded=True),
                headers=headers,
                data=request.content if request.body_exists else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise edge.no_answer(_why(error)) from None
        async with answer:
            return await _passed_on(request, answer)


def as_delivered(headers: Headers, peer: str) -> CIMultiDict[str]:
    """What the app sees. `headers`: of the request, without signatures; `peer`: the address it came from."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for token in value.split(",")
    }
    seen: CIMultiDict[str] = CIMultiDict(
        (name, value)
        for name, value in headers
        if name.lower() not in _OF_ONE_HOP | _GOOGLE_S_OWN | named - {"host"}
    )
    before = seen.popall("X-Forwarded-For", [])
    seen["X-Forwarded-For"] = ", ".join([*before, peer])
    seen["X-Forwarded-Proto"] = "https"  # as the caller of a run.app URL came
    seen["Forwarded"] = f'for="{f"[{peer}]" if ":" in peer else peer}";proto=https'
    seen["X-Cloud-Trace-Context"] = f"{secrets.token_hex(16)}/{secrets.randbits(63)}"
    return seen


async def _passed_on(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(fields))
    response.headers["Server"] = edge.SERVER
    if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return await _tunnelled(request, response, answer)
    await response.prepare(request)
    try:
        async for block in answer.content.iter_any():
            await response.write(block)
    except aiohttp.ClientPayloadError:  # the app broke off; an answer that ends in order would hide that
        if request.transport is not None:
            request.transport.abort()
    await response.write_eof()
    return response


def _kept(fields: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in fields if name.lower() not in _OF_ONE_HOP)


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return "connection failure"
    if isinstance(error, aiohttp.ClientResponseError):
        return "protocol error"
    return "connection termination"


class _Octets:
    """Stands where aiohttp has its parser of WebSockets, and parses nothing."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.reader = asyncio.StreamReader()
        self.reader.set_transport(transport)  # so that one end does not read faster than the other takes

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self.reader.feed_eof()


async def _tunnelled(
    request: web.BaseRequest, response: web.StreamResponse, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    response.headers["Connection"], response.headers["Upgrade"] = "Upgrade", "websocket"
    await response.prepare(request)
    request.writer.send_headers()
    connection = answer.connection
    assert connection is not None
    app = connection.protocol
    if app is None or app.transport is None or request.transport is None:  # one has hung up meanwhile
        return response
    down, up = _Octets(app.transport), _Octets(request.transport)
    app.set_parser(down, down)
    request.protocol.set_parser(up)  # type: ignore[arg-type]  # what it asks of a parser, this one has
    to_app = aiohttp.http.StreamWriter(app, asyncio.get_running_loop())
    pumps = {
        asyncio.ensure_future(_pumped(up.reader, to_app.write)),
        asyncio.ensure_future(_pumped(down.reader, response.write)),
    }
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:  # one has hung up, or the emulator ends
        for pump in pumps:
            pump.cancel()
        answer.close()  # before anything is waited for: at its end the emulator may lose its patience
        request.protocol.force_close()
        await asyncio.gather(*pumps, return_exceptions=True)
    return response


async def _pumped(reader: asyncio.StreamReader, write: Callable[[bytes], Awaitable[None]]) -> None:
    while block := await reader.read(_BLOCK):
        await write(block)
