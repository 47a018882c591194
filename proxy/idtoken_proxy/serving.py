"""A server as a process: its signals, its reloads, its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from types import FrameType
from typing import TypeAlias

import structlog

from idtoken_proxy import allocator, descriptors, leaving
from idtoken_proxy.first_screen import first_screen
from idtoken_proxy.reload import USUAL_PACE, Source, keep_reloading
from idtoken_proxy.server import Server
from idtoken_proxy.settings.model import Settings
from idtoken_proxy.terminal import say
from idtoken_proxy.tls_trust import Trust

log = structlog.get_logger("idtoken_proxy.server")

Attendant: TypeAlias = Callable[[Server], Awaitable[None]]


def run(
    settings: Settings,
    source: Source | None = None,
    attendant: Attendant | None = None,
    trusted: Callable[[], Trust] | None = None,
    *,
    greets: bool = False,
) -> int:
    """`idtoken-proxy serve`: runs until SIGTERM, SIGINT or POST /quitquitquit, then drains; a second signal ends at
    once. Returns the exit code.

    `source`: where the settings came from. SIGHUP and a change of the file load them again. Without a source SIGHUP
    acts as SIGTERM, unless it is ignored already (nohup). `attendant` is awaited once the listeners are open; it then
    handles the signals that end the proxy, and its exception ends the proxy. `trusted`: from trust_ahead. `greets`: a
    person reads along, who is shown the routes once they are ready.
    """
    return leaving.run(_serve(settings, source, attendant, trusted, greets=greets))


async def _serve(
    settings: Settings,
    source: Source | None,
    attendant: Attendant | None,
    trusted: Callable[[], Trust] | None,
    *,
    greets: bool,
) -> int:
    # Each listener before an app may have as many connections for itself.
    _count_descriptors(settings.limits.connections * (bool(settings.routes) + len(settings.receive)))
    allocator.keep_what_is_let_go()
    server = Server(settings, trusted=trusted)
    asked = asyncio.Event()
    received = _hear(server, asked, reloads=source is not None, ends=attendant is None)
    await server.start()
    # What is alive now stays. The start ran without the collector, which need not look at these objects later either.
    gc.freeze()
    gc.enable()
    if attendant is not None:
        try:
            await attendant(server)
        except Exception:  # bugs too: with open listeners the loop would not end
            await server.stop(drain=0)
            raise
    reloads = (
        asyncio.ensure_future(keep_reloading(server, source, USUAL_PACE, asked))
        if source is not None
        else None
    )
    greeting = asyncio.ensure_future(_greet(server)) if greets else None
    await server.lifecycle.ending.wait()
    if greeting is not None:
        greeting.cancel()
    if reloads is not None:
        reloads.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reloads  # cannot end otherwise: _reload catches whatever goes wrong
    if received:
        # Cloud Run, and pods without native sidecars, signal the app at the same moment, and the app may still send
        # requests as it ends. Whoever calls /quitquitquit has sent its last.
        await asyncio.sleep(server.settings.timeouts.lameduck)
    await server.stop()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # Python's exit resets all handlers, but not SIG_IGN
    log.info("stopped")
    return 0


async def _greet(server: Server) -> None:
    await server.lifecycle.settled.wait()
    if server.ready:
        tokens = {name: slot.status() for name, slot in server.slots.items()}
        for line in first_screen(server.bound, server.settings.routes, tokens, time.time()):
            say(line, err=True)


def _count_descriptors(connections: int) -> None:
    there, needed = descriptors.raise_limit(), descriptors.needed(connections)
    if there < needed:
        log.warning(
            "too few file descriptors",
            limit=there,
            needed=needed,
            remedy=f"allow more (LimitNOFILE={needed}, --ulimit nofile={needed}), or take fewer connections: "
            f"limits: {{connections: {descriptors.room_for(there)}}}",
        )


def _hear(server: Server, asked: asyncio.Event, *, reloads: bool, ends: bool) -> Collection[int]:
    """Collects signals to end. These are Python's own handlers, because the loop removes its handlers earlier, as it
    closes, and a signal after that would kill a proxy that has drained. They are set before anybody learns that the
    proxy is up.
    """
    loop = asyncio.get_running_loop()
    received: set[int] = set()

    def soon(call: Callable[[], object]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    def reload(_signum: int, _frame: FrameType | None) -> None:
        soon(asked.set)

    def end(signum: int, _frame: FrameType | None) -> None:
        """The first signal drains, or leaves a drain under way alone."""
        if received:
            os._exit(128 + signum)
        received.add(signum)
        soon(functools.partial(server.quit, signal=signal.Signals(signum).name))

    if ends:
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
    if reloads:
        signal.signal(signal.SIGHUP, reload)
    elif ends and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, end)
    return received
