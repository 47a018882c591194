"""Settings made ready for the data path: everything that does not change between requests is made once, here.

A Gateway is one generation of settings; it is never changed. An exchange keeps the Lane that it began with.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, Self

import structlog

from idtoken_proxy.engine.http2.fields import never_remember
from idtoken_proxy.engine.kept_body import KeptBodies
from idtoken_proxy.engine.overdue import TOKEN_GRACE
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.streams import AnswerSide
from idtoken_proxy.engine.tally import RouteCounts, Tally
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.identity.token import AccessToken, Token
from idtoken_proxy.policy.fronts import Fronts
from idtoken_proxy.policy.guard import Guard
from idtoken_proxy.policy.headers import NO_TOKEN, TokenLines, TokenPlace, first_lines_of
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.policy.routes import RouteTable, forward
from idtoken_proxy.policy.target import PathMap
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.audience import takes_access_tokens
from idtoken_proxy.settings.model import Rewrite, Route, Settings, TokenHeader, UpstreamProtocol
from idtoken_proxy.turns import Pieces

DEFAULT_ALLOW = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_MOST_SHOWN = 20
_AT_A_TIME = 64  # routes, before others may have their turn: a millisecond or two

log = structlog.get_logger("idtoken_proxy.engine")


class Connections(Protocol):
    """To one origin, in one version of HTTP."""

    def take(self) -> AnswerSide | None:
        """One that is there; None where there is none."""

    async def connect(self, *, fresh: bool) -> AnswerSide:
        """Raises UpstreamError."""


def lines_of(route: Route, token: Token, place: TokenPlace | None = None) -> TokenLines:
    """`place`: the route's, where that is at hand."""
    charged = route.quota_project
    if charged is None and isinstance(token, AccessToken):
        charged = token.quota_project
    return (place or TokenPlace.of(route)).lines(token.value, charged)


class Lane:
    """A route, ready to be driven on: its path map, host line, token slot and the pool of its upstream's origin."""

    __slots__ = (
        "_auto",
        "_downwards",
        "_lines",
        "_place",
        "_token",
        "_told",
        "_upwards",
        "allow",
        "counts",
        "first_lines",
        "foreign",
        "methods",
        "path_map",
        "pool",
        "rewriter",
        "route",
        "shared",
        "slot",
    )

    def __init__(
        self,
        route: Route,
        slot: TokenSlot | None,
        pool: Pool,
        counts: RouteCounts,
        rewrite: Rewrite,
        *,
        shared: bool,
    ) -> None:
        self.route = route
        self.shared = shared  # its receiver may be another route's too, whose paths are not for this one
        self.counts = counts
        self.slot = slot
        self.pool = pool
        self.path_map = PathMap(route.path, route.upstream.base_path, strip_prefix=route.strip_prefix)
        self._upwards = route.protocol is UpstreamProtocol.HTTP2
        self._auto = route.protocol is UpstreamProtocol.AUTO
        self._downwards = route.protocol is UpstreamProtocol.HTTP1
        self.rewriter = Rewriter(route, rewrite)
        self.first_lines = first_lines_of(route)
        # A host that the configuration states besides Google's: whether its code or its front end refuses an access token,
        # nobody can tell.
        host = route.upstream.host
        self.foreign = route.scopes is not None and not (takes_access_tokens(host) or is_loopback(host))
        self.methods = None if route.methods is None else frozenset(m.encode() for m in route.methods)
        self.allow = DEFAULT_ALLOW if route.methods is None else tuple(sorted(route.methods))
        self._place = TokenPlace.of(route)
        self._token: Token | None = None
        self._lines = NO_TOKEN
        # There it is what was asked for.
        self._told = self.route.token_header is not TokenHeader.AUTO or self.route.scopes is not None

    def pool_for(self, request: Request) -> Connections:
        """A WebSocket stays on HTTP/1.1 (RFC 8441 is not spoken)."""
        if request.http2:
            return self.pool if self.goes_downwards(request) else self.pool.http2
        return self.pool.http2 if self._upwards and not request.websocket else self.pool

    def goes_downwards(self, request: Request) -> bool:
        """By HTTP/1.1, of an app that speaks HTTP/2."""
        return self._downwards or (self._auto and not request.grpc and self.pool.http2.unspoken)

    def may_go_downwards(self, request: Request) -> bool:
        """To a receiver of HTTP/1.1 alone, where the app speaks HTTP/2."""
        return self._auto and request.http2 and not request.grpc

    def allows(self, method: bytes) -> bool:
        return self.methods is None or method in self.methods

    def tell_of_replacement(self) -> None:
        """Once: the app's Authorization gives way, in a header that 1st-generation functions alone need. To an access token
        it always does, and that is what apps with a dummy in it are for.
        """
        if not self._told:
            self._told = True
            log.warning(
                "the app's own Authorization is replaced by the token",
                route=self.route.name,
                remedy="if the receiver is a 2nd-generation function, say token_header: X-Serverless-Authorization, "
                "and the app's passes",
            )

    def token_lines(self, token: Token) -> TokenLines:
        if token is not self._token:
            self._lines = lines_of(self.route, token, self._place)
            self._token = token
        return self._lines


