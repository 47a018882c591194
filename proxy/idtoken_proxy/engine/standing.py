"""What a tunnel was let in by. It outlives the settings that it was opened under, so that a reload judges it again."""

from __future__ import annotations

from typing import Protocol

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.streams import RequestSide
from idtoken_proxy.errors import RequestError


class Bringer(RequestSide, Protocol):
    """The connection from the app. `uid`: who is at the other end of a unix socket."""

    door: Door
    uid: int | None


class Standing:
    """The head that opened it, as it came, and the connection that brought it."""

    __slots__ = ("_block", "_downstream", "_way")

    def __init__(self, downstream: Bringer, block: bytes, exchange: Exchange) -> None:
        self._downstream = downstream
        self._block = block
        self._way = _way(exchange)

    @property
    def downstream(self) -> Bringer:
        return self._downstream

    def holds(self, router: Router) -> bool:
        """Whether the same request would be let through under these settings, to the same place, by the same way and as
        the same identity.
        """
        again = Exchange(self._downstream, router, 0)
        try:
            request = parse_request(self._block)
            again.open(request)
        except RequestError:
            return False
        entry = again.entry
        return _way(again) == self._way and (entry is None or entry.objection(request) is None)


def _way(exchange: Exchange) -> tuple[object, ...]:
    entry = exchange.entry
    assert entry is not None
    route = entry.route
    trusted = exchange.router.settings.ca_file if route.upstream.scheme == "https" else None
    return (
        route.upstream.origin,
        exchange.path,
        route.identity,
        route.wanted,
        route.quota_project,
        route.egress_proxy,
        trusted,
    )
