"""The end of a server's connections: those that wait are taken, and those that are open may finish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import Stats

_LAST_REQUESTS = (
    0.1  # seconds that requests have to come by connections that were accepted just before the end
)
_QUEUES = 0.1  # seconds to take in who has connected and was not accepted yet
_IDLE_TURNS = 3  # of the loop, in which nobody was: one from a queue to the protocol, and one to spare

log = structlog.get_logger("idtoken_proxy.server")


async def accepted_all(stats: Stats) -> None:
    """Waits until nobody waits in the listeners' queues, from which uvloop takes one connection a turn. Under load they may never be empty."""
    loop = asyncio.get_running_loop()
    until, idle = loop.time() + _QUEUES, 0
    while idle < _IDLE_TURNS and loop.time() < until:
        taken = stats.connections
        await asyncio.sleep(0)
        idle = idle + 1 if stats.connections == taken else 0


async def drained(contexts: Callable[[], Iterable[ServerContext]], limit: float) -> None:
    """Lets exchanges finish within `limit` seconds. `contexts`: all that have connections, at the time of asking."""
    loop = asyncio.get_running_loop()
    late = loop.time() + min(limit, _LAST_REQUESTS)
    deadline = loop.time() + limit
    _drain(contexts(), late=not limit)
    await asyncio.sleep(0)  # what was taken last is there
    # Once in a process's life: no event is worth a place on the data path. What is idle is gone after a turn or two.
    nap = 0.001
    while _busy(contexts()) and loop.time() < deadline:
        await asyncio.sleep(nap)
        nap = min(2 * nap, 0.02)
        _drain(contexts(), late=loop.time() >= late)
    _drain(contexts(), late=True)
    still_open = _busy(contexts())
    if still_open:
        log.warning("drain timed out", still_open=still_open, seconds=limit)


def _drain(contexts: Iterable[ServerContext], *, late: bool) -> None:
    for context in contexts:
        context.drain(late=late)


def _busy(contexts: Iterable[ServerContext]) -> int:
    return sum(context.busy for context in contexts)
