"""Notices peers that have gone while nothing is read from them.

A connection whose reading is held back (its upload waits for the receiver, or a pipelined request for its turn) tells
nobody of its end: that would be read, and nothing is. So the few that are held back are asked at times, all of them
with one poll(2).
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol

INTERVAL = 0.25  # seconds; receivers are to learn within one that an app has gone
# Linux alone tells of a peer's FIN without a read (poll(2)); elsewhere a reset is still seen.
_GONE = getattr(select, "POLLRDHUP", 0)


class Held(Protocol):
    @property
    def transport(self) -> asyncio.Transport: ...

    def hung_up(self) -> None:
        """Called once; not watched any more."""


class DisconnectWatch:
    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._held: dict[Held, int] = {}
        self._poll = select.poll()
        self._handle: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Nobody is watched, and no look is due."""
        return not self._held and self._handle is None

    def watch(self, one: Held) -> None:
        descriptor = one.transport.get_extra_info("socket").fileno()
        if descriptor < 0:
            return
        self._held[one] = descriptor
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._interval, self._look)

    def unwatch(self, one: Held) -> None:
        self._held.pop(one, None)

    def _look(self) -> None:
        self._handle = None
        held = {descriptor: one for one, descriptor in self._held.items() if not one.transport.is_closing()}
        for descriptor in held:
            self._poll.register(descriptor, _GONE)  # POLLHUP and POLLERR come unasked
        gone = [descriptor for descriptor, _ in self._poll.poll(0)]
        for descriptor in held:
            self._poll.unregister(descriptor)
        for descriptor in gone:
            self.unwatch(held[descriptor])
            held[descriptor].hung_up()
        if self._held:
            self._handle = asyncio.get_running_loop().call_later(self._interval, self._look)

    def close(self) -> None:
        self._held.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
