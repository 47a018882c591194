"""How a connection to a receiver comes about: name, TCP, the egress proxy's tunnel, TLS. What is spoken on it is its caller's."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import aiohappyeyeballs

from idtoken_proxy.engine.connect import open_tunnel
from idtoken_proxy.engine.connect_errors import beyond, egress_hop, mute, receiver
from idtoken_proxy.engine.stats import UpstreamCounts
from idtoken_proxy.engine.tls import HTTP1, TlsTransport
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.model import EgressProxy, Upstream

# Connections that are coming about at one time. Many receivers' accept queues hold 100 or 128: what a burst sends
# beyond that is dropped and said again after a second or more. Those who wait for their turn often need none any more.
MAX_CONNECTING: Final = 64
_NEXT_ADDRESS_AFTER: Final = 0.25  # seconds, RFC 8305 section 5


# As socket.getaddrinfo has it.
AddressInfo: TypeAlias = tuple[Any, Any, int, str, tuple[Any, ...]]


Made = TypeVar("Made", bound=asyncio.Protocol)


class Dialer:
    """`tls`: None for http. `egress`: what connections lead through, always with TLS inside. `on_step`: TCP, and each step behind
    it but the last (the egress proxy's tunnel, TLS), is behind us.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        tls: ssl.SSLContext | None,
        connect: float,
        egress: EgressProxy | None,
        counts: UpstreamCounts,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        if egress is not None and tls is None:
            raise ValueError("without TLS the egress proxy would see the ID tokens")
        self.upstream = upstream
        self.counts = counts
        self._tls = tls
        self._egress = egress
        self._first = receiver(upstream) if egress is None else egress_hop(egress, upstream)
        self._connect_timeout = connect
        self._on_step = on_step
        self._gate = asyncio.Semaphore(MAX_CONNECTING)

    async def dial(
        self,
        make: Callable[[], Made],
        *,
        unmade: Callable[[Made], None],
        ready_made: Callable[[], Made | None] = lambda: None,
        until: Callable[[Made], Awaitable[None]] | None = None,
        tls: ssl.SSLContext | None = None,
        alpn: tuple[str | None, ...] = HTTP1,
    ) -> Made:
        """A connection, TLS included, and what is spoken on it; `unmade` of one that did not come about after all. `ready_made`: asked when its turn has come, for one that makes a fresh one needless.
        `until`: what else has to happen before it may be used, within the same time. Raises ConnectFailed, TlsFailed,
        UpstreamTimeout.
        """
        hop = self._first
        self.counts.connecting += 1
        try:
            async with asyncio.timeout(self._connect_timeout), self._gate:
                made = ready_made()
                if made is not None:
                    return made
                sock = await self._connected_socket()
                if self._egress is not None:
                    self._on_step()
                    await self._tunnel(sock, self._egress)
                    hop = beyond(self._egress, self.upstream)
                made = make()
                tls = tls or self._tls
                self._on_step()
                await self._wrap(sock, made, tls, alpn, unmade)
                if until is not None:
                    if tls is not None:
                        self._on_step()
                    hop = mute(hop)
                    await self._ready(made, until(made), unmade)
                return made
        except TimeoutError:
            raise hop.late(self._connect_timeout) from None
        except OSError as error:
            raise hop.failed(error) from None
        finally:
            self.counts.connecting -= 1

    async def _connected_socket(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        # The egress proxy's is the one name to be resolved here: a network that demands it may know no other.
        at = self._egress or self.upstream
        # "Name resolution APIs and libraries SHOULD recognize localhost names as special and SHOULD always return the IP
        # loopback address" (RFC 6761 section 6.3): not all do, and in clear text the token would go where DNS says.
        host = "localhost" if at.host.endswith(".localhost") else at.host
        found = await self._look_up(host, at.port)
        if self._tls is None:
            found = [one for one in found if is_loopback(str(one[4][0]))]
            if not found:
                said = f"{host} is no loopback address here, and without TLS the token goes to none else"
                raise OSError(errno.EADDRNOTAVAIL, said)
        return await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1, loop=loop
        )

    async def _look_up(self, host: str, port: int) -> list[AddressInfo]:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)

    async def _ready(self, made: Made, awaited: Awaitable[None], unmade: Callable[[Made], None]) -> None:
        try:
            await awaited
        except BaseException:
            unmade(made)  # nobody else knows of it
            raise

    async def _tunnel(self, sock: socket.socket, egress: EgressProxy) -> None:
        try:
            await open_tunnel(sock, egress, self.upstream)
        except BaseException:
            sock.close()
            raise

    async def _wrap(
        self,
        sock: socket.socket,
        connection: Made,
        tls: ssl.SSLContext | None,
        alpn: tuple[str | None, ...],
        unmade: Callable[[Made], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        outer: asyncio.Protocol = connection
        if tls is not None:
            outer = TlsTransport(tls, self.upstream.host, connection, alpn)
        try:
            await loop.create_connection(lambda: outer, sock=sock)
            if isinstance(outer, TlsTransport):
                await outer.ready
        except BaseException:
            # Cancelled just as it came about, it would live on without an owner.
            made = getattr(outer, "transport", None)
            if made is not None:
                made.abort()
            else:
                sock.close()
            unmade(connection)  # uvloop tells nobody of the end of what it was cancelled in making
            raise
