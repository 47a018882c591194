"""TLS of a connection that was accepted: the handshake has a deadline and counts as a connection, as its app does afterwards."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, cast

from idtoken_proxy.engine.admission import admission_error
from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import NO_ROUTE
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.engine.tls import TlsTransport

ALPN: Final = (None, "http/1.1", "h2")


class AcceptedTls(TlsTransport):
    """A Connection of the front (server_context.py) as long as the handshake lasts. HTTP/2 is told by its preface and not by ALPN, as on
    a plain connection: whoever chose it says it.
    """

    def __init__(self, tls_context: ssl.SSLContext, context: ServerContext, door: Door) -> None:
        super().__init__(tls_context, None, _Entrance(context, door, self), ALPN)
        self.context = context
        self.door = door
        self.uid: int | None = None
        self.deadline = NEVER
        self.exchanges: tuple[Exchange, ...] = ()
        self.expects_request = True
        self.ready.add_done_callback(_heard)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        context = self.context
        reason = admission_error(context, None, self.door)
        if reason is not None:  # which cannot be said before the handshake, and that is what costs
            context.stats.connections += 1
            context.stats.trouble(NO_ROUTE, reason)
            cast("asyncio.Transport", transport).abort()
            self.transport = cast("asyncio.Transport", transport)
            return
        context.connections.add(self)
        context.sweeper.watch(self)
        self.deadline = context.sweeper.now + context.header_timeout
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.context.forget(self)
        super().connection_lost(exc)

    def close_after_response(self) -> None:
        self.abort()

    def drain(self) -> None:
        self.abort()

    def cut(self) -> None:
        self.abort()

    def expire(self) -> None:
        self.context.stats.hit("header_timeout")
        self.abort()

    def hung_up(self) -> None:
        self.abort()


class _Entrance(asyncio.Protocol):
    """What hears that the handshake is over, and gives way to the app's connection."""

    def __init__(self, context: ServerContext, door: Door, tls: AcceptedTls) -> None:
        self._context = context
        self._door = door
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = self._tls
        tls.deadline = NEVER
        self._context.forget(tls)
        app = Downstream(self._context, self._door)
        tls.set_protocol(app)
        app.connection_made(transport)


def _heard(ready: asyncio.Future[None]) -> None:
    """Nobody waits for it, and why a stranger's handshake failed is nobody's trouble."""
    if not ready.cancelled():
        ready.exception()
