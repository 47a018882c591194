"""Tokens that were checked, by their digest, until they end: the second request costs no signature check.

Only those of invokers are kept. Anybody can have Google mint tokens for any audience, and would push out the others with them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from idtoken_proxy.policy.headers import TokenLines
from idtoken_proxy.receive.claims import Principal
from idtoken_proxy.receive.key_set import KeySet

MOST: Final = 2048  # with their lines some 3 KiB each


class VerifiedToken:
    """`keys`: of its issuer, as of `generation`. `lines`: what goes on in its place. `admitted_by`: the list of invokers that it
    was held against last, and is on.
    """

    __slots__ = ("admitted_by", "generation", "good_until", "keys", "lines", "principal")

    def __init__(self, principal: Principal, keys: KeySet, lines: TokenLines) -> None:
        self.principal = principal
        self.keys = keys
        self.generation = keys.generation
        self.lines = lines
        self.admitted_by: frozenset[str] | None = None
        self.good_until = 0.0  # Unix seconds: until then there is nothing to look at but its keys' generation

    def is_good(self, now: float) -> bool:
        """`now`: Unix seconds. Its issuer's keys are looked after as often as it matters to them."""
        if now < self.good_until and self.generation == self.keys.generation:
            return True
        if now >= self.principal.expires_at or not self.keys.still_holds(self.generation):
            return False
        self.good_until = min(self.principal.expires_at, now + self.keys.rests)
        return True


class VerifiedTokens:
    """The least recently used goes first."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int = MOST) -> None:
        self._known: OrderedDict[bytes, VerifiedToken] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digest: bytes, now: float) -> VerifiedToken | None:
        """`now`: Unix seconds. None: it is to be checked anew, for its end or because a key has gone."""
        known = self._known.get(digest)
        if known is None:
            return None
        if known.is_good(now):
            self._known.move_to_end(digest)
            return known
        del self._known[digest]
        return None

    def keep(self, digest: bytes, token: VerifiedToken) -> None:
        self._known[digest] = token
        if len(self._known) > self._most:
            self._known.popitem(last=False)
