from __future__ import annotations

import time

from idtoken_proxy.identity.clock import Clock, SystemClock


def test_the_wall_clock_is_unix_time() -> None:
    clock: Clock = SystemClock()
    assert time.time() - 5 < clock.wall() < time.time() + 5


def test_the_boot_clock_goes_on_and_never_lags_the_monotonic_one() -> None:
    clock: Clock = SystemClock()
    before, monotonic = clock.boot(), time.monotonic()
    assert clock.boot() >= before
    assert before >= monotonic - 5  # it has run through whatever suspend there was


async def test_sleep() -> None:
    clock: Clock = SystemClock()
    before = clock.boot()
    await clock.sleep(0.01)
    assert clock.boot() - before >= 0.009
