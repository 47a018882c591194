"""A route made ready for the data path: what does not change between its requests is made once, here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import structlog

from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.stats import RouteCounts
from idtoken_proxy.engine.streams import AnswerSide
from idtoken_proxy.errors import KeysUnavailable, ProxyError
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.identity.token import AccessToken, Token
from idtoken_proxy.policy.headers import NO_TOKEN, TokenLines, TokenPlace, first_lines_of
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.policy.target import PathMap
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.audience import takes_access_tokens
from idtoken_proxy.settings.model import Rewrite, Route, TokenHeader, UpstreamProtocol

DEFAULT_ALLOW: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

log: Final = structlog.get_logger("idtoken_proxy.engine")


class Connections(Protocol):
    """To one origin, in one version of HTTP."""

    def take(self) -> AnswerSide | None:
        """One that is there; None where there is none."""

    async def connect(self, *, fresh: bool) -> AnswerSide:
        """Raises UpstreamError."""


class Admission(Protocol):
    """Of an entry on the receiving side (receive/): what it forwards has come with a token, which is checked; none is added."""

    def lines_for(self, request: Request) -> TokenLines | Coroutine[Any, Any, TokenLines]:
        """What goes on in place of the token, and tells the app who calls; to be awaited where its issuer has to be asked
        for keys first. Either way it raises RequestError and KeysUnavailable.
        """


def lines_of(route: Route, token: Token, place: TokenPlace | None = None) -> TokenLines:
    """`place`: the route's, where that is at hand."""
    charged = route.quota_project
    if charged is None and isinstance(token, AccessToken):
        charged = token.quota_project
    return (place or TokenPlace.of(route)).lines(token.value, charged)


class RouteEntry:
    """A route, ready to be driven on: its path map, host line, token slot and the pool of its upstream's origin."""

    __slots__ = (
        "_auto",
        "_downwards",
        "_lines",
        "_place",
        "_token",
        "_told",
        "_upwards",
        "admission",
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
        admission: Admission | None = None,
    ) -> None:
        self.route = route
        self.admission = admission  # on the receiving side alone, where there is no slot
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

    def warn_authorization_replaced(self) -> None:
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

    def go_without_slot(
        self,
        request: Request,
        then: Callable[[TokenLines], None],
        wait: Callable[[Coroutine[Any, Any, TokenLines]], None],
        fail: Callable[[ProxyError], None],
    ) -> None:
        """On a public route; or on the receiving side. Calls one of the three."""
        lines: TokenLines | Coroutine[Any, Any, TokenLines] = NO_TOKEN
        if self.admission is not None:
            try:
                lines = self.admission.lines_for(request)
            except ProxyError as error:
                fail(error)
                return
        if isinstance(lines, TokenLines):
            then(lines)
        else:
            wait(lines)

    def objection(self, request: Request) -> ProxyError | None:
        """Why a request that was let in would not be now: on the receiving side, where its caller is no invoker any more, or
        cannot be told to be one at once.
        """
        found: list[ProxyError] = []
        cannot_be_told = KeysUnavailable("the token's issuer has to be asked for its keys first")
        self.go_without_slot(
            request, _nothing, lambda wait: found.append(_given_up(wait, cannot_be_told)), found.append
        )
        return found[0] if found else None

    def token_lines(self, token: Token) -> TokenLines:
        if token is not self._token:
            self._lines = lines_of(self.route, token, self._place)
            self._token = token
        return self._lines


def _nothing(_lines: TokenLines) -> None:
    pass


def _given_up(wait: Coroutine[Any, Any, TokenLines], error: ProxyError) -> ProxyError:
    wait.close()
    return error
