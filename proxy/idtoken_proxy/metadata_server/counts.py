"""What was asked of the metadata server's face, and what became of it: labels that no caller chooses."""

from __future__ import annotations

from collections import Counter
from typing import Final

KINDS: Final = ("ping", "directory", "identity", "token", "value", "other")
# Refused: by the guard or by what the configuration lists. Failed: no token was to be had.
OUTCOMES: Final = ("answered", "refused", "not_found", "failed")


class Counts:
    """Over reloads. `kind`: of KINDS; `outcome`: of OUTCOMES."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, str]] = Counter()

    def count(self, kind: str, outcome: str) -> None:
        self._asked[kind, outcome] += 1

    def by_kind(self) -> dict[tuple[str, str], int]:
        """All of them, those that have not happened yet included."""
        return {(kind, outcome): self._asked[kind, outcome] for kind in KINDS for outcome in OUTCOMES}

    def by_outcome(self) -> dict[str, int]:
        return {outcome: sum(self._asked[kind, outcome] for kind in KINDS) for outcome in OUTCOMES}