class Gateway:
    def __init__(
        self,
        settings: Settings,
        caller_token: bytes | None,
        bodies: KeptBodies,
        lanes: tuple[Lane, ...],
        guard: Guard,
        table: RouteTable[Lane],
        forward_table: RouteTable[Lane],
    ) -> None:
        """`forward_table`: for requests whose target names a receiver, by its authority, and by their path as it is there."""
        self.settings = settings
        self._caller_token = caller_token
        self.bodies = bodies
        self.patience = settings.wait_for_login
        self.token_grace = TOKEN_GRACE + self.patience
        self.lanes = lanes
        self.guard = guard
        trusted = settings.guard.trusted_proxies
        self.fronts = Fronts(trusted) if trusted else None
        self.cross_origin = bool(settings.guard.allowed_origins)
        self.directions = _directions(settings)
        self.table = table
        self.forward_table = forward_table

    @classmethod
    def made(
        cls,
        settings: Settings,
        slots: Mapping[str, TokenSlot],
        pool_of: Callable[[Route], Pool],
        caller_token: bytes | None,
        tally: Tally,
    ) -> Pieces[Self]:
        """In pieces. `slots`: by route name; a route without one is public. `caller_token`: guard.caller_token_file's
        content. Of `tally` it takes the counts that are there; what it adds is not in it before it is taken.
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
        def lane_of(route: Route) -> Lane:
            return Lane(
                *(route, slots.get(route.name), pool_of(route), counts[route.name], settings.rewrite),
                shared=len(rules) > 1 or receivers[route.upstream.origin] > 1,
            )

        lanes: list[Lane] = []
        for number, route in enumerate(settings.routes):
            if number % _AT_A_TIME == 0:
                yield
            counts[route.name] = tally.routes.get(route.name) or RouteCounts()
            lanes.append(lane_of(route))
        hosts = {lane.route.host for lane in lanes if lane.route.host is not None}
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
        )
        table = yield from RouteTable.filled((lane.route.host, lane.route.path, lane) for lane in lanes)
        forward_table = yield from RouteTable.filled(
            (authority, path, lane_of(route)) for (authority, path), route in forwarded.items()
        )
        return cls(settings, caller_token, tally.bodies, tuple(lanes), doorkeeper, table, forward_table)

    def grants_as(self, other: Gateway) -> bool:
        """Whether it cannot refuse what the other let in: the same settings, and the same secret."""
        return self is other or (
            self.settings == other.settings and self._caller_token == other._caller_token
        )


def _directions(settings: Settings) -> str:
    shown = [
        f"{route.host or 'any host'}{route.path} ({route.name})" for route in settings.routes[:_MOST_SHOWN]
    ]
    more = len(settings.routes) - len(shown)
    return "the routes are " + ", ".join(shown) + (f" and {more} more" if more else "")
