"""Which receiver a request is for, and whether it is for any: the parts of an exchange's `open`, which has their order."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.route_entry import DEFAULT_ALLOW, RouteEntry
from idtoken_proxy.engine.router import Router
from idtoken_proxy.errors import (
    LoopDetected,
    MalformedRequest,
    MethodNotAllowed,
    NoRoute,
    Refused,
    VersionNotServed,
)
from idtoken_proxy.policy.guard import Caller, Guard
from idtoken_proxy.policy.headers import Outbound, Peer, TokenLines, turn_back
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.policy.target import AMBIGUOUS
from idtoken_proxy.policy.tunnelled import Tunnelled
from idtoken_proxy.settings.model import UpstreamProtocol

_NO_ROUTE_S: Final = frozenset({b"CONNECT", b"TRACE"})
_CONNECT_IS: Final = "methods differ by their letters' case: CONNECT"  # RFC 9110 section 9.1
_WITHOUT_TUNNEL: Final = "send the requests themselves to the proxy's own address, or CONNECT by HTTP/1.1"
_TRACE_SHOWS: Final = "its answer would show the token: use another method"  # RFC 9110 section 9.3.8
USUAL: Final = frozenset(method.encode() for method in DEFAULT_ALLOW)


class Accepted:
    """A request that goes to a receiver. `target`: what that is asked for. Not changed once it is made."""

    __slots__ = ("caller", "entry", "request", "target")

    def __init__(self, request: Request, entry: RouteEntry, caller: Caller, target: bytes) -> None:
        self.request = request
        self.entry = entry
        self.caller = caller
        self.target = target

    def unexpecting(self) -> Accepted:
        """The same, of an app that has had its 100."""
        return self.saying(self.request.unexpecting())

    def saying(self, request: Request) -> Accepted:
        """The same, with `request` in its request's place."""
        return Accepted(request, self.entry, self.caller, self.target)


def is_no_routes(method: bytes) -> bool:
    """Whether the method is one that no route can take, in any case of letters. No need to ask it of USUAL ones."""
    return method.upper() in _NO_ROUTE_S


def admit_connect(request: Request, guard: Guard, port: int | None) -> Tunnelled:
    """A CONNECT to a receiver of ours, whose requests come within. Raises RequestError. Whoever is refused may have sent
    some of the tunnel's octets already, which are no requests to the proxy: the connection closes.
    """
    if request.method != b"CONNECT":
        raise MethodNotAllowed(
            f"{request.method.decode()} is not served",
            allow=DEFAULT_ALLOW,
            closes=True,
            remedy=_CONNECT_IS if request.method.upper() == b"CONNECT" else _TRACE_SHOWS,
        )
    try:
        authority = guard.admit_tunnel(request, port)
    except Refused as error:
        if error.reason == "host":
            raise MethodNotAllowed(
                f"CONNECT is not served here: {error.detail}",
                allow=DEFAULT_ALLOW,
                closes=True,
                remedy=error.remedy,
            ) from None
        error.closes = True
        raise
    if (
        request.http2
    ):  # which tells streams of its own apart, and carries what is in a tunnel no better than without one
        raise MethodNotAllowed(
            "CONNECT is not served over HTTP/2", allow=DEFAULT_ALLOW, remedy=_WITHOUT_TUNNEL
        )
    if request.chunked or request.content_length:
        raise MalformedRequest("a CONNECT has no body", remedy="send what is for the tunnel after the 200")
    return Tunnelled(authority)


def entry_for(caller: Caller, path: bytes, router: Router) -> RouteEntry:
    """Raises NoRoute, and TooManyServices."""
    if caller.service is not None:
        return router.services.entry(caller.service)
    if caller.upstream is None:
        entry = router.table.match(caller.name, path)
    else:
        entry = router.forward_table.match(caller.upstream, path)
    if entry is None:
        raise NoRoute("no route matches this host and path", remedy=router.route_hint)
    return entry


def accepted_on(
    entry: RouteEntry, request: Request, caller: Caller, path: bytes, router: Router, peer: Peer
) -> Accepted:
    """`path`: the target's, without its query. Raises MalformedRequest, MethodNotAllowed and LoopDetected."""
    if entry.shared:
        table, host = router.table, caller.name
        if caller.upstream is not None:
            table, host = router.forward_table, caller.upstream
        if table.ambiguous_with_other_route(host, path, entry):
            # What a route may do (its methods, its identity) is no rule if another spelling of its path gets around it.
            raise MalformedRequest("the receiver may read this path as another route's", remedy=AMBIGUOUS)
    if not entry.allows(request.method) and not request.preflight:
        raise MethodNotAllowed(
            f'route "{entry.route.name}" does not take {request.method.decode()}', allow=entry.allow
        )
    if request.grpc and entry.route.protocol is UpstreamProtocol.HTTP1:
        raise VersionNotServed(
            f'route "{entry.route.name}" speaks HTTP/1.1, which carries no gRPC',
            remedy="take protocol: http1 out of the route",
        )
    mapped = entry.path_map.map(request.target, path)
    if request.via and peer.was_passed(request.via):
        raise LoopDetected(
            "the request has passed through this proxy already",
            remedy=f'{entry.route.upstream}, the upstream of route "{entry.route.name}", leads back here, perhaps through '
            "another route or proxy: let it name the receiver",
        )
    return Accepted(request, entry, caller, mapped)


def turned_back(response: Response, accepted: Accepted, *, cross_origin: bool) -> Response:
    """As the app is to have it. `cross_origin`: pages of other origins may read some answers."""
    if not response.addressed and not cross_origin:
        return response
    mine = response.own()
    turn_back(mine, accepted.request, accepted.caller, accepted.entry.rewriter, cross_origin=cross_origin)
    return mine


def outbound_of(accepted: Accepted, peer: Peer, token: TokenLines) -> Outbound:
    """What goes upstream for it, with this token."""
    request, entry = accepted.request, accepted.entry
    if not request.repeats:
        return Outbound(
            request, accepted.target, entry.first_lines, accepted.caller, peer, token, entry.rewriter
        )
    known: Outbound | None = request.outbound
    if known is not None and known.token is token and known.first_lines is entry.first_lines:
        return known
    made = Outbound(request, accepted.target, entry.first_lines, accepted.caller, peer, token, entry.rewriter)
    request.outbound = made
    return made
