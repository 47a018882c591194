"""What all connections from apps share: the settings in force, the deadlines' sweeper, the log, and who is open."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.gateway import Gateway
from idtoken_proxy.engine.hangups import Hangups
from idtoken_proxy.engine.listeners import peer_uid
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.tally import Tally
from idtoken_proxy.engine.tunnel import Tunnel
from idtoken_proxy.policy.headers import PSEUDONYM

AccessLog = Callable[[Exchange], None]


class Front:
    """A reload replaces the gateway whole; an exchange keeps its own. Called, it makes a listener's protocol."""

    def __init__(
        self,
        gateway: Gateway,
        sweeper: Sweeper,
        *,
        access_log: AccessLog | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.connections: set[Downstream] = set()
        self.turned_away: set[Downstream] = set()
        self.adopt(gateway)
        self.sweeper = sweeper
        self.tally = tally or Tally()
        self.access_log = access_log
        self.draining = False
        self.pseudonym = PSEUDONYM + b"-" + secrets.token_hex(4).encode("ascii")
        self.tunnels: set[Tunnel] = set()
        self.hangups = Hangups()
        self.log = structlog.get_logger("idtoken_proxy.engine")

    def adopt(self, gateway: Gateway) -> None:
        """The settings of every exchange that begins from now on."""
        settings = gateway.settings
        self.gateway = gateway
        self.max_connections = settings.limits.connections
        self.max_head = settings.limits.header_bytes
        self.header_timeout = settings.timeouts.header
        self.keepalive = settings.timeouts.keepalive
        self.idle = settings.timeouts.idle
        self.allowed_uids = settings.guard.allowed_uids
        self.logs_all = settings.log.access == "all"

        self._dismiss_unlisted()

    def _dismiss_unlisted(self) -> None:
        """Who is not allowed any more has had the last answer with the exchange that is under way."""
        if self.allowed_uids is not None:
            for connection in list(self.connections):
                uid = peer_uid(connection.transport)
                if uid is not None and uid not in self.allowed_uids:
                    connection.dismiss()

    def __call__(self) -> Downstream:
        return Downstream(self)

    @property
    def busy(self) -> int:
        """Connections and tunnels that are still open."""
        return len(self.connections) + len(self.tunnels)

    def tell(self, exchange: Exchange) -> None:
        if self.access_log is not None:
            self.access_log(exchange)

    def under_way(self) -> list[Exchange]:
        """All exchanges that have yet to end. For the admin listener: nothing of it is kept up on the way."""
        return [one.exchange for one in list(self.connections) if one.exchange is not None]

    def drain(self) -> None:
        """No request is begun any more; connections between requests end now, the others with their exchange."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()

    def abort(self) -> None:
        for tunnel in list(self.tunnels):
            tunnel.abort()
        for connection in list(self.connections):
            connection.cut()
        for connection in list(self.turned_away):
            connection.transport.abort()
        self.hangups.close()
