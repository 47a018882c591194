"""The outbound head, and the way back. Strip first, attach last, into a fresh head.

The order is what keeps a client from taking the token off again by naming its header in `Connection` (Go
CVE-2021-33197, httpd CVE-2022-31813, Traefik CVE-2024-45410, Pingora CVE-2026-105299): by the time the token's
line is written there is nothing left to strip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from idtoken_proxy.policy import cors
from idtoken_proxy.policy.fields import ACCESS_CONTROL, API_KEY
from idtoken_proxy.policy.guard import Caller
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.settings.identities import NoIdentity, SignedJwtIdentity
from idtoken_proxy.settings.model import Route, TokenHeader

PSEUDONYM: Final = b"idtoken-proxy"
IAP_AUDIENCE_SUFFIX: Final = ".apps.googleusercontent.com"


@dataclass(frozen=True, slots=True)
class TokenLines:
    """Header lines of one token, made once for its life: `alone` where the app brings no Authorization that
    passes, `beside` where it does.
    """

    alone: bytes = field(repr=False)
    beside: bytes = field(repr=False)
    keeps_authorization: bool  # whether `beside` leaves the app's own Authorization in place
    is_access: bool = False  # an access token's, beside which no other credential of the app's passes
    charged: bytes = b""  # likewise, the line that names the project to charge, unless the app names one


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a route's token goes; decided once for each route."""

    alone: tuple[str, ...]
    beside: tuple[str, ...]
    keeps_authorization: bool
    is_access: bool = False

    @classmethod
    def of(cls, route: Route) -> TokenPlace:
        if isinstance(route.identity, NoIdentity):
            return cls((), (), keeps_authorization=True)
        if route.scopes is not None:
            mine = (TokenHeader.AUTHORIZATION.value,)
            return cls(mine, mine, keeps_authorization=False, is_access=True)
        header = route.token_header
        if header is not TokenHeader.AUTO:
            mine = (header.value,)
            return cls(mine, mine, keeps_authorization=header is not TokenHeader.AUTHORIZATION)
        alone = ("Authorization",)
        if (route.audience or "").endswith(IAP_AUDIENCE_SUFFIX) or isinstance(
            route.identity, SignedJwtIdentity
        ):
            return cls(alone, ("Proxy-Authorization",), keeps_authorization=True)
        if route.upstream.host.endswith(".cloudfunctions.net"):
            # A 1st-generation function reads Authorization alone, a 2nd-generation one prefers the other.
            return cls(alone, ("X-Serverless-Authorization", "Authorization"), keeps_authorization=False)
        return cls(alone, ("X-Serverless-Authorization",), keeps_authorization=True)

    def lines(self, token: str, quota_project: str | None = None) -> TokenLines:
        charged = (
            b"" if quota_project is None else f"X-Goog-User-Project: {quota_project}\r\n".encode("ascii")
        )
        return TokenLines(
            b"".join(f"{name}: Bearer {token}\r\n".encode("ascii") for name in self.alone),
            b"".join(f"{name}: Bearer {token}\r\n".encode("ascii") for name in self.beside),
            self.keeps_authorization,
            self.is_access,
            charged,
        )


NO_TOKEN: Final = TokenLines(b"", b"", keeps_authorization=True)


@dataclass(frozen=True, slots=True)
class Peer:
    """The lines that tell of the app's connection, made once for each connection."""

    address: str | None  # None: a unix socket
    lines: bytes
    pseudonym: bytes  # this proxy's in Via

    @classmethod
    def of(cls, address: str | None, pseudonym: bytes = PSEUDONYM, version: bytes = b"1.1") -> Peer:
        via = b"Via: " + version + b" " + pseudonym + b"\r\n"
        return cls(address, _forwarded_for((), address) + b"X-Forwarded-Proto: http\r\n" + via, pseudonym)

    def was_passed(self, via: tuple[bytes, ...]) -> bool:
        """Whether a request with these Via values has come through this very proxy before: each process has a pseudonym of
        its own (RFC 9110 section 7.6.3), so that one may stand behind another.
        """
        hops = (hop.split() for value in via for hop in value.split(b","))
        return any(len(hop) > 1 and hop[1] == self.pseudonym for hop in hops)


