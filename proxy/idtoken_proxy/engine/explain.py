"""Google's own 401 or 403, explained in the log: once for each route and status, with what mends it."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Protocol, TypeVar

import structlog

from idtoken_proxy.engine.gateway import Lane
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.identity.answer import Answer
from idtoken_proxy.identity.diagnosis import diagnose
from idtoken_proxy.policy.request import Response

_REFUSALS = frozenset({401, 403})


class Refused(Protocol):
    """An exchange at its end. `response`: the receiver's last final head."""

    @property
    def status(self) -> int: ...

    @property
    def error(self) -> ProxyError | None: ...

    @property
    def lane(self) -> Lane | None: ...

    @property
    def response(self) -> Response | None: ...


Ended = TypeVar("Ended", bound=Refused)


def explain_once(
    then: Callable[[Ended], None] | None, wall: Callable[[], float] = time
) -> Callable[[Ended], None]:
    """An access log that explains, and then writes what `then` writes. Any other status costs one look at it."""
    log = structlog.get_logger("idtoken_proxy.engine")
    explained: set[tuple[str, int]] = set()

    def write(exchange: Ended) -> None:
        if exchange.status in _REFUSALS and exchange.error is None:
            explain(exchange)
        if then is not None:
            then(exchange)

    def explain(exchange: Ended) -> None:
        lane, response = exchange.lane, exchange.response
        if lane is None or response is None or (lane.route.name, exchange.status) in explained:
            return
        token = None
        if lane.slot is not None:
            token = lane.slot.current()
            if token is None:
                return  # dropped meanwhile; the next refusal will tell
        answer = Answer.of(response.status, response.passing)
        found = diagnose(lane.route, token, answer, wall())
        if found is None:
            return
        explained.add((lane.route.name, exchange.status))
        log.warning(
            "refused by Google",
            route=lane.route.name,
            status=exchange.status,
            audience=lane.route.audience,
            identity=lane.slot.status().source if lane.slot else "none",
            email=token.email if token else None,
            cause=found.cause,
            detail=found.detail,
            remedy=found.remedy,
        )

    return write
