"""When may a request be said once more? Only where its receiver cannot have acted on the first saying."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.states import SENDING, SENT
from idtoken_proxy.errors import BrokenOff, NotProcessed, UpstreamError
from idtoken_proxy.identity.answer import Answer
from idtoken_proxy.identity.token import Token
from idtoken_proxy.policy.headers import is_googles_invalid_token, is_googles_words, is_invalid_token
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.settings.model import Route


class Refused(Protocol):
    """An exchange at its end. `token`: the one that was sent, where it is out of the cache and was not replaced; `said`: the
    beginning of the answer's body; `renews`: the next request is to have another token.
    """

    token: Token | None
    renews: bool

    @property
    def entry(self) -> RouteEntry | None: ...

    @property
    def response(self) -> Response | None: ...

    @property
    def said(self) -> bytes | None: ...


# Requests that change nothing (RFC 9110 section 9.2.1).
_UNAUTHENTICATED: Final = re.compile(rb'"status"\s*:\s*"UNAUTHENTICATED"')
_UNAUTHENTICATED_CALL: Final = b"grpc-status: 16\r\n"
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


def after_no_answer(request: Request) -> bool:
    """The receiver ended the connection without an octet of an answer. It may have closed an idle connection just as it
    was used again (RFC 9112 section 9.3.1), or have acted and died.
    """
    return request.method in _SAFE and can_be_said_again(request)


def after_loss(error: UpstreamError, request: Request, *, state: str, answered: bool, kept: bool) -> bool:
    """`kept`: as much of the request's body as has come is at hand."""
    if isinstance(error, NotProcessed):  # the receiver itself says so (RFC 9113 section 8.7)
        return state in (SENDING, SENT) and not answered and (kept or not request.has_body)
    return state is SENT and isinstance(error, BrokenOff) and not answered and after_no_answer(request)


def is_googles_refusal(response: Response, body: bytes | None, route: Route) -> bool:
    """Google's own 401 for a token that does not verify. An API's, for an access token, has the challenge of RFC 6750
    section 3.1 or the status of Google's error model (https://google.aip.dev/193) in `body`, where that came with the head.
    gRPC has a 200 in place of the 401, and its status in the head where there is nothing else.
    """
    if response.status != 401:
        return response.status == 200 and body == b"" and refuses_in_grpc(response.passing, route)
    if route.scopes is None:
        return any(map(is_googles_invalid_token, response.www_authenticate))
    return any(map(is_invalid_token, response.www_authenticate)) or (
        body is not None and _UNAUTHENTICATED.search(body) is not None
    )


def refuses_in_grpc(lines: Sequence[bytes], route: Route) -> bool:
    """Google's UNAUTHENTICATED of a gRPC call, in its trailers or in a head that has them. Behind an API there is no app; with an
    ID token an app's own looks the same, but for Google's words in it.
    """
    if _UNAUTHENTICATED_CALL not in lines:
        return False
    return route.scopes is not None or any(map(is_googles_words, lines))


def renew_late(exchange: Refused) -> None:
    """At the end of an API's 401 whose body came behind its head: that is out, and the next request is to have another token."""
    token, response, entry = exchange.token, exchange.response, exchange.entry
    if token is None or response is None or entry is None or entry.slot is None:
        return
    body = Answer.of(response.status, response.passing, exchange.said).body
    if is_googles_refusal(response, (body or "").encode(), entry.route):
        exchange.token = None
        exchange.renews = entry.slot.renew(token)


def with_another_token(request: Request, *, kept: bool, acted: bool = False) -> bool:
    """After Google's own 401. The front end says it before the receiver's code has seen anything, so any method will do.
    `kept`: the request's body has come whole and is at hand (kept_body.py). `acted`: there was an interim answer that only
    that code can have given (103), so whose 401 it is nobody can tell.
    """
    return (kept or not request.has_body) and not request.websocket and (not acted or request.method in _SAFE)


def can_be_said_again(request: Request) -> bool:
    """Word for word: what follows an upgrade is no request."""
    return not request.has_body and not request.websocket
