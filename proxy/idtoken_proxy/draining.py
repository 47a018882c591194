"""The end of a server's connections: takes those still in the listeners' queues, and lets the open ones finish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from idtoken_proxy.engine.listeners import BACKLOG
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import Stats

# Seconds, and turns of the loop: on a busy machine the time alone may be over before anything had its turn.
_QUEUES = 0.1  # to accept the connections still in the queues
_QUEUE_TURNS = BACKLOG  # as uvloop accepts one connection a turn
_LAST_REQUESTS = 0.1  # for requests to arrive on connections accepted just before the end
_LAST_REQUEST_TURNS = 5
_IDLE_TURNS = 3  # without a new connection: one from queue to protocol, one to spare

log = structlog.get_logger("idtoken_proxy.server")


async def accepted_all(stats: Stats) -> None:
    """Waits until the listeners' queues are empty. uvloop accepts one connection a turn; under load the queues may
    never empty.
    """
    loop = asyncio.get_running_loop()
    until, idle, turns = loop.time() + _QUEUES, 0, 0
    while idle < _IDLE_TURNS and (turns < _QUEUE_TURNS or loop.time() < until):
        taken = stats.connections
        await asyncio.sleep(0)
        turns += 1
        idle = idle + 1 if stats.connections == taken else 0


async def drained(contexts: Callable[[], Iterable[ServerContext]], limit: float) -> None:
    """Lets exchanges finish within `limit` seconds. `contexts` returns all that have connections at that moment."""
    loop = asyncio.get_running_loop()
    late = loop.time() + min(limit, _LAST_REQUESTS)
    deadline = loop.time() + limit
    _drain(contexts(), late=not limit)
    await asyncio.sleep(0)  # the connection accepted last arrives
    # Polls, because this runs once in a process's life, and an event would cost the data path. Idle connections go in a
    # turn or two.
    nap, turns = 0.001, 0
    while _busy(contexts()) and loop.time() < deadline:
        await asyncio.sleep(nap)
        nap, turns = min(2 * nap, 0.02), turns + 1
        _drain(contexts(), late=turns >= _LAST_REQUEST_TURNS and loop.time() >= late)
    _drain(contexts(), late=True)
    still_open = _busy(contexts())
    if still_open:
        log.warning("drain timed out", still_open=still_open, seconds=limit)


def _drain(contexts: Iterable[ServerContext], *, late: bool) -> None:
    for context in contexts:
        context.drain(late=late)


def _busy(contexts: Iterable[ServerContext]) -> int:
    return sum(context.busy for context in contexts)
