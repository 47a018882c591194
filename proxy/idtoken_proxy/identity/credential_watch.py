"""Credentials that do not do: looked at until somebody has changed them, so that no back-off has to be sat out. A login that
has run out and is renewed, a token file that is written at last.

One look serves all slots of a source, however many routes share it.
"""

from __future__ import annotations

import weakref
from typing import Final, Protocol

from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.identity.sources.source import Versioned
from idtoken_proxy.identity.tasks import Tasks
from idtoken_proxy.identity.threads import Threads

INTERVAL: Final = 1.0  # seconds between two looks
_DEADLINE: Final = 2.0  # seconds for one; a home directory may be on a disk that hangs


class Waiting(Protocol):
    """A slot without a token."""

    @property
    def awaits_change(self) -> bool: ...

    def retry(self) -> None:
        """Now, whatever the back-off."""


class CredentialWatch:
    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self._tasks = tasks
        self._threads = Threads("credential")
        # By source: its slots, each with the version that did not do.
        self._waiting: dict[Versioned, weakref.WeakKeyDictionary[Waiting, object]] = {}

    async def version(self, source: Versioned) -> object:
        """None where it cannot be looked at in time."""
        try:
            return await self._threads.run(source.version, _DEADLINE)
        except TimeoutError:
            return None

    def wait(self, source: Versioned, slot: Waiting, before: object) -> None:
        """`before`: the version when the fetch began that failed."""
        slots = self._waiting.get(source)
        if slots is None:
            slots = self._waiting[source] = weakref.WeakKeyDictionary()
            if not self._tasks.closed:
                self._tasks.spawn(self._look(source))
        slots[slot] = before

    async def _look(self, source: Versioned) -> None:
        slots = self._waiting[source]
        while any(slot.awaits_change for slot in slots):
            await self._clock.sleep(INTERVAL)
            now = await self.version(source)
            for slot, before in tuple(slots.items()):
                if now != before:
                    del slots[slot]
                    slot.retry()
        del self._waiting[source]
