"""What became of requests to a listener before an app, in plain ints (stats.py has the rest)."""

from __future__ import annotations


class ReceivedCounts:
    """`admitted`: of invokers; `public`: of paths where nobody is asked who it is; `refused`: by cause."""

    __slots__ = ("admitted", "public", "refused")

    def __init__(self) -> None:
        self.admitted = 0
        self.public = 0
        self.refused: dict[str, int] = {}

    def refuse(self, cause: str) -> None:
        self.refused[cause] = self.refused.get(cause, 0) + 1
