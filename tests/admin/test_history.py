from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace
from typing import Any, cast

from idtoken_proxy.admin.history import EVERY, KEPT, MOST_ROUTES, History
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import BOUNDS, NO_ROUTE, Stats
from tests.cases import for_each

NOW = 1_800_000_000.0


class Stage:
    """A history of statistics that this test counts in, and the exchanges that are under way."""

    def __init__(self) -> None:
        self.stats = Stats(wall=lambda: NOW)
        self.active_exchanges: list[Any] = []
        self.now = NOW
        context = SimpleNamespace(stats=self.stats, active_exchanges=lambda: self.active_exchanges)
        self.history = History(lambda: cast("ServerContext", context), wall=lambda: self.now)

    def serve(self, route: str, requests: int = 1, digit: int = 2, bucket: int = 0) -> None:
        counts = self.stats.unrouted if route == NO_ROUTE else self.stats.route(route)
        counts.classes[digit] += requests
        counts.buckets[bucket] += requests

    def look(self) -> None:
        self.history.look()
        self.now += EVERY

    def points(self) -> list[Any]:
        told = json.loads(json.dumps(self.history.report()))
        assert (told["every"], told["started_at"], told["bounds"]) == (EVERY, NOW, list(BOUNDS))
        return cast("list[Any]", told["points"])


def test_counts_so_far_at_each_point() -> None:
    stage = Stage()
    stage.look()
    stage.serve("a", 3)
    stage.serve("b", 1, digit=5, bucket=4)
    stage.serve(NO_ROUTE, 2, digit=4)
    stage.stats.route("b").abandoned += 1
    stage.look()
    stage.look()
    empty, busy, idle = stage.points()
    assert [point["at"] for point in (empty, busy, idle)] == [NOW, NOW + EVERY, NOW + 2 * EVERY]
    assert empty["whole"] == [0] * (3 + len(BOUNDS) + 1)
    assert busy["whole"][:3] == idle["whole"][:3] == [6, 2, 0]
    assert busy["whole"][3] == 5
    assert busy["whole"][3 + 4] == 1
    assert busy["routes"]["a"][:4] == [3, 0, 0, 3]
    assert busy["routes"]["b"][:3] == [1, 2, 0]
    assert set(busy["routes"]) == {"a", "b"}
    assert idle["routes"] == {}


def test_where_traffic_begins_the_point_before_has_what_it_began_with() -> None:
    stage = Stage()
    stage.serve("a", 5)
    for _ in range(KEPT + 3):
        stage.look()
    stage.serve("a", 2)
    stage.look()
    *_, before, last = stage.points()
    assert (before["routes"]["a"][0], last["routes"]["a"][0]) == (5, 7)


def test_what_is_under_way() -> None:
    stage = Stage()
    entry = SimpleNamespace(route=SimpleNamespace(name="a"))
    stage.active_exchanges = [
        SimpleNamespace(entry=entry),
        SimpleNamespace(entry=entry),
        SimpleNamespace(entry=None),
    ]
    stage.stats.route("a").tunnels = 1
    stage.look()
    [point] = stage.points()
    assert (point["whole"][2], point["routes"]["a"][2]) == (4, 3)


def test_it_is_bounded_in_time_and_in_routes() -> None:
    stage = Stage()
    for step in range(KEPT + 10):
        for number in range(MOST_ROUTES + 50):
            stage.serve(f"route-{number}", number + 1)
        stage.look()
        if step in (0, KEPT - 1, KEPT):  # to read all of them takes long
            assert len(stage.points()) == min(step + 1, KEPT)
    assert len(stage.points()) == KEPT
    for point in stage.points():
        assert len(point["routes"]) == MOST_ROUTES
        assert "route-149" in point["routes"]  # the busiest
        assert "route-0" not in point["routes"]


def test_a_route_that_is_gone_is_forgotten() -> None:
    stage = Stage()
    stage.serve("a")
    stage.look()
    stage.stats.retain((), (), ())
    stage.look()
    assert stage.points()[-1]["routes"] == {}
    stage.serve("a")  # as often as the one that is gone, and not for that the same
    stage.look()
    gone, again = (point["routes"]["a"][:4] for point in stage.points()[-2:])
    assert (gone, again) == ([0, 0, 0, 0], [1, 0, 0, 1])


async def test_it_looks_once_in_a_while() -> None:
    stage = Stage()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await stage.history.keep(sleep)
    assert slept == [EVERY] * 3
    assert len(stage.points()) == 3


@for_each("requests", [2**40, 2**63])
def test_counts_may_be_large(requests: int) -> None:
    stage = Stage()
    stage.serve("a", requests)
    stage.look()
    assert stage.points()[0]["whole"][0] == requests