def _forwarded_for(earlier: tuple[bytes, ...], address: str | None) -> bytes:
    hops = [*filter(None, earlier), *([address.encode("ascii")] if address else [])]
    return b"X-Forwarded-For: " + b", ".join(hops) + b"\r\n" if hops else b""


# RFC 9110 section 8.6: a request without content says so where its method gives content a meaning; Google's front end
# answers 411 otherwise. Where the method expects none (GET, HEAD, DELETE, OPTIONS) the field SHOULD NOT be sent, and of
# methods that are not known here only their own definition says it: those go as they came.
EXPECTS_CONTENT: Final = frozenset({b"POST", b"PUT", b"PATCH"})
_NO_CONTENT: Final = b"Content-Length: 0\r\n"
_EXPECT: Final = b"Expect: 100-continue\r\n"


def first_lines_of(route: Route) -> bytes:
    """What every request of the route begins with. RFC 9110 section 7.2: Cloud Run picks the service by Host. Where the
    prefix is not in the path any more, an app that knows the name (Django's WSGI servers, Spring, Traefik's and ASP.NET's
    middleware) builds its URLs with it.
    """
    lines = f"Host: {route.upstream.authority}\r\n".encode("ascii")
    if route.strip_prefix and route.path != "/":
        lines += b"X-Forwarded-Prefix: " + route.path.encode() + b"\r\n"
    return lines


class Outbound:
    """What goes upstream for `request`, in whatever version of HTTP: `first_lines` are Host, and what else is the route's.
    Not changed once it is made.
    """

    __slots__ = ("caller", "first_lines", "peer", "request", "rewriter", "target", "token")

    def __init__(
        self,
        request: Request,
        target: bytes,
        first_lines: bytes,
        caller: Caller,
        peer: Peer,
        token: TokenLines,
        rewriter: Rewriter,
    ) -> None:
        self.request = request
        self.target = target
        self.first_lines = first_lines
        self.caller = caller
        self.peer = peer
        self.token = token
        self.rewriter = rewriter


def outbound_head(outbound: Outbound) -> bytes:
    """The head that goes upstream over HTTP/1.1."""
    request = outbound.request
    parts = [request.method, b" ", outbound.target, b" HTTP/1.1\r\n", outbound.first_lines, *request.passing]
    if request.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif request.content_length is not None:
        parts.append(b"Content-Length: %d\r\n" % request.content_length)
    elif request.method in EXPECTS_CONTENT:
        parts.append(_NO_CONTENT)
    if request.expect_continue:
        parts.append(_EXPECT)
    if request.websocket:
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    elif request.te_trailers:
        parts.append(b"Connection: TE\r\nTE: trailers\r\n")
    _attach(parts, request, outbound.caller, outbound.peer, outbound.token, outbound.rewriter)
    parts.append(b"\r\n")
    return b"".join(parts)


def outbound_lines(outbound: Outbound) -> list[bytes]:
    """The same field by field, without the request line and what frames a message of HTTP/1.1; each is one field line or
    several. The token's is the last.
    """
    request = outbound.request
    parts = [outbound.first_lines, *request.passing]
    if request.expect_continue:
        parts.append(_EXPECT)
    if request.te_trailers:
        parts.append(b"TE: trailers\r\n")
    _attach(parts, request, outbound.caller, outbound.peer, outbound.token, outbound.rewriter)
    return parts


def _attach(
    parts: list[bytes], request: Request, caller: Caller, peer: Peer, token: TokenLines, rewriter: Rewriter
) -> None:
    """`request.passing`, which is in `parts`, has been stripped of everything hop-by-hop, of every token header and of what
    `Connection` names. The proxy's own follow, and the token last.
    """
    forwarded_host = caller.forwarded_host
    if request.origin is not None:
        # `null` is what the app sees of its own form without a proxy, too.
        passes = request.listed or request.origin == b"null"
        own = None if passes else rewriter.origin_line
        parts.append(own or b"Origin: " + request.origin + b"\r\n")
        if own is not None:
            # One story: many a CSRF check compares Origin with X-Forwarded-Host, and with Host where that is not there.
            forwarded_host = b""
    if request.referers:
        _rewrite_referers(parts, request, caller, rewriter)
    if request.fetch_site is not None or request.fetch_mode is not None or request.fetch_dest is not None:
        parts.extend(_fetch_metadata(request))
    if request.forwarded_for or request.via or request.http10 or request.over_tls:
        parts.extend(_hops(request, peer))
    else:
        parts.append(peer.lines)
    parts.append(forwarded_host)
    if token.is_access:
        _give_way(parts, request, token.charged)
    authorization = request.authorization
    if authorization:
        # More than one is no credential that a receiver could read; none passes.
        if token.keeps_authorization and len(authorization) == 1:
            parts.append(authorization[0])
        parts.append(token.beside)
    else:
        parts.append(token.alone)


