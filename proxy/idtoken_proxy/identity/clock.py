"""Time as the cache sees it, so that a test can turn a day in a moment.

Two clocks judge a token: the wall clock, since `exp` is a date, and one that nobody sets and that runs through
suspend, since a wall clock may be wrong, and jump.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

Wall: TypeAlias = Callable[[], float]  # Unix seconds, as Clock.wall has them


class Clock(Protocol):
    def wall(self) -> float:
        """Unix seconds."""

    def boot(self) -> float:
        """Seconds that pass in suspend too, from any start."""

    async def sleep(self, seconds: float) -> None:
        """May take longer: timers stand still in suspend, and where the CPU sleeps between requests."""


def _boot_clock() -> int:
    # Linux: CLOCK_MONOTONIC stands still in suspend, CLOCK_BOOTTIME does not (clock_gettime(2)). macOS has
    # only the former, and there it runs on.
    clock: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    try:
        time.clock_gettime(clock)
    except OSError:  # pragma: no cover -- a kernel or sandbox without it
        return time.CLOCK_MONOTONIC
    return clock


_BOOT = _boot_clock()


class SystemClock:
    # Built-ins, called straight from the hot path.
    wall = staticmethod(time.time)
    boot = staticmethod(functools.partial(time.clock_gettime, _BOOT))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
