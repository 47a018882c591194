"""The services that requests have named, where a route stands for all of a project: at most so many, the least recently
named goes, and new ones come a few a second.

Google mints a token for any audience, so a made-up name costs a fetch like any other. Whoever makes up names can neither keep
the token source busy nor have tokens of ours pile up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Final

from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.errors import TooManyServices
from idtoken_proxy.policy.services import NamedService

A_SECOND: Final = 4.0  # new services, and as many at once after a second without any


class Services:
    """`begin` makes a service's entry ready, `end` lets go of one that nobody is to begin with any more. `most`: at one time.
    `clock`: seconds.
    """

    __slots__ = ("_allowance", "_at", "_begin", "_clock", "_end", "_entries", "_most")

    def __init__(
        self,
        begin: Callable[[NamedService], RouteEntry],
        end: Callable[[RouteEntry], None],
        most: int,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._begin = begin
        self._end = end
        self._most = most
        self._clock = clock
        self._entries: dict[NamedService, RouteEntry] = {}  # the least recently named first
        self._allowance = A_SECOND
        self._at = clock()

    def __iter__(self) -> Iterator[tuple[NamedService, RouteEntry]]:
        return iter(tuple(self._entries.items()))

    def entry(self, service: NamedService) -> RouteEntry:
        """Raises TooManyServices for one that is new, where too many have been so."""
        entry = self._entries.pop(service, None)
        if entry is None:
            self._spend(service)
            entry = self._begin(service)
        self._entries[service] = entry
        if len(self._entries) > self._most:
            self._end(self._entries.pop(next(iter(self._entries))))
        return entry

    def adopt(self, known: Iterable[NamedService]) -> None:
        """Of the settings before these: their names are not new."""
        for service in list(known)[-self._most :]:
            self._entries[service] = self._begin(service)

    def close(self) -> None:
        """Idle connections go; tokens are the cache's to keep."""
        for entry in self._entries.values():
            entry.pool.close()

    def _spend(self, service: NamedService) -> None:
        now = self._clock()
        self._allowance = min(A_SECOND, self._allowance + (now - self._at) * A_SECOND)
        self._at = now
        if self._allowance < 1:
            raise TooManyServices(
                f'"{service.label}" is one of too many services that were named for the first time within a second',
                remedy=f"try again in a second; route {service.pattern} takes {A_SECOND:g} new ones in each",
                limit="services",
            )
        self._allowance -= 1
