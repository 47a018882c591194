"""Settings made ready for the data path: everything that does not change between requests is made once, here.

A Router is one generation of settings; it is never changed. An exchange keeps the RouteEntry that it began with.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

from idtoken_proxy.engine.http2.fields import never_remember
from idtoken_proxy.engine.kept_body import KeptBodies
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.services import Services
from idtoken_proxy.engine.stats import RouteCounts, Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.timeout_errors import TOKEN_GRACE
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.policy.fronts import Fronts
from idtoken_proxy.policy.guard import Guard
from idtoken_proxy.policy.routes import RouteTable, forward
from idtoken_proxy.policy.services import NamedService, ServicePatterns
from idtoken_proxy.settings.model import Route, Settings
from idtoken_proxy.settings.services import service_route
from idtoken_proxy.turns import Pieces

_MOST_SHOWN = 20
_AT_A_TIME = 64  # routes, before others may have their turn: a millisecond or two


class ServiceParts(NamedTuple):
    """What one service of a project takes: its token's slot and its connections; and what lets go of the slot. `before`: the
    services of the settings before these.
    """

    slot_of: Callable[[Route], TokenSlot | None]
    pool_of: Callable[[Route], Pool]
    forget: Callable[[Route, TokenSlot], None]
    before: Iterable[NamedService] = ()


class Router:
    """`sweeper`: by whose time its exchanges go, given by who serves by it (server_context.py)."""

    sweeper: Sweeper

    def __init__(
        self,
        settings: Settings,
        caller_token: bytes | None,
        bodies: KeptBodies,
        entries: tuple[RouteEntry, ...],
        guard: Guard,
        table: RouteTable[RouteEntry],
        forward_table: RouteTable[RouteEntry],
        services: Services,
    ) -> None:
        """`forward_table`: for requests whose target names a receiver, by its authority, and by their path as it is there.
        `services`: for requests that name a service of a project, in either way.
        """
        self.settings = settings
        self._caller_token = caller_token
        self.bodies = bodies
        self.patience = settings.wait_for_login
        self.token_grace = TOKEN_GRACE + self.patience
        self.entries = entries
        self.guard = guard
        trusted = settings.guard.trusted_proxies
        self.fronts = Fronts(trusted) if trusted else None
        self.cross_origin = bool(settings.guard.allowed_origins)
        self.route_hint = _route_hint(settings)
        self.table = table
        self.forward_table = forward_table
        self.services = services

    @classmethod
    def made(
        cls,
        settings: Settings,
        slots: Mapping[str, TokenSlot],
        pool_of: Callable[[Route], Pool],
        caller_token: bytes | None,
        stats: Stats,
        parts: ServiceParts | None = None,
    ) -> Pieces[Self]:
        """In pieces. `slots`: by route name; a route without one is public. `caller_token`: guard.caller_token_file's
        content. Of `stats` it takes the counts that are there; what it adds is not in `stats` before it is taken.
        """
        counts: dict[str, RouteCounts] = {}  # a route's are one, whichever way a request comes to it
        receivers: Counter[str] = Counter()
        # A receiver has more than one name (localhost beside 127.0.0.1, a service's two run.app URLs), so that routes to
        # what looks like two may lead to one, under other rules.
        rules: set[tuple[object, ...]] = set()
        for number, route in enumerate(settings.routes):
            if number % _AT_A_TIME == 0:
                yield
            receivers[route.upstream.origin] += 1
            rules.add((route.methods, route.identity, route.scopes, route.quota_project))

        @functools.cache
        def entry_of(route: Route) -> RouteEntry:
            return RouteEntry(
                *(route, slots.get(route.name), pool_of(route), counts[route.name], settings.rewrite),
                shared=len(rules) > 1 or receivers[route.upstream.origin] > 1,
            )

        entries: list[RouteEntry] = []
        for number, route in enumerate(settings.routes):
            if number % _AT_A_TIME == 0:
                yield
            counts[route.name] = stats.routes.get(route.name) or RouteCounts()
            entries.append(entry_of(route))
        hosts = {entry.route.host for entry in entries if entry.route.host is not None}
        guard = settings.guard
        secret = None if caller_token is None else (guard.caller_token_header, caller_token)
        if secret is not None:
            never_remember(guard.caller_token_header)
        forwarded: dict[tuple[str, str], Route] = {}
        yield from forward(settings.routes, forwarded)
        doorkeeper = Guard(
            guard.allowed_hosts,
            guard.allowed_origins,
            secret,
            {authority for authority, _ in forwarded},
            hosts,
            unverified_pages=guard.unverified_pages == "allow",
            forwards=settings.forward_proxy,
            services=ServicePatterns(settings.routes),
        )
        # A pattern's own entry leads nowhere: it is there to be counted and shown.
        table = yield from RouteTable.filled(
            (entry.route.host, entry.route.path, entry) for entry in entries if not entry.route.is_pattern
        )
        forward_table = yield from RouteTable.filled(
            (authority, path, entry_of(route))
            for (authority, path), route in forwarded.items()
            if not route.is_pattern
        )
        services = _services(settings, entries, parts)
        return cls(
            settings, caller_token, stats.bodies, tuple(entries), doorkeeper, table, forward_table, services
        )

    def service_pools(self) -> dict[Pool, str]:
        """Of each service that is known, and the origin that it is counted as."""
        origins = {
            entry.route.name: entry.route.upstream.origin for entry in self.entries if entry.route.is_pattern
        }
        return {entry.pool: origins[service.pattern] for service, entry in self.services} if origins else {}

    def grants_as(self, other: Router) -> bool:
        """Whether it cannot refuse what the other let in: the same settings, and the same secret."""
        return self is other or (
            self.settings == other.settings and self._caller_token == other._caller_token
        )


def _services(settings: Settings, entries: Iterable[RouteEntry], parts: ServiceParts | None) -> Services:
    patterns = (
        {entry.route.name: entry for entry in entries if entry.route.is_pattern} if parts is not None else {}
    )

    def begin(service: NamedService) -> RouteEntry:
        assert parts is not None
        pattern = patterns[service.pattern]
        route = service_route(pattern.route, service.label)
        return RouteEntry(
            route, parts.slot_of(route), parts.pool_of(route), pattern.counts, settings.rewrite, shared=False
        )

    def end(entry: RouteEntry) -> None:
        assert parts is not None
        entry.pool.close()
        # A service and its traffic tags have one token.
        if entry.slot is not None and all(other.slot is not entry.slot for _, other in services):
            parts.forget(entry.route, entry.slot)

    services = Services(begin, end, settings.limits.services)
    if parts is not None:
        services.adopt(one for one in parts.before if one.pattern in patterns)
    return services


def _route_hint(settings: Settings) -> str:
    shown = [
        f"{route.host or 'any host'}{route.path} ({route.name})" for route in settings.routes[:_MOST_SHOWN]
    ]
    more = len(settings.routes) - len(shown)
    return "the routes are " + ", ".join(shown) + (f" and {more} more" if more else "")
