"""What a call costs, counted in steps of the interpreter: the same on every machine, however busy it is."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class _Counter:
    steps = 0


@contextmanager
def _counting() -> Iterator[_Counter]:
    counter = _Counter()

    def traced(_frame: FrameType, _event: str, _argument: object) -> Any:
        counter.steps += 1
        return traced

    def profiled(_frame: FrameType, event: str, _argument: object) -> None:
        counter.steps += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    gc.disable()  # others hear of it, in steps of their own
    sys.settrace(traced)
    sys.setprofile(profiled)
    try:
        yield counter
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
        gc.enable()


def steps_of(call: Callable[[], object]) -> int:
    """Lines run and functions called, C's own included. Octets that one C call looks at are not seen."""
    with _counting() as counter:
        call()
    return counter.steps


async def longest_hold(work: Awaitable[object]) -> tuple[int, int]:
    """(steps between two turns of the event loop at most, and all of them) while `work` is awaited. What other threads do
    is not counted.
    """
    longest = last = 0

    async def turns() -> None:
        nonlocal longest, last
        while True:
            longest, last = max(longest, counter.steps - last), counter.steps
            await asyncio.sleep(0)

    with _counting() as counter:
        ticking = asyncio.ensure_future(turns())
        try:
            await work
        finally:
            ticking.cancel()
    return max(longest, counter.steps - last), counter.steps
