from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.identity import schedule
from idtoken_proxy.identity.schedule import MARGIN, MIN_INTERVAL, Lease, backoff
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, START, unsigned

BOOT = 500.0


def lease(
    life: float,
    *,
    total: float | None = None,
    ahead: float = 600.0,
    jitter: float = 0.0,
    recheck: float = math.inf,
    before: Lease | None = None,
    boot: float = BOOT,
    started: float | None = None,
) -> Lease:
    """A token with `life` seconds left; `total` from its `iat` to its `exp`, where it has an `iat`."""
    exp = START + life
    return schedule.lease(
        unsigned(AUDIENCE, exp=exp, iat=None if total is None else exp - total),
        started=boot if started is None else started,
        wall=START,
        boot=boot,
        ahead=ahead,
        jitter=jitter,
        recheck=recheck,
        before=before,
    )


def test_the_margin_is_subtracted_and_exact() -> None:
    got = lease(3600)
    assert got.valid(START + 3569.9, BOOT)
    assert not got.valid(START + 3570, BOOT)
    assert got.valid(START, BOOT + 3569.9)
    assert not got.valid(START, BOOT + 3570)


@for_each(("life", "good"), [(30.1, True), (30, False), (0, False), (-5, False)])
def test_thirty_seconds_are_the_least(life: float, *, good: bool) -> None:
    assert lease(life).valid(START, BOOT) is good


def test_a_slow_wall_clock_does_not_prolong_a_token() -> None:
    """The machine is 5 minutes behind: a fresh token of an hour seems to live for 65 minutes."""
    got = lease(3900, total=3600, boot=BOOT + 2, started=BOOT)
    assert got.boot_end == BOOT + 3600 - MARGIN
    assert got.valid(START, BOOT + 3569.9)
    assert not got.valid(START, BOOT + 3570)


def test_nor_does_fetching_it_again() -> None:
    first = lease(3900, total=3600)
    wall_went_back = lease(3900, total=3600, boot=BOOT + 1000, before=first)
    assert wall_went_back.boot_end == first.boot_end


def test_a_fast_wall_clock_that_is_set_right_gives_the_token_its_life_back() -> None:
    first = lease(100, total=3600)
    assert first.boot_end == BOOT + 70
    again = schedule.lease(
        first.token, started=BOOT, wall=START - 3000, boot=BOOT + 10, ahead=600, jitter=0, before=first
    )
    assert again.boot_end == BOOT + 10 + 3100 - MARGIN


def test_an_iat_that_makes_no_sense_is_ignored() -> None:
    assert lease(3600, total=-10).boot_end == BOOT + 3570
    assert lease(3600, total=0).boot_end == BOOT + 3570


@for_each(
    ("life", "ahead", "interval"),
    [
        (3600, 600, 3000),
        (3600, 210, 3390),
        (300, 210, 90),  # what the metadata server hands out last
        (605, 600, 5),
        (604.9, 600, 287.45),  # came late: half of what can be used
        (300, 600, 135),
        (60, 600, 15),
        (41, 600, 5.5),
        (35, 600, MIN_INTERVAL),
        (31, 600, MIN_INTERVAL),
    ],
)
def test_when_to_refresh(life: float, ahead: float, interval: float) -> None:
    assert lease(life, ahead=ahead).interval == pytest.approx(interval)


def test_jitter_delays_and_never_hastens() -> None:
    """The metadata server, asked earlier than 210 s before, would hand out the same token."""
    assert lease(3600, ahead=210, jitter=1).interval == 3390 + 21
    assert lease(3600, ahead=600, jitter=0.5).interval == 3000 + 30
    assert lease(230, ahead=210, jitter=1).interval == 20 + 20  # a tenth of what can be used, at most


def test_a_watched_source_is_asked_sooner() -> None:
    assert lease(3600, recheck=15).interval == 15
    assert lease(31, recheck=15).interval == MIN_INTERVAL


@given(
    life=st.floats(30.001, 1e5),
    ahead=st.floats(0, 1000),
    jitter=st.floats(0, 1),
)
def test_refreshed_before_the_end_or_as_soon_as_may_be(life: float, ahead: float, jitter: float) -> None:
    got = lease(life, ahead=ahead, jitter=jitter)
    assert got.interval >= MIN_INTERVAL
    assert BOOT + got.interval < got.boot_end or got.interval == MIN_INTERVAL


@given(life=st.floats(30.001, 7200), ahead=st.floats(0, 1000))
def test_the_same_token_over_and_over_costs_few_fetches(life: float, ahead: float) -> None:
    fetches = 0
    while life > MARGIN:
        fetches += 1
        life -= lease(life, ahead=ahead).interval
    assert fetches <= 14


def test_backoff_grows_to_its_longest() -> None:
    assert [backoff(n, 0) for n in (1, 2, 3, 6, 7, 100)] == [0.75, 1.5, 3, 24, 30, 30]
    assert backoff(1, 1) == pytest.approx(0.5625)
    assert backoff(10_000, 1) == 22.5
