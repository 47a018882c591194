"""One generation's first tokens: fetches a few at a time, and knows which routes still wait.

Ten thousand routes are ten thousand fetches, each reported here. So one report costs the same however many routes there
are. All routes are checked only once none seems to be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.cache import TokenSlot

_AT_ONCE: Final = 16  # fetches; a thousand routes must not start a thousand threads
_AT_A_TIME: Final = 256  # slots that need nothing, before the loop is yielded


class FirstTokens:
    """`slots`: by route name."""

    def __init__(self, slots: Mapping[str, TokenSlot]) -> None:
        self._slots = slots
        self._routes: dict[object, list[str]] = {}
        for name, slot in slots.items():
            self._routes.setdefault(slot, []).append(name)
        self._missing = self._without()

    async def fetch(self) -> None:
        """Fetches the missing tokens. The cache reports failures, and retries."""
        slots = enumerate(dict.fromkeys(self._slots.values()))

        async def work() -> None:
            for number, slot in slots:
                with contextlib.suppress(TokenError):
                    await slot.get()
                if number % _AT_A_TIME == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    def fetched(self, slot: object) -> None:
        """A token has come. Slots of another generation are ignored."""
        for name in self._routes.get(slot, ()):
            self._missing.pop(name, None)

    def are_there(self) -> bool:
        """Whether every route has a token that may be sent now."""
        if not self._missing:
            self._missing = self._without()  # one may have expired before the last one came
        return not self._missing

    def __len__(self) -> int:
        """How many routes still wait."""
        return len(self._missing)

    def missing(self, most: int) -> Iterator[tuple[str, str | None]]:
        """(name, cause of the last failure) of the routes that wait, in the configuration's order."""
        for name, slot in islice(self._missing.items(), most):
            error = slot.status().error
            yield name, None if error is None else error.cause

    def _without(self) -> dict[str, TokenSlot]:
        return {name: slot for name, slot in self._slots.items() if slot.current() is None}
