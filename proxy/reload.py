"""Loads the configuration again on SIGHUP and when its file changes; a bad one changes nothing and says why."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from proxy import logs
from proxy.errors import ProxyError
from proxy.settings.model import Settings

log = structlog.get_logger("proxy.reload")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """`load` reads the file and raises ConfigError with every mistake."""

    path: Path
    load: Callable[[], Settings]

    def digest(self) -> bytes | None:
        """Of its content: a touch is no change, and a Kubernetes ConfigMap changes by a symlink beside the file."""
        try:
            return hashlib.sha256(self.path.read_bytes()).digest()
        except OSError:
            return None


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
    seen = source.digest()
    # 5 MB and 60 ms, for which the first request shall not wait.
    watchfiles = await asyncio.to_thread(importlib.import_module, "watchfiles")
    async for _ in watchfiles.awatch(source.path.parent, recursive=False, rust_timeout=2000):
        digest = source.digest()
        if digest is not None and digest != seen:
            seen = digest
            asked.set()
