"""Loads the configuration again on SIGHUP and when its file changes; a bad one changes nothing and says why."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog

from proxy import logs
from proxy.errors import ProxyError
from proxy.identity.threads import Threads
from proxy.settings.load import read
from proxy.settings.model import Settings

log = structlog.get_logger("proxy.reload")

_UNHURRIED: Final = 1.0  # seconds
# The kernel tells of no change that comes through another path (a file that is mounted alone into a container, a disk of
# the network), nor of one before it was asked.
_LOOK_MS: Final = 2000
_READING: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """`load` reads the file and raises ConfigError with every mistake. `content` is what was there before the settings
    in force were read: what came since is a change, however soon it came.
    """

    path: Path
    load: Callable[[], Settings]
    content: bytes | None = field(repr=False)


class Reloads(Protocol):
    async def reload(self, settings: Settings) -> None:
        """Raises ProxyError, with nothing changed."""

    def reloading(self) -> None:
        """Told before every attempt."""

    def reloaded(self, error: ProxyError | None) -> None:
        """Told of every attempt. `error`: why it was refused."""


async def keep_reloading(server: Reloads, source: ConfigFile, asked: asyncio.Event | None = None) -> None:
    """Until it is cancelled. `asked` is set by whoever gives it when SIGHUP comes, which otherwise is heard here."""
    loop = asyncio.get_running_loop()
    own = asked is None
    asked = asked or asyncio.Event()
    if own:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    watcher = asyncio.ensure_future(_watch(source, asked))
    watcher.add_done_callback(_tell_of_its_end)
    try:
        while True:
            await asked.wait()
            asked.clear()
            await _reload(server, source)
    finally:
        watcher.cancel()
        if own:
            loop.remove_signal_handler(signal.SIGHUP)


async def _reload(server: Reloads, source: ConfigFile) -> None:
    server.reloading()
    try:
        settings = await asyncio.to_thread(source.load)  # a thousand routes take half a second
        await server.reload(settings)
    except ProxyError as error:
        server.reloaded(error)
        log.warning("reload refused: the settings stay as they are", reason=error.detail)
    except Exception as error:
        # A bug of ours. It must cost neither the proxy nor the next reload.
        server.reloaded(ProxyError("the reload failed"))
        log.exception("reload failed", error=type(error).__name__)
    else:
        server.reloaded(None)
        logs.configure(settings.log)
        log.info("reloaded", file=str(source.path), routes=len(settings.routes))


def _tell_of_its_end(watcher: asyncio.Task[None]) -> None:
    if not watcher.cancelled() and (error := watcher.exception()) is not None:
        log.warning("the file is not watched any more; SIGHUP still reloads", reason=repr(error))


async def _watch(source: ConfigFile, asked: asyncio.Event) -> None:
    seen = source.content
    threads = Threads("configuration")  # a disk that hangs keeps no proxy from its end
    # 5 MB and 60 ms, for which the first request shall not wait.
    await asyncio.sleep(_UNHURRIED)
    watchfiles = await asyncio.to_thread(importlib.import_module, "watchfiles")
    changes = watchfiles.awatch(
        source.path.parent, recursive=False, rust_timeout=_LOOK_MS, yield_on_timeout=True
    )
    async for _ in changes:
        # A touch is no change, and a Kubernetes ConfigMap changes by a symlink beside the file.
        content = None
        with contextlib.suppress(TimeoutError):
            content = await threads.run(functools.partial(read, source.path), _READING)
        if content is not None and content != seen:
            seen = content
            asked.set()
