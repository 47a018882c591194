"""One coarse timer for all deadlines of the process: to set one is to set a float.

Time here is running time: what passes between two sweeps counts for at most a few sweeps' length. A process that was
frozen (Cloud Run takes the CPU away between requests) or suspended wakes with its deadlines where they were, instead
of cutting off every exchange that had survived the freeze.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from idtoken_proxy.settings.model import Timeouts

NEVER: Final = float("inf")


class Watched(Protocol):
    deadline: float

    def expire(self) -> None:
        """Called once `deadline` has passed; sets another, or leaves."""


class Group(Protocol):
    def watched(self) -> Iterable[Watched]:
        """Those that it has at the moment."""


class Sweeper:
    """`now`: seconds of running time as of the last sweep, so that a deadline reckoned from it is met at most one
    `interval` early or late.
    """

    def __init__(self, interval: float, clock: Callable[[], float] | None = None) -> None:
        self.interval = interval
        self.now = 0.0
        self._watched: set[Watched] = set()
        self._groups: set[Group] = set()
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._swept_at = self._clock()
        self._handle: asyncio.TimerHandle | None = None

    @staticmethod
    def interval_for(timeouts: list[Timeouts]) -> float:
        """A tenth of the shortest timeout, between 20 ms and half a second."""
        shortest = min(min(t.connect, t.response, t.idle, t.header, t.keepalive, t.drain) for t in timeouts)
        return min(0.5, max(0.02, shortest / 10))

    @property
    def watched(self) -> int:
        """How many deadlines there are, those that are never included."""
        return len(self._watched) + sum(1 for group in self._groups for _ in group.watched())

    @property
    def next_sweep(self) -> float | None:
        """When it is due, by the loop's clock; None while there is nothing to watch."""
        return None if self._handle is None else self._handle.when()

    def watch(self, one: Watched) -> None:
        self._watched.add(one)
        if self._handle is None:  # nothing to watch, nothing to wake up for
            self._swept_at = self._clock()
            self._handle = self._loop.call_later(self.interval, self.sweep)

    def unwatch(self, one: Watched) -> None:
        self._watched.discard(one)

    def watch_all(self, group: Group) -> None:
        """What comes and goes by the thousand is looked for where it is kept anyway. `group` is watched itself, too."""
        self._groups.add(group)

    def unwatch_all(self, group: Group) -> None:
        self._groups.discard(group)

    def sweep(self) -> None:
        """In its turn, which comes by itself, or before it."""
        if self._handle is not None:
            self._handle.cancel()
        time = self._clock()
        self.now = now = self.now + min(time - self._swept_at, 4 * self.interval)
        self._swept_at = time
        due = [one for one in self._watched if one.deadline <= now]
        of_groups = [one for group in self._groups for one in group.watched() if one.deadline <= now]
        for number, one in enumerate([*due, *of_groups]):
            # One before it may have seen to this one, too.
            if one.deadline > now or (number < len(due) and one not in self._watched):
                continue
            try:
                one.expire()
            except Exception as error:  # noqa: BLE001 -- a bug in one must not stop the deadlines of all
                self._watched.discard(one)
                self._loop.call_exception_handler(
                    {"message": "a deadline's handler failed", "exception": error}
                )
        self._handle = self._loop.call_later(self.interval, self.sweep) if self._watched else None

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._watched.clear()
        self._groups.clear()
