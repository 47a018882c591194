"""One port for HTTP/1.1 and HTTP/2: the first octets of a connection tell which it speaks, with TLS before it or without.

Who speaks HTTP/2 begins with `PRI * HTTP/2.0` (RFC 9113 section 3.4), which is no request of HTTP/1.1 that anybody sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import Final, cast

from aiohttp import web

from idtoken_proxy.emulator.http2_front import Handle, Http2Front
from idtoken_proxy.engine.http2.frames import PREFACE

SHUTDOWN: Final = 0.2  # seconds; an open stream has no end of its own, so it is not waited for longer
_BACKLOG: Final = 128


class Doors:
    """Where one private service listens. `http2`: makes the protocol of a connection that speaks it; None: HTTP/1.1 alone."""

    def __init__(self, handle: Handle, http2: Callable[[], Http2Front] | None) -> None:
        # The low-level server hands over every method and every target as it came.
        # A caller who hangs up ends what the container does for him, as on Cloud Run.
        self._http1 = web.Server(handle, access_log=None, auto_decompress=False, handler_cancellation=True)
        self._make_http2 = http2
        self._http2: set[Http2Front] = set()
        self._undecided: set[FirstOctets] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int, tls: SSLContext | None = None) -> int:
        """The port that it is bound to. OSError where it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._first_octets, host, port, ssl=tls, backlog=_BACKLOG)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)  # who has been accepted is served
        for undecided in self._undecided:
            undecided.close()
        self._http1.pre_shutdown()
        fronts = tuple(self._http2)
        await asyncio.gather(self._http1.shutdown(SHUTDOWN), *(front.shutdown(SHUTDOWN) for front in fronts))

    def go_away(self) -> None:
        """Every connection that speaks HTTP/2 is told GOAWAY, in two steps; what is under way ends in order."""
        for front in tuple(self._http2):
            front.drain()

    def _first_octets(self) -> asyncio.Protocol:
        if self._make_http2 is None:
            return self._http1()
        first = FirstOctets(self._chosen, self._undecided.discard)
        self._undecided.add(first)
        return first

    def _chosen(self, *, http2: bool) -> asyncio.Protocol:
        if not http2 or self._make_http2 is None:
            return self._http1()
        front = self._make_http2()
        self._http2.add(front)
        front.on_lost = lambda: self._http2.discard(front)
        return front


class FirstOctets(asyncio.Protocol):
    """Until it is known what a connection speaks. `ended`: it is known, or nobody will know."""

    def __init__(self, chosen: Callable[..., asyncio.Protocol], ended: Callable[[FirstOctets], None]) -> None:
        self._chosen = chosen
        self._ended = ended
        self._begun = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        begun = self._begun = self._begun + data
        http2 = begun.startswith(PREFACE)
        if not http2 and PREFACE.startswith(begun):
            return
        transport = self._transport
        assert transport is not None
        protocol = self._chosen(http2=http2)
        self._ended(self)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(begun)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