def _give_way(parts: list[bytes], request: Request, charged: bytes) -> None:
    """To an access token, the app's API key: SDKs demand one of some kind, so that apps send a dummy, and Google's APIs refuse
    what has two credentials. The project to charge is the app's to say first.
    """
    for each in request.to_google:
        if each.wire not in parts:  # where `Connection` names it
            continue
        if each.kind == API_KEY:
            parts.remove(each.wire)
        else:
            charged = b""
    if charged:
        parts.append(charged)


def _rewrite_referers(parts: list[bytes], request: Request, caller: Caller, rewriter: Rewriter) -> None:
    for each in request.referers:
        if each.wire in parts:  # not where `Connection` names it
            parts[parts.index(each.wire)] = rewriter.referer(each.wire, each.value, caller)


def _hops(request: Request, peer: Peer) -> list[bytes]:
    """RFC 9110 section 7.6.3: Via tells the version that was received, and adds to what is there."""
    mine = (b"1.0 " if request.http10 else b"2 " if request.http2 else b"1.1 ") + peer.pseudonym
    return [
        _forwarded_for(request.forwarded_for, peer.address),
        b"X-Forwarded-Proto: https\r\n" if request.over_tls else b"X-Forwarded-Proto: http\r\n",
        b"Via: " + b", ".join((*filter(None, request.via), mine)) + b"\r\n",
    ]


def _fetch_metadata(request: Request) -> list[bytes]:
    named = (
        (b"Sec-Fetch-Site: ", request.fetch_site),
        (b"Sec-Fetch-Mode: ", request.fetch_mode),
        (b"Sec-Fetch-Dest: ", request.fetch_dest),
    )
    return [name + value + b"\r\n" for name, value in named if value is not None]


def turn_back(
    response: Response, request: Request, caller: Caller, rewriter: Rewriter, *, cross_origin: bool
) -> None:
    """Makes what the receiver says of its own address the proxy's, and what it says of other origins too: whose pages
    may read an answer is for the proxy alone to say. `cross_origin`: there are listed ones.
    """
    lines = response.passing
    for each in response.addressed:
        at = lines.index(each.wire)
        if each.kind != ACCESS_CONTROL:
            lines[at] = rewriter.back(each, caller, request.target)
        elif request.listed:
            del lines[at]
    if response.status < 200:
        return
    if request.listed:
        lines.append(cors.answer_lines(request, lines))
    elif cross_origin:
        lines.append(cors.VARY)


def inbound_head(response: Response, framing: bytes, connection: bytes, body: bytes = b"") -> bytes:
    """The head that goes back to the app: the receiver's fields less the hop-by-hop ones, framed afresh. `body`: what
    follows at once.
    """
    return b"".join((response.status_line, *response.passing, framing, connection, b"\r\n", body))


_INVALID_TOKEN: Final = re.compile(rb'bearer\b.*\berror="?invalid_token\b', re.IGNORECASE | re.DOTALL)
_GOOGLES_WORDS: Final = b"the access token could not be verified"


def is_invalid_token(challenge: bytes) -> bool:
    """Whether a WWW-Authenticate value says that the token is expired, for another audience, or none (RFC 6750
    section 3.1).
    """
    return _INVALID_TOKEN.match(challenge) is not None


def is_googles_invalid_token(challenge: bytes) -> bool:
    """Whether it is Google who says so (https://cloud.google.com/run/docs/troubleshooting#401), and not the app behind,
    of a token of its own.
    """
    return is_invalid_token(challenge) and is_googles_words(challenge)


def is_googles_words(said: bytes) -> bool:
    """Of a challenge, or of a gRPC call's `grpc-message`."""
    return _GOOGLES_WORDS in said.lower()
