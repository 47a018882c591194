"""What the cache tells those who watch it: one FetchEvent a fetch. Never the token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import structlog

from idtoken_proxy.errors import TokenError
from idtoken_proxy.settings.model import Wanted, asked_for, kind_of

_log = structlog.get_logger("idtoken_proxy.identity")


@dataclass(frozen=True, slots=True)
class FetchEvent:
    """`error` None: it went well. `changed`: the token is another than the one before."""

    source: str  # the source's name: `metadata`
    described: str  # `metadata server, account default`
    wanted: Wanted
    seconds: float  # how long the fetch took
    changed: bool = False
    email: str | None = None
    bearer: str | None = None  # whose the token is: an email, or a subject where it has none
    expires_in: float | None = None  # by the wall clock, where it went well
    error: TokenError | None = None
    next_in: float = 0.0  # seconds to the next fetch
    still_valid: bool = False  # a failed refresh left a token that is still good
    counted_as: str = ""  # in metrics, where the audience is one that a caller may choose
    slot: object = field(default=None, repr=False, compare=False)  # whose token it is

    @property
    def asked_for(self) -> str:
        """For a metric's label."""
        return asked_for(self.wanted)

    @property
    def cause(self) -> str | None:
        """The error's slug, for a metric's label."""
        return self.error.cause if self.error else None


class Observer(Protocol):
    """Called on the event loop; must neither block nor raise."""

    def __call__(self, event: FetchEvent, /) -> None: ...


def log_event(event: FetchEvent) -> None:
    log = _log.bind(source=event.described, seconds=round(event.seconds, 3))
    log = log.bind(**{kind_of(event.wanted): asked_for(event.wanted)})
    if event.error is not None:
        log.warning(
            "token fetch failed",
            cause=event.error.cause,
            detail=event.error.detail,
            remedy=event.error.remedy,
            log_detail=event.error.log_detail,
            retry_in=round(event.next_in, 1),
            still_valid=event.still_valid,
        )
    elif event.changed:
        whose = {"email": event.email} if event.email or not event.bearer else {"subject": event.bearer}
        log.info("token fetched", **whose, expires_in=round(event.expires_in or 0))
    else:
        log.debug("token unchanged", expires_in=round(event.expires_in or 0))
