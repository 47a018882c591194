"""The listeners before apps, as one proxy's: opened together, exchanged by a reload, drained and closed with it.

Each has a Front of its own, and with it its limits: a crowd at one takes nothing from another, nor from the forward path.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from idtoken_proxy.engine.accepted_tls import AcceptedTls
from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.listeners import Door, Listeners, Prepared
from idtoken_proxy.engine.server_context import AccessLog, ServerContext
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.receive.composition import Reception, lines_today
from idtoken_proxy.settings.model import Address, UnixAddress


class InboundListener:
    """One address. `tls`: of connections that come from now on; None for plain text."""

    def __init__(
        self, reception: Reception, sweeper: Sweeper, stats: Stats, access_log: AccessLog | None
    ) -> None:
        self.reception = reception
        self.tls: ssl.SSLContext | None = reception.tls
        self.context = ServerContext(reception.router, sweeper, access_log=access_log, stats=stats)
        self.listeners = Listeners(self._accepted)

    @property
    def address(self) -> Address:
        return self.reception.inbound.listen

    @property
    def bound(self) -> tuple[Address, ...]:
        return self.listeners.bound

    def status(self) -> dict[str, Any]:
        """JSON-ready; how many may call is in it, and not who. `invokers`: None for everybody. `name`: the way's to the app among
        the routes, where its traffic is.
        """
        reception = self.reception
        inbound, counts = reception.inbound, self.context.stats.receipts(reception.inbound.name)
        return {
            "name": inbound.name,
            "listen": [str(address) for address in self.bound],
            "tls": self.tls is not None,
            "upstream": str(inbound.upstream),
            "audiences": inbound.audiences,
            "issuers": [keys.status() for keys in reception.key_sets],
            "rules": [
                {"path": rule.path, "invokers": None if rule.invokers is None else len(rule.invokers)}
                for rule in inbound.rules
            ],
            "admitted": counts.admitted,
            "public": counts.public,
            "refused": counts.refused,
            "verified": len(reception.judge.verified),
            "connections": self.context.busy,
        }

    def adopt(self, reception: Reception) -> None:
        self.reception.judge.today = functools.partial(lines_today, reception)
        changed = (self.tls is None) is not (reception.tls is None)
        self.reception, self.tls = reception, reception.tls
        self.context.adopt(reception.router)
        if changed:  # what came in plain text is not to go on so, nor the other way
            for connection in list(self.context.connections):
                connection.close_after_response()

    def _accepted(self, door: Door) -> asyncio.Protocol:
        if self.tls is None:
            return Downstream(self.context, door)
        return AcceptedTls(self.tls, self.context, door)


@dataclass
class PreparedInbound:
    """`wanted`: what is to be open, each with what it will serve, and what binds it where it is new."""

    wanted: list[tuple[InboundListener, Reception, Prepared | None]] = field(default_factory=list)

    async def discard(self) -> None:
        for _, _, prepared in self.wanted:
            if prepared is not None:
                await prepared.discard()


class InboundListeners:
    """`access_log`: of all of them; a reload may exchange it."""

    def __init__(self, sweeper: Sweeper, stats: Stats, access_log: AccessLog | None) -> None:
        self._sweeper = sweeper
        self._stats = stats
        self._access_log = access_log
        self._open: list[InboundListener] = []
        self._leaving: list[InboundListener] = []  # not asked for any more, with what is still under way

    def __iter__(self) -> Iterator[InboundListener]:
        return iter(self._open)

    @property
    def fronts(self) -> list[ServerContext]:
        return [one.context for one in (*self._open, *self._leaving)]

    async def prepare(self, receptions: Iterable[Reception], *, reuse_port: bool) -> PreparedInbound:
        """Binds what is not open yet, and takes no connection there. Raises ListenFailed, with nothing changed."""
        made = PreparedInbound()
        left = list(self._open)
        try:
            for reception in receptions:
                there = next((one for one in left if one.address == reception.inbound.listen), None)
                if there is not None:
                    left.remove(there)
                    await there.listeners.prepare(
                        [there.address], reuse_port=reuse_port
                    )  # whether it can stay
                    made.wanted.append((there, reception, None))
                    continue
                fresh = InboundListener(reception, self._sweeper, self._stats, self._access_log)
                prepared = await fresh.listeners.prepare([fresh.address], reuse_port=reuse_port)
                made.wanted.append((fresh, reception, prepared))
        except BaseException:
            await made.discard()
            raise
        return made

    async def adopt(self, prepared: PreparedInbound, access_log: AccessLog | None, *, shared: bool) -> None:
        """`shared`: whether others than the own user may open the unix sockets."""
        self._access_log = access_log
        wanted = [one for one, _, _ in prepared.wanted]
        left = [one for one in self._open if one not in wanted]
        self._open = wanted
        for one, reception, fresh in prepared.wanted:
            one.context.access_log = access_log
            if not shared and isinstance(one.address, UnixAddress):
                await one.listeners.share(shared=False)
            if fresh is None:
                one.adopt(reception)
            else:
                await one.listeners.adopt(fresh)
            if shared:
                await one.listeners.share(shared=True)
        for one in left:
            await one.listeners.listen(())
            one.context.part()
        self._leaving = [one for one in (*self._leaving, *left) if one.context.busy]

    async def close(self) -> None:
        """To new connections."""
        for one in self._open:
            await one.listeners.close()

    def abort(self) -> None:
        for context in self.fronts:
            context.abort()
