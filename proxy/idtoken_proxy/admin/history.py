"""The last minutes' traffic, for whoever opens the status page after the incident. Counters are read once in EVERY
seconds; a request costs nothing more than it did.

A point holds counts so far, as /api/status does, so that rates and quantiles are differences of two: of all routes
together, and of those routes that had traffic since the point before, the busiest of them where they are many. Where one
begins to have traffic, the point before it has the counts that it began with.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from time import time
from typing import Any, Final

from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import BOUNDS, NO_ROUTE, RouteCounts

EVERY: Final = 6.0  # seconds
KEPT: Final = 61  # points: six minutes
MOST_ROUTES: Final = 100  # at a point; all of it is 1.5 MB at most

_WIDTH: Final = 3 + len(BOUNDS) + 1
_NOTHING: Final = array("Q", [0] * _WIDTH)


@dataclass(frozen=True, slots=True)
class Point:
    """`at`: Unix seconds. Numbers: requests, failures, in flight, and how many took how long, by stats.BOUNDS."""

    at: float
    whole: array[int]
    routes: dict[str, array[int]]


class History:
    def __init__(self, context: Callable[[], ServerContext], wall: Callable[[], float] = time) -> None:
        self._context = context
        self._wall = wall
        self._points: deque[Point] = deque(maxlen=KEPT)
        self._last: dict[str, array[int]] = {}  # of each route that ever had traffic, at the last point

    async def keep(self, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        """Until it is cancelled."""
        while True:
            self.look()
            await sleep(EVERY)

    def look(self) -> None:
        """On the event loop, where counters do not change meanwhile. A thousand routes with traffic take a millisecond."""
        context = self._context()
        stats = context.stats
        in_flight: dict[str, int] = {}
        for exchange in context.active_exchanges():
            name = NO_ROUTE if exchange.entry is None else exchange.entry.route.name
            in_flight[name] = in_flight.get(name, 0) + 1
        whole = [0] * _WIDTH
        last: dict[str, array[int]] = {}
        changed: list[tuple[int, str]] = []
        for name, counts in (*stats.routes.items(), (NO_ROUTE, stats.unrouted)):
            flight = in_flight.get(name, 0) + counts.tunnels
            if not flight and not any(counts.classes):
                continue
            last[name] = numbers = array("Q", _numbers(counts, flight))
            whole = list(map(int.__add__, whole, numbers))
            before = self._last.get(name, _NOTHING)
            if numbers != before and name != NO_ROUTE:
                changed.append((numbers[0] - before[0], name))
        routes = {name: last[name] for _, name in nlargest(MOST_ROUTES, changed)}
        if self._points:
            for name in routes:
                self._points[-1].routes.setdefault(name, self._last.get(name, _NOTHING))
        self._last = last
        self._points.append(Point(self._wall(), array("Q", whole), routes))

    def report(self) -> dict[str, Any]:
        """What /api/history tells, the oldest first."""
        return {
            "started_at": self._context().stats.started_at,
            "every": EVERY,
            "bounds": BOUNDS,
            "points": [
                {
                    "at": point.at,
                    "whole": point.whole.tolist(),
                    "routes": {name: numbers.tolist() for name, numbers in point.routes.items()},
                }
                for point in self._points
            ],
        }


def _numbers(counts: RouteCounts, flight: int) -> list[int]:
    return [sum(counts.classes), counts.classes[5] + counts.abandoned, flight, *counts.buckets]
