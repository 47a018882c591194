"""Whether a server has started and whether it is ready, and what the service manager is told of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import structlog

from idtoken_proxy.first_tokens import FirstTokens
from idtoken_proxy.generation import Generation
from idtoken_proxy.lifecycle import DRAINING, SERVING, STARTED, STARTING, Lifecycle
from idtoken_proxy.notify import MOST_NAMED, is_heard, notify, reloading, waiting

log = structlog.get_logger("idtoken_proxy.server")


class Readiness:
    """Started: the listeners are open, every route has had a token, every issuer its keys. Ready: it has them now."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.lifecycle = Lifecycle(self._on_change)
        self._environ = environ
        self._is_open = False
        self._waiting = ""  # the last STATUS= sent to the service manager
        self._warm_ups: set[asyncio.Task[None]] = set()
        self._generation: Generation
        self._first_tokens: FirstTokens

    def adopt(self, generation: Generation) -> None:
        """From now on this generation's tokens and keys count."""
        self._generation = generation
        self._first_tokens = FirstTokens(generation.slots)

    @property
    def is_open(self) -> bool:
        """Whether the listeners have been opened."""
        return self._is_open

    def opened(self) -> None:
        self._is_open = True
        self.check_started()

    @property
    def started(self) -> bool:
        """Stays true to the end."""
        return self.lifecycle.started

    @property
    def ready(self) -> bool:
        """Started, not draining, a valid token for every route. A receiver's health does not count."""
        return self.lifecycle.state is SERVING and self._has_tokens and self._has_keys

    @property
    def _has_tokens(self) -> bool:
        return all(slot.current() is not None for slot in self._generation.slots.values())

    @property
    def _has_keys(self) -> bool:
        keys = self._generation.issuer_keys
        return keys is None or keys.are_there()

    def fetched(self, slot: object) -> None:
        """A token has come."""
        self._first_tokens.fetched(slot)

    def check_started(self) -> None:
        """Ends the start if it is over. Called after each token or key, fetched or failed."""
        if not self._is_open or self.lifecycle.state is not STARTING:
            return
        if self._first_tokens.are_there() and self._has_keys:
            self.lifecycle.on(STARTED)
            log.info("ready", routes=len(self._generation.settings.routes))
            return
        if not is_heard(self._environ):
            return
        status = waiting(self._first_tokens.missing(MOST_NAMED), len(self._first_tokens))
        if status != self._waiting:
            self._waiting = status
            notify(self._environ, status)

    def warm_up(self) -> None:
        """Fetches the missing tokens in the background."""
        task = asyncio.ensure_future(self._first_tokens.fetch())
        self._warm_ups.add(task)
        task.add_done_callback(self._warm_ups.discard)

    def reloading(self) -> None:
        """An attempt to reload begins."""
        if self.started:
            reloading(self._environ)

    def reloaded(self) -> None:
        """An attempt to reload has ended, whether it succeeded or failed."""
        if self.started:
            notify(self._environ, "READY=1")

    async def close(self) -> None:
        for task in tuple(self._warm_ups):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _on_change(self, state: str) -> None:
        if state is SERVING:
            notify(self._environ, "READY=1", "STATUS=serving")
        elif state is DRAINING:
            notify(self._environ, "STOPPING=1", "STATUS=draining")
