from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from idtoken_proxy.engine.sweeper import NEVER, Sweeper
from idtoken_proxy.settings.model import Timeouts
from tests.cases import for_each

INTERVAL = 10.0  # seconds: the loop's own timer never comes in these tests; they sweep by hand


class Clock:
    def __init__(self) -> None:
        self.time = 5000.0

    def __call__(self) -> float:
        return self.time


class Deadline:
    """Something that is watched; `then` is what it does when it expires."""

    def __init__(self, deadline: float, then: Callable[[Deadline], None] | None = None) -> None:
        self.deadline = deadline
        self.expired = 0
        self._then = then

    def expire(self) -> None:
        self.expired += 1
        if self._then is None:
            self.deadline = NEVER
        else:
            self._then(self)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sweeper(clock: Clock) -> AsyncIterator[Sweeper]:
    sweeper = Sweeper(INTERVAL, clock)
    yield sweeper
    sweeper.close()


def pass_time(sweeper: Sweeper, clock: Clock, seconds: float) -> None:
    clock.time += seconds
    assert sweeper.next_sweep is not None
    sweeper.sweep()


async def test_a_deadline_is_met_when_it_is_reached_and_not_before(sweeper: Sweeper, clock: Clock) -> None:
    one = Deadline(sweeper.now + 20)
    sweeper.watch(one)
    pass_time(sweeper, clock, 19.5)
    assert one.expired == 0
    pass_time(sweeper, clock, 0.5)
    assert (one.expired, sweeper.now) == (1, 20)
    pass_time(sweeper, clock, 30)
    assert one.expired == 1


async def test_a_deadline_that_was_put_off_is_met_later(sweeper: Sweeper, clock: Clock) -> None:
    one = Deadline(10)
    sweeper.watch(one)
    one.deadline = 25
    pass_time(sweeper, clock, 15)
    assert one.expired == 0
    pass_time(sweeper, clock, 10)
    assert one.expired == 1


async def test_never_never_comes(sweeper: Sweeper, clock: Clock) -> None:
    one = Deadline(NEVER)
    sweeper.watch(one)
    for _ in range(100):
        pass_time(sweeper, clock, 4 * INTERVAL)
    assert one.expired == 0


async def test_what_left_is_not_told(sweeper: Sweeper, clock: Clock) -> None:
    one, other = Deadline(10), Deadline(10)
    sweeper.watch(one)
    sweeper.watch(other)
    sweeper.unwatch(one)
    sweeper.unwatch(one)  # twice is once
    pass_time(sweeper, clock, 10)
    assert (one.expired, other.expired) == (0, 1)


async def test_one_that_takes_another_with_it_is_the_last_that_is_told(
    sweeper: Sweeper, clock: Clock
) -> None:
    """A connection that expires may end its peer, which is due as well."""
    pair: list[Deadline] = []

    def leave_together(_: Deadline) -> None:
        for each in pair:
            sweeper.unwatch(each)

    pair += [Deadline(10, leave_together), Deadline(10, leave_together)]
    for each in pair:
        sweeper.watch(each)
    pass_time(sweeper, clock, 10)
    assert sorted(each.expired for each in pair) == [0, 1]


async def test_one_that_puts_another_off_in_the_same_sweep(sweeper: Sweeper, clock: Clock) -> None:
    pair: list[Deadline] = []

    def put_off(_: Deadline) -> None:
        for each in pair:
            each.deadline = 100

    pair += [Deadline(10, put_off), Deadline(10, put_off)]
    for each in pair:
        sweeper.watch(each)
    pass_time(sweeper, clock, 10)
    assert sorted(each.expired for each in pair) == [0, 1]


async def test_one_that_is_watched_from_within_a_sweep_is_met_in_its_turn(
    sweeper: Sweeper, clock: Clock
) -> None:
    late = Deadline(20)

    def begin(one: Deadline) -> None:
        one.deadline = NEVER
        sweeper.watch(late)

    sweeper.watch(Deadline(10, begin))
    pass_time(sweeper, clock, 10)
    assert late.expired == 0
    pass_time(sweeper, clock, 10)
    assert late.expired == 1


async def test_a_bug_in_one_does_not_stop_the_deadlines_of_all(sweeper: Sweeper, clock: Clock) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    bug = KeyError("a state that does not know its event")

    def fail(_: Deadline) -> None:
        raise bug

    bad = [Deadline(10, fail), Deadline(10, fail)]
    good = [Deadline(10), Deadline(10)]
    for each in (bad[0], *good, bad[1]):
        sweeper.watch(each)
    pass_time(sweeper, clock, 10)
    assert [each.expired for each in good] == [1, 1]
    assert told == [bug, bug]
    late = Deadline(20)
    sweeper.watch(late)
    pass_time(sweeper, clock, 10)
    assert late.expired == 1
    assert [each.expired for each in bad] == [1, 1]


@pytest.mark.parametrize(("passed", "counted"), [(39, 39), (40, 40), (41, 40), (100_000, 40)])
async def test_a_freeze_counts_for_a_few_sweeps_at_most(
    sweeper: Sweeper, clock: Clock, passed: float, counted: float
) -> None:
    sweeper.watch(Deadline(NEVER))
    pass_time(sweeper, clock, passed)
    assert sweeper.now == counted


