"""Loads the configuration again on SIGHUP and when its file changes; a bad one changes nothing and says why."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from idtoken_proxy import logs
from idtoken_proxy.collector import sparing
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.settings.model import Settings

log = structlog.get_logger("idtoken_proxy.reload")

# Seconds; for a disk that hangs. Ten thousand routes take a second or two. A thread that hangs does not keep the proxy
# from ending.
_LOOKING: Final = 5.0
_LOADING: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `unhurried`: until the kernel is asked to watch the file. The library for that takes 5 MB and 60 ms,
    which the first request shall not wait for. `look`: between two looks at the file, since the kernel reports no
    change made through another path (a file mounted alone into a container, a network disk), nor one made before it
    watched.
    """

    unhurried: float
    look: float


USUAL_PACE: Final = Pace(unhurried=1.0, look=2.0)


class Source(Protocol):
    """Both methods block."""

    path: str

    def load(self) -> Settings:
        """Raises ConfigError with every mistake."""

    def changed(self) -> bool:
        """Whether the file has changed since the last `load`."""


class Reloads(Protocol):
    async def reload(self, settings: Settings) -> None:
        """Raises ProxyError, having changed nothing."""

    def reloading(self) -> None:
        """Called before every attempt."""

    def reloaded(self, error: ProxyError | None) -> None:
        """Called after every attempt. `error`: why it was refused."""


async def keep_reloading(
    server: Reloads, source: Source, pace: Pace, asked: asyncio.Event | None = None
) -> None:
    """Runs until cancelled. Reloads on SIGHUP, or when `asked` is set if the caller passes one and handles SIGHUP
    itself.
    """
    loop = asyncio.get_running_loop()
    own = asked is None
    asked = asked or asyncio.Event()
    if own:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    threads = Threads("configuration")
    watcher = asyncio.ensure_future(_watch(source, asked, threads, pace))
    try:
        while True:
            await asked.wait()
            asked.clear()
            await _reload(server, source, threads)
    finally:
        watcher.cancel()
        if own:
            loop.remove_signal_handler(signal.SIGHUP)


async def _reload(server: Reloads, source: Source, threads: Threads) -> None:
    server.reloading()
    try:
        with sparing():
            settings = await threads.run(source.load, _LOADING)
            await server.reload(settings)
    except ProxyError as error:
        server.reloaded(error)
        log.warning("reload refused: the settings stay as they are", reason=error.detail)
    except TimeoutError:
        late = ProxyError(f"{source.path} could not be read within {_LOADING:g} s")
        server.reloaded(late)
        log.warning("reload refused: the settings stay as they are", reason=late.detail)
    except Exception as error:
        # A bug of ours. It must cost neither the proxy nor the next reload.
        server.reloaded(ProxyError("the reload failed"))
        log.exception("reload failed", error=type(error).__name__)
    else:
        server.reloaded(None)
        logs.configure(settings.log)
        log.info("reloaded", file=source.path, routes=len(settings.routes))


async def _watch(source: Source, asked: asyncio.Event, threads: Threads, pace: Pace) -> None:
    """Looks whenever the kernel reports a change, and else every few seconds."""
    directory, reported = os.path.dirname(source.path) or ".", ""  # noqa: PTH120 -- "" for none
    await asyncio.sleep(pace.unhurried)
    while True:
        try:
            watchfiles = await asyncio.to_thread(importlib.import_module, "watchfiles")
            # No filter: an event that is filtered out would put off the next look.
            async for _ in watchfiles.awatch(
                directory,
                watch_filter=None,
                recursive=False,
                rust_timeout=round(pace.look * 1000),
                yield_on_timeout=True,
            ):
                await _look(source, asked, threads)
        except Exception as error:  # noqa: BLE001 -- no such directory just now, no more watches to be had
            if reported != repr(error):
                reported = repr(error)
                log.warning(
                    "the kernel does not watch the file; it is looked at all the same", reason=reported
                )
        await asyncio.sleep(pace.look)
        await _look(source, asked, threads)


async def _look(source: Source, asked: asyncio.Event, threads: Threads) -> None:
    with contextlib.suppress(TimeoutError, RuntimeError):  # no thread was to be had; perhaps next time
        if await threads.run(source.changed, _LOOKING):
            asked.set()
