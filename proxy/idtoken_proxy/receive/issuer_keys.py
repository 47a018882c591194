"""Every issuer's keys, over reloads: they are the same whoever asks for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

from idtoken_proxy.identity.clock import Clock, SystemClock
from idtoken_proxy.receive.issuers import Issuer
from idtoken_proxy.receive.key_fetch import fetch_keys
from idtoken_proxy.receive.key_set import Fetched, KeySet


class IssuerKeys:
    """`fetch` blocks, and raises TokenError. `on_fetched` hears of each set that came."""

    def __init__(self, clock: Clock | None = None, fetch: Callable[[Issuer], Fetched] = fetch_keys) -> None:
        self.clock = clock or SystemClock()
        self.on_fetched: Callable[[], None] = _nobody
        self._fetch = fetch
        self._sets: dict[Issuer, KeySet] = {}

    def __iter__(self) -> Iterator[KeySet]:
        return iter(tuple(self._sets.values()))

    def of(self, issuer: Issuer) -> KeySet:
        found = self._sets.get(issuer)
        if found is None:
            fetch = functools.partial(self._fetch, issuer)
            found = self._sets[issuer] = KeySet(issuer.name, fetch, self.clock, self._fetched)
        return found

    def retain(self, issuers: Iterable[Issuer]) -> None:
        """After a reload: what no listener lists any more is not kept."""
        listed = set(issuers)
        self._sets = {issuer: keys for issuer, keys in self._sets.items() if issuer in listed}

    def are_there(self) -> bool:
        """Some of each issuer."""
        return all(map(len, self._sets.values()))

    def warm_up(self) -> None:
        for keys in self:
            keys.look_after_them()

    def _fetched(self) -> None:
        self.on_fetched()

    async def close(self) -> None:
        for keys in self:
            await keys.close()


def _nobody() -> None: ...
