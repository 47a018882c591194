"""A valid token at hand for each (identity, what is asked for), both from the configuration, never from a request."""

from __future__ import annotations

import random
from collections.abc import Iterable

from cachetools import LRUCache

from idtoken_proxy.identity.clock import Clock, SystemClock
from idtoken_proxy.identity.credential_watch import CredentialWatch
from idtoken_proxy.identity.events import FetchEvent, Observer, log_event
from idtoken_proxy.identity.slot import Shared, SlotStatus, TokenSlot
from idtoken_proxy.identity.sources.source import Source
from idtoken_proxy.identity.tasks import Tasks
from idtoken_proxy.settings.identities import Identity
from idtoken_proxy.settings.model import Wanted

__all__ = ["FetchEvent", "SlotStatus", "TokenCache", "TokenSlot"]

DEADLINE = 10.0  # seconds a fetch may take
MAXSIZE = 131_072  # well over any configuration's routes; what falls out and is held by a route works on


class TokenCache:
    """Lives as long as the proxy, over reloads: the slots of unchanged keys keep their tokens."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        deadline: float = DEADLINE,
        maxsize: int = MAXSIZE,
        on_event: Observer = log_event,
        rng: random.Random | None = None,
    ) -> None:
        self._tasks = Tasks()
        clock = clock or SystemClock()
        self._shared = Shared(
            clock=clock,
            tasks=self._tasks,
            watch=CredentialWatch(clock, self._tasks),
            deadline=deadline,
            on_event=on_event,
            rng=rng or random.Random(),  # noqa: S311 -- jitter, no secret
        )
        self._slots: LRUCache[tuple[Identity, Wanted], TokenSlot] = LRUCache(maxsize)

    @property
    def slots(self) -> list[TokenSlot]:
        """Those that are remembered, with a token or without."""
        return list(self._slots.values())

    @property
    def busy(self) -> int:
        """Fetches under way and timers of the next."""
        return len(self._tasks)

    def slot(self, identity: Identity, source: Source, wanted: Wanted, counted_as: str = "") -> TokenSlot:
        """The one slot of (identity, wanted), made where there is none; one that is there keeps its source until it is
        told to `use` another. Nothing is fetched before its first get(). `counted_as`: in place of an audience that a
        caller may choose, in metrics.
        """
        key = (identity, wanted)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = TokenSlot(self._shared, source, wanted, counted_as)
        return slot

    def forget(self, identity: Identity, slot: TokenSlot) -> None:
        """One that nobody is to ask any more: its token goes with who holds it, and no other is fetched ahead."""
        if self._slots.get((identity, slot.wanted)) is slot:
            del self._slots[identity, slot.wanted]
        slot.retire()

    def retain(self, slots: Iterable[TokenSlot]) -> None:
        """After a reload: forget all other slots, so that no token is minted for a route that is gone. One that is
        still held, by a request under way, works on.
        """
        kept = set(slots)
        for key, slot in tuple(self._slots.items()):
            if slot not in kept:
                del self._slots[key]

    async def close(self) -> None:
        """Cancel all background work. Threads that hang are left to themselves; whoever still waits gets TokenError."""
        await self._tasks.close()
