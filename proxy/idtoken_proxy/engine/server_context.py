"""What all connections from apps share: the settings in force, the deadlines' sweeper, the log, and who is open."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from idtoken_proxy.engine import local_responses
from idtoken_proxy.engine.accept import entry_for
from idtoken_proxy.engine.admission import unlisted
from idtoken_proxy.engine.disconnect_watch import INTERVAL, DisconnectWatch
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.engine.memory_budget import MemoryBudget
from idtoken_proxy.engine.retry import renew_late
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.standing import Standing
from idtoken_proxy.engine.states import EARLY
from idtoken_proxy.engine.stats import NO_ROUTE, Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.traced_exchange import TracedExchange, Tracer
from idtoken_proxy.engine.tunnel import Tunnel
from idtoken_proxy.errors import NotHttp, ProxyError, RequestError
from idtoken_proxy.policy.headers import PSEUDONYM

AccessLog = Callable[[Exchange], None]
MAX_REJECTED: Final = 64  # connections that are being told why they are not taken


class Connection(Protocol):
    """From an app. `uid`: who is at the other end of a unix socket."""

    door: Door
    uid: int | None
    deadline: float

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """Those under way."""

    @property
    def expects_request(self) -> bool:
        """Its first request, or the rest of a head, may be on its way."""

    def close_after_response(self) -> None:
        """The exchange that is under way is its last."""

    def drain(self) -> None:
        """Ends, if it is between requests."""

    def cut(self) -> None:
        """Ends at once."""

    def expire(self) -> None:
        """A sweeper's (sweeper.py)."""

    def hung_up(self) -> None:
        """The app has gone while its reading was held back."""


