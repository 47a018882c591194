"""grpcio as a client of the emulator's services, messages given and taken as dicts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from idtoken_proxy.emulator import grpc_echo
from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.grpc_messages import Message, decode, encode
from idtoken_proxy.emulator.grpc_services import HEALTH_REQUEST, HEALTH_RESPONSE

Metadata = tuple[tuple[str, str | bytes], ...]
PATIENCE = 20  # seconds; a test that waits for longer fails


class Client:
    """`channel`: for other methods than these."""

    def __init__(self, channel: aio.Channel, metadata: Metadata = ()) -> None:
        self.channel = channel
        self.metadata = metadata
        echo = {"request": grpc_echo.REQUEST, "reply": grpc_echo.REPLY}
        self._unary = self.method("unary_unary", f"/{grpc_echo.NAME}/Unary", **echo)
        self._server_stream = self.method("unary_stream", f"/{grpc_echo.NAME}/ServerStream", **echo)
        self._client_stream = self.method("stream_unary", f"/{grpc_echo.NAME}/ClientStream", **echo)
        self._bidi_stream = self.method("stream_stream", f"/{grpc_echo.NAME}/BidiStream", **echo)

    def method(self, kind: str, path: str, *, request: Message, reply: Message) -> Any:
        return getattr(self.channel, kind)(
            path,
            request_serializer=lambda values: encode(request, values),
            response_deserializer=lambda octets: decode(reply, octets),
        )

    def _options(self, options: dict[str, Any], more: Metadata) -> dict[str, Any]:
        return {"metadata": (*self.metadata, *more), "timeout": PATIENCE} | options

    def unary(self, values: Mapping[str, Any], *more: tuple[str, str | bytes], **options: Any) -> Any:
        return self._unary(values, **self._options(options, more))

    def server_stream(self, values: Mapping[str, Any], *more: tuple[str, str | bytes], **options: Any) -> Any:
        return self._server_stream(values, **self._options(options, more))

    def client_stream(self, *more: tuple[str, str | bytes], **options: Any) -> Any:
        return self._client_stream(**self._options(options, more))

    def bidi_stream(self, *more: tuple[str, str | bytes], **options: Any) -> Any:
        return self._bidi_stream(**self._options(options, more))

    def health(self, method: str, service: str, **options: Any) -> Any:
        """`method`: Check or Watch."""
        kind = "unary_unary" if method == "Check" else "unary_stream"
        call = self.method(
            kind, f"/grpc.health.v1.Health/{method}", request=HEALTH_REQUEST, reply=HEALTH_RESPONSE
        )
        return call({"service": service}, **self._options(options, ()))


@asynccontextmanager
async def dialled(
    url: str, metadata: Metadata = (), credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[Client]:
    """A channel to an http:// or https:// URL's host."""
    target = url.partition("://")[2].partition("/")[0]
    # One channel's connection is shared with another's to the same target unless it has a pool of its own.
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    channel = (
        aio.secure_channel(target, credentials, options)
        if credentials
        else aio.insecure_channel(target, options)
    )
    async with channel:
        yield Client(channel, metadata)


def invoker(emulator: Emulator, service: str, account: str = "login") -> Metadata:
    return (("authorization", f"Bearer {emulator.mint(account, emulator.urls[service])}"),)
