"""Does long work in pieces, so that it does not block the event loop: a generator yields wherever others may run.

Ten thousand routes take half a second to prepare and two to list in /metrics, and no request shall wait for that. Not
in a thread: a thread gives up the interpreter only every 5 ms, and the loop would change what it reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Pieces: TypeAlias = Generator[None, None, T]  # its return value is the result


async def in_turns(work: Pieces[T]) -> T:
    """If the caller is cancelled meanwhile, the work ends where it stands."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            whole: T = end.value
            return whole
        await asyncio.sleep(0)


def at_once(work: Pieces[T]) -> T:
    """Without yielding, if nobody waits."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            whole: T = end.value
            return whole


async def whole(work: Coroutine[Any, Any, None]) -> None:
    """Runs work that is brief and must not stop halfway. If the caller is cancelled meanwhile, that takes effect
    afterwards.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
