"""What Google refuses, explained: in the log once for each route and cause, with what mends it; counted each time."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Final, Protocol, TypeVar

import structlog

from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.identity import grpc_error
from idtoken_proxy.identity.answer import MARKS, SPEAKS_OF, Answer
from idtoken_proxy.identity.diagnosis import Diagnosis, diagnose
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.settings.model import kind_of

_SIGN_IN: Final = 302  # IAP's refusal of a browser
_LOOKED_AT: Final = SPEAKS_OF | {_SIGN_IN}
# Where an unread answer is worth a word: whether an app has its own pages for any other status, nobody can tell.
_OF_CREDENTIALS: Final = frozenset({401, 403, _SIGN_IN})
_OF_AN_API: Final = (b'"reason"', b"UniqueIdentifier", b"<Code>")


class Refused(Protocol):
    """An exchange at its end. `response`: the receiver's last final head; `said`: the beginning of its body, or the lines of a
    gRPC status that refuses (grpc_refusal.py); `renews`: Google refused its token, and the next request is to have another.
    """

    @property
    def status(self) -> int: ...

    @property
    def error(self) -> ProxyError | None: ...

    @property
    def entry(self) -> RouteEntry | None: ...

    @property
    def request(self) -> Request | None: ...

    @property
    def response(self) -> Response | None: ...

    @property
    def said(self) -> bytes | None: ...

    @property
    def renews(self) -> bool: ...

    @property
    def path(self) -> bytes: ...


Ended = TypeVar("Ended", bound=Refused)


def explain_once(
    then: Callable[[Ended], None] | None, stats: Stats, wall: Callable[[], float] = time
) -> Callable[[Ended], None]:
    """An access log that explains, and then writes what `then` writes. Any other status costs one look at it."""
    log = structlog.get_logger("idtoken_proxy.engine")
    explained: set[tuple[str, int, str]] = set()

    def write(exchange: Ended) -> None:
        if exchange.error is None and (exchange.status in _LOOKED_AT or _refused_in_grpc(exchange)):
            explain(exchange)
        if then is not None:
            then(exchange)

    def explain(exchange: Ended) -> None:
        found = explanation(exchange, wall)
        entry = exchange.entry
        if found is None or entry is None:
            return
        token = None if entry.slot is None else entry.slot.current()
        status = answered(exchange)[0]
        stats.refused_upstream(entry.route.name, status, found)
        key = (entry.route.name, status, found.cause)
        wanted = entry.route.wanted
        if key in explained:
            return
        explained.add(key)
        log.warning(
            "refused by Google",
            route=entry.route.name,
            status=status,
            **{kind_of(wanted): None if wanted is None else str(wanted)},
            identity=entry.slot.status().source if entry.slot else "none",
            email=token.email if token else None,
            cause=found.cause,
            detail=found.detail,
            remedy=found.remedy,
        )

    return write


def explanation(exchange: Refused, wall: Callable[[], float] = time) -> Diagnosis | None:
    """None where it is not Google's refusal, or where nobody can tell."""
    entry, response, request = exchange.entry, exchange.response, exchange.request
    if (
        entry is None
        or entry.admission is not None  # whose answers are the app's own
        or response is None
        or request is None
        or not (_refused_in_grpc(exchange) or _is_looked_at(response, entry, exchange.said))
    ):
        return None
    status, body = answered(exchange)
    token = None
    if entry.slot is not None:
        token = entry.slot.current()
        if token is None:
            return None  # dropped meanwhile; the next refusal will tell
    said = None if request.method == b"HEAD" else body
    answer = Answer.of(status, response.passing, said)
    found = diagnose(entry.route, token, answer, wall(), exchange.path.decode("latin-1"))
    if found is None or not (found.sure or status in _OF_CREDENTIALS or said is not None):
        return None
    return _until_renewed(found) if exchange.renews else found


def answered(exchange: Refused) -> tuple[int, bytes | None]:
    """(status, beginning of the body) of the refusal; of a gRPC call's, as the same API has them over HTTP."""
    said = exchange.said
    if said is not None and _refused_in_grpc(exchange):
        told = grpc_error.in_http(said.splitlines())
        if told is not None:
            return told
    return exchange.status, said


def _refused_in_grpc(exchange: Refused) -> bool:
    return exchange.status == 200 and exchange.said is not None


def _until_renewed(found: Diagnosis) -> Diagnosis:
    """A token that was good for hours may be refused for its age, or its key's: no audience is wrong then. Only the next
    answer tells.
    """
    return Diagnosis(
        "token_renewed",
        "the token that was at hand is refused, and another one is being fetched; if that is refused too: "
        + found.detail,
        f"Send the request once more. If it is refused again: {found.remedy}",
        found.sure,
    )


def _is_looked_at(response: Response, entry: RouteEntry, said: bytes | None) -> bool:
    return response.status in _LOOKED_AT and (_asks_who(response, entry) or _may_be_googles(response, said))


def _asks_who(response: Response, entry: RouteEntry) -> bool:
    """What an API says of its caller is never the app's own."""
    return entry.route.scopes is not None and response.status in _OF_CREDENTIALS


def _may_be_googles(response: Response, said: bytes | None) -> bool:
    """Most answers of 400 and up are an app's own, and are not looked at more closely than this."""
    if response.status == 401 and response.www_authenticate:
        return True
    head = b"".join(response.passing).lower()
    if b"x-goog-iap" in head or b"accounts.google.com" in head:
        return True
    marks = _OF_AN_API if b"json" in head or b"xml" in head else MARKS
    if said and b"content-encoding" not in head:
        return any(mark in said for mark in marks)
    return b"google frontend" in head or b"text/html" in head
