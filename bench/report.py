"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.bars import Verdict
from bench.stats import Samples, Summary, metric, ratio


@dataclass(frozen=True)
class Column:
    metric: str
    title: str
    digits: int = 0
    compare: bool = False  # show ours / its, too


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is text and set left, the others are figures and set right; padded, to be read as it is."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (w - 1) + ":") if i else "-" * w for i, w in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def spread(summary: Summary | None, digits: int = 2) -> str:
    """`1.31 (1.27-1.33)`: the median, and what it was in the lowest and the highest round."""
    if summary is None:
        return "-"
    return f"{summary.median:.{digits}f} ({summary.low:.{digits}f}-{summary.high:.{digits}f})"


def scenario_table(samples: Samples, columns: Sequence[Column], *, ours: str | None) -> str:
    """One row a target; and ours / its for the columns that ask for it, where ours was measured."""
    compared = [c for c in columns if c.compare] if ours in samples else []
    head = ["target", *(c.title for c in columns), "rounds", *(f"{c.title}: ours / it" for c in compared)]
    rows = []
    for target, taken in samples.items():
        summaries = [metric(samples, target, c.metric) for c in columns]
        figures = [number(s.median if s else None, c.digits) for s, c in zip(summaries, columns, strict=True)]
        ratios = [
            "" if target == ours else spread(ratio(samples, ours or "", target, c.metric)) for c in compared
        ]
        rows.append([target, *figures, f"{sum(map(bool, taken))}/{len(taken)}", *ratios])
    return table(head, rows)


def pairs_table(samples: Samples, columns: Sequence[Column], pairs: Iterable[tuple[str, str]]) -> str:
    """One / the other for the columns that ask for it."""
    compared = [c for c in columns if c.compare]
    rows = [
        [f"{one} / {other}", *(spread(ratio(samples, one, other, c.metric)) for c in compared)]
        for one, other in pairs
    ]
    return table(["within each round", *(c.title for c in compared)], rows)


def flagged(samples: Samples) -> list[str]:
    """A line for each reason for which rounds of a target were left out."""
    lines = []
    for target, taken in samples.items():
        rounds: dict[tuple[str, ...], list[int]] = {}
        for turn, sample in enumerate(taken, 1):
            if sample.errors:
                rounds.setdefault(sample.errors, []).append(turn)
        for errors, turns in rounds.items():
            lines.append(f"left out: {target}, round {', '.join(map(str, turns))}: {'; '.join(errors)}")
    return lines


def unloaded(samples: Samples, *, below: float = 85) -> list[str]:
    """A line for each target that had time to spare: there the load was the limit, and the target is better than
    its figure.
    """
    lines = []
    for target in samples:
        busy = metric(samples, target, "busy")
        if busy is not None and busy.median < below:
            lines.append(
                f"{target} was only {busy.median:.0f}% busy: the load, or another process, was the limit"
            )
    return lines


def bars_table(verdicts: Sequence[Verdict]) -> str:
    rows = []
    for verdict in verdicts:
        bar, margin = verdict.bar, verdict.margin
        unit = bar.unit or f"x {bar.peer}"
        rows.append(
            [
                bar.what,
                f"{bar.sense} {bar.bound:.4g} {unit}",
                spread(verdict.measured),
                "not measured"
                if margin is None
                else f"{'pass' if margin >= 0 else 'FAIL'} by {abs(margin):.1%}",
            ]
        )
    return table(["bar", "want", "measured", "verdict"], rows)


def facts_list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