class ServerContext:
    """A reload replaces the router whole; an exchange keeps its own."""

    def __init__(
        self,
        router: Router,
        sweeper: Sweeper,
        *,
        access_log: AccessLog | None,
        stats: Stats,
    ) -> None:
        self.connections: set[Connection] = set()
        self.rejected: set[Connection] = set()
        self.tunnels: dict[Tunnel, Standing] = {}
        self.beside: list[ServerContext] = []  # of the same process: the listeners before apps
        self.router = router
        self.sweeper = sweeper
        self.stats = stats
        self.access_log = access_log
        self.tracer: Tracer | None = None
        self.draining = False
        self.closed = False  # to new connections
        self.pseudonym = PSEUDONYM + b"-" + secrets.token_hex(4).encode("ascii")
        self.memory = MemoryBudget(self, stats)
        self.disconnect_watch = DisconnectWatch(INTERVAL)
        self.log = structlog.get_logger("idtoken_proxy.engine")
        self._settle(router)

    def adopt(self, router: Router) -> None:
        """The settings of every exchange that begins from now on. Who is not allowed any more has had the last answer with
        the exchange that is under way; a tunnel, which may have no end of its own, and a stream both ways end at once.
        """
        # Of ten thousand routes it takes 30 ms to tell.
        unchanged = bool(self.tunnels) and router.grants_as(self.router)
        self._settle(router)
        for connection in list(self.connections):
            refusal = unlisted(self, connection.uid)
            if refusal is not None:
                connection.close_after_response()
            for exchange in connection.exchanges:
                if exchange.state is EARLY:
                    # Open both ways it is a tunnel by another name, and may have no end either.
                    objection = refusal or self._objection(exchange)
                    if objection is not None:
                        exchange.fail(objection)
        self._end(
            [one for one, standing in self.tunnels.items() if not self.keeps(standing, unchanged=unchanged)]
        )

    def _objection(self, exchange: Exchange) -> ProxyError | None:
        """On the receiving side: who is no invoker any more."""
        request, entry = exchange.request, exchange.entry
        if request is None or entry is None or entry.admission is None:
            return None
        try:
            caller = self.router.guard.admit(request)
            return entry_for(caller, request.target.partition(b"?")[0], self.router).objection(request)
        except RequestError as error:
            return error

    def keeps(self, standing: Standing, *, unchanged: bool) -> bool:
        """Whether a tunnel would be let in today. `unchanged`: it was so under settings that grant the same."""
        downstream = standing.downstream
        return (
            downstream.door.open
            and unlisted(self, downstream.uid) is None
            and (unchanged or standing.holds(self.router))
        )

    def part(self) -> None:
        """With those who came by a listener that is gone."""
        for connection in list(self.connections):
            if not connection.door.open:
                connection.close_after_response()
        self._end([one for one, standing in self.tunnels.items() if not standing.downstream.door.open])

    def _end(self, tunnels: list[Tunnel]) -> None:
        for tunnel in tunnels:
            tunnel.abort()
        if tunnels:
            self.log.info("tunnels ended: the new settings do not allow them", tunnels=len(tunnels))

    def _settle(self, router: Router) -> None:
        settings = router.settings
        self.router = router
        router.sweeper = self.sweeper
        self.max_connections = settings.limits.connections
        self.max_head = settings.limits.header_bytes
        self.header_timeout = settings.timeouts.header
        self.keepalive = settings.timeouts.keepalive
        self.idle = settings.timeouts.idle
        self.allowed_uids = settings.guard.allowed_uids
        self._tell_all()

    def trace(self, tracer: Tracer | None) -> None:
        """Every exchange that begins from now on, or none."""
        self.tracer = tracer
        self._tell_all()

    def _tell_all(self) -> None:
        self.tells_all = self.tracer is not None or self.router.settings.log.access == "all"

    @property
    def busy(self) -> int:
        """Connections and tunnels that are still open."""
        return len(self.connections) + len(self.tunnels)

    def count(self, exchange: Exchange) -> None:
        """One that did not end as it should, or is no exchange any more."""
        self.stats.ended(exchange)
        self.tell(exchange)

    def reject(self, connection: Connection, reason: ProxyError) -> bool:
        """Whether it is told why. A flood is not: each answer costs a descriptor for a while."""
        self.stats.trouble(NO_ROUTE, reason)
        self.log.warning("connection refused", reason=reason.detail)
        if len(self.rejected) >= MAX_REJECTED:
            connection.transport.abort()
            return False
        self.rejected.add(connection)
        connection.transport.write(local_responses.problem(reason, None, head_only=False, closes=True))
        return True

    def forget(self, connection: Connection) -> None:
        """It is gone, or a tunnel's."""
        self.connections.discard(connection)
        self.rejected.discard(connection)
        self.disconnect_watch.unwatch(connection)
        self.sweeper.unwatch(connection)

    def open_tunnel(
        self, app: asyncio.Transport, receiver: asyncio.Transport, exchange: Exchange, standing: Standing
    ) -> Tunnel:
        """For the octets behind the 101 of `exchange`."""
        entry = exchange.entry
        assert entry is not None
        tunnel = Tunnel(
            app,
            receiver,
            sweeper=self.sweeper,
            idle=exchange.timeouts.idle,
            counts=entry.counts,
            on_end=lambda: self.tunnels.__delitem__(tunnel),
            on_idle=lambda: self.stats.hit("tunnel_idle_timeout"),
        )
        self.tunnels[tunnel] = standing
        return tunnel

    def tell_of_no_http(self, error: NotHttp) -> None:
        """Whoever set this up looks into the log: their client says little that helps."""
        self.log.warning("not HTTP/1.1", cause=error.looks_like, reason=error.detail, remedy=error.remedy)

    def tell(self, exchange: Exchange) -> None:
        if exchange.status == 401 and exchange.said:
            renew_late(exchange)
        if self.access_log is not None:
            self.access_log(exchange)
        if isinstance(exchange, TracedExchange):
            exchange.told()

    def active_exchanges(self) -> list[Exchange]:
        """All exchanges that have yet to end, those beside it included. For the admin listener: nothing of it is kept up on
        the way.
        """
        return [
            exchange
            for context in (self, *self.beside)
            for one in list(context.connections)
            for exchange in one.exchanges
        ]

    def drain(self, *, late: bool = True) -> None:
        """Connections between requests end now, the others with their exchange. Unless it is `late`, those that were the
        last to be accepted still have their first request answered: where other processes share the port, or follow, no
        client has to know that this one ends.
        """
        self.draining = True
        self.closed = late
        for connection in list(self.connections):
            if late or not connection.expects_request:
                connection.drain()

    def abort(self) -> None:
        for tunnel in list(self.tunnels):
            tunnel.abort()
        for connection in list(self.connections):
            connection.cut()
        for connection in list(self.rejected):
            connection.transport.abort()
        self.disconnect_watch.close()
