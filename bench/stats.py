"""Medians, and ratios that are taken within a round before they are summed up: two targets measured seconds
apart share the machine's mood, two measured minutes apart do not.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """One measurement of one target: values by metric. With errors it is shown, and used for nothing."""

    values: Mapping[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.errors


@dataclass(frozen=True)
class Summary:
    median: float
    low: float
    high: float
    rounds: int


# Samples by target; the n-th sample of each is of the n-th round.
Samples = Mapping[str, Sequence[Sample]]


def summarize(values: Iterable[float]) -> Summary | None:
    kept = sorted(values)
    if not kept:
        return None
    return Summary(statistics.median(kept), kept[0], kept[-1], len(kept))


def metric(samples: Samples, target: str, name: str) -> Summary | None:
    """The median over the clean rounds of `target`; None where there is none."""
    return summarize(s.values[name] for s in samples.get(target, ()) if s and name in s.values)


def ratio(samples: Samples, ours: str, theirs: str, name: str) -> Summary | None:
    """Ours / theirs in each round that is clean for both; then the median."""
    pairs = zip(samples.get(ours, ()), samples.get(theirs, ()), strict=False)
    return summarize(
        a.values[name] / b.values[name]
        for a, b in pairs
        if a and b and name in a.values and b.values.get(name, 0) > 0
    )


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The order of a round: each target comes first in turn."""
    if not names:
        return []
    start = turn % len(names)
    return [*names[start:], *names[:start]]