async def test_a_deadline_survives_a_freeze(sweeper: Sweeper, clock: Clock) -> None:
    one = Deadline(60)
    sweeper.watch(one)
    pass_time(sweeper, clock, 86_400)
    assert one.expired == 0
    pass_time(sweeper, clock, 20)
    assert one.expired == 1


async def test_with_nothing_to_watch_there_is_no_timer_and_no_time(sweeper: Sweeper, clock: Clock) -> None:
    assert sweeper.next_sweep is None
    one = Deadline(NEVER)
    sweeper.watch(one)
    sweeper.unwatch(one)
    pass_time(sweeper, clock, 10)
    assert sweeper.next_sweep is None
    clock.time += 86_400
    again = Deadline(sweeper.now + 10)
    sweeper.watch(again)
    pass_time(sweeper, clock, 9)
    assert again.expired == 0
    pass_time(sweeper, clock, 1)
    assert again.expired == 1


async def test_one_timer_serves_all(sweeper: Sweeper) -> None:
    sweeper.watch(Deadline(10))
    due = sweeper.next_sweep
    sweeper.watch(Deadline(5))
    assert sweeper.next_sweep == due is not None


async def test_a_sweep_before_its_turn_is_in_place_of_it(sweeper: Sweeper) -> None:
    loop = asyncio.get_running_loop()
    sweeper.watch(Deadline(10))
    due = sweeper.next_sweep
    sweeper.sweep()
    assert due is not None
    assert sweeper.next_sweep is not None
    assert due <= sweeper.next_sweep < loop.time() + 1.5 * INTERVAL  # and not one behind the other


async def test_close_ends_it_and_may_come_twice(sweeper: Sweeper, clock: Clock) -> None:
    sweeper.interval = 0.001
    sweeper.watch(Deadline(0))
    assert (sweeper.next_sweep is not None, sweeper.watched) == (True, 1)
    sweeper.close()
    sweeper.close()
    assert (sweeper.next_sweep, sweeper.watched) == (None, 0)
    clock.time += 10
    await asyncio.sleep(0.01)  # in which its turn would have come ten times
    assert sweeper.now == 0


async def test_on_the_loop_s_own_clock() -> None:
    sweeper = Sweeper(0.001)
    met = asyncio.Event()

    def tell(one: Deadline) -> None:
        one.deadline = NEVER
        met.set()

    sweeper.watch(Deadline(0.003, tell))
    await asyncio.wait_for(met.wait(), 5)
    assert sweeper.now >= 0.003
    sweeper.close()


@for_each(
    ("timeouts", "interval"),
    [
        ([Timeouts()], 0.5),
        ([Timeouts(connect=4.9)], 0.49),
        ([Timeouts(response=1)], 0.1),
        ([Timeouts(idle=1)], 0.1),
        ([Timeouts(header=1)], 0.1),
        ([Timeouts(keepalive=1)], 0.1),
        ([Timeouts(drain=1)], 0.1),
        ([Timeouts(), Timeouts(response=2), Timeouts()], 0.2),
        ([Timeouts(response=0.2)], 0.02),
        ([Timeouts(response=0.001)], 0.02),
    ],
)
def test_the_interval_is_a_tenth_of_the_shortest_timeout_within_bounds(
    timeouts: list[Timeouts], interval: float
) -> None:
    assert Sweeper.interval_for(timeouts) == pytest.approx(interval)


class Streams:
    """What comes and goes by the thousand, and is asked for when it counts."""

    def __init__(self, *watched: Deadline) -> None:
        self.now_there = list(watched)

    def watched(self) -> list[Deadline]:
        return list(self.now_there)


async def test_of_a_group_those_are_told_that_it_has_when_their_time_comes(
    sweeper: Sweeper, clock: Clock
) -> None:
    early, late, gone = Deadline(10), Deadline(20), Deadline(10)
    group = Streams(early, late, gone)
    whole = Deadline(NEVER)
    sweeper.watch(whole)
    sweeper.watch_all(group)
    assert sweeper.watched == 4
    group.now_there.remove(gone)
    pass_time(sweeper, clock, 10)
    assert [one.expired for one in (early, late, gone)] == [1, 0, 0]
    sweeper.unwatch_all(group)
    sweeper.unwatch_all(group)
    pass_time(sweeper, clock, 10)
    assert late.expired == 0


async def test_of_a_group_too_who_was_put_off_by_another_is_not_told(sweeper: Sweeper, clock: Clock) -> None:
    pair: list[Deadline] = []

    def put_off(_: Deadline) -> None:
        for each in pair:
            each.deadline = NEVER

    pair += [Deadline(10, put_off), Deadline(10, put_off)]
    sweeper.watch(Deadline(NEVER))
    sweeper.watch_all(Streams(*pair))
    pass_time(sweeper, clock, 10)
    assert sorted(each.expired for each in pair) == [0, 1]
