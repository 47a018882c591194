"""Work that would hold the event loop for long, in pieces: a generator that stops wherever others may have their turn.

Ten thousand routes take half a second to be made ready and two to be told of in /metrics, and a request waits for none
of it. In pieces on the loop, not in a thread: a thread gives up the interpreter every 5 ms and no sooner, and what it
would read, the loop changes meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Pieces: TypeAlias = Generator[None, None, T]  # what it returns is the whole


async def in_turns(work: Pieces[T]) -> T:
    """Whoever is cancelled meanwhile ends the work where it stands."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            whole: T = end.value
            return whole
        await asyncio.sleep(0)


def at_once(work: Pieces[T]) -> T:
    """Where nobody waits."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            whole: T = end.value
            return whole
