"""Rounds over several targets. In each round every target has one turn, and another target begins."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from bench.processes import StartError
from bench.scenarios import Range, Scenario, guarded
from bench.stats import Sample, rotated
from bench.targets import Instance, Target, Variant

Tell = Callable[[str], None]
AfterLast = Callable[[Scenario, Instance], None]
Row = tuple[Target, Variant]


def take(
    scenario: Scenario,
    chosen: Sequence[Target],
    where: Range,
    *,
    rounds: int,
    tell: Tell,
    after: AfterLast | None = None,
) -> dict[str, list[Sample]]:
    """Samples by row. A target that does not start has one flagged sample a round. `after` sees each instance once
    more when all is measured.
    """
    rows = scenario.rows(chosen)
    count = min(rounds, scenario.most_rounds)
    if scenario.fresh:
        return _fresh(scenario, rows, where, count, tell)
    return _steady(scenario, rows, where, count, tell=tell, after=after)


def _fresh(
    scenario: Scenario, rows: Mapping[str, Row], where: Range, rounds: int, tell: Tell
) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {row: [] for row in rows}
    measure = guarded(scenario.measure)
    for turn in range(rounds):
        for row in rotated(list(rows), turn):
            target, variant = rows[row]
            if len(samples[row]) > turn:
                continue  # it did not start, and will not
            try:
                with where.place(target, scheme=scenario.scheme, variant=variant) as instance:
                    sample = measure(where, instance)
            except StartError as error:
                sample = Sample(errors=(str(error),))
                samples[row] += [sample] * (rounds - turn - 1)
            samples[row].append(sample)
            tell(_progress(scenario, turn, rounds, row, sample))
    return samples


def _steady(
    scenario: Scenario,
    rows: Mapping[str, Row],
    where: Range,
    rounds: int,
    *,
    tell: Tell,
    after: AfterLast | None,
) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {row: [] for row in rows}
    measure = guarded(scenario.measure)
    warm = dataclasses.replace(where, seconds=1)
    with contextlib.ExitStack() as stack:
        instances: dict[str, Instance] = {}
        for row, (target, variant) in rows.items():
            try:
                instances[row] = stack.enter_context(
                    where.place(target, scheme=scenario.scheme, variant=variant)
                )
            except StartError as error:
                samples[row] += [Sample(errors=(str(error),))] * rounds
                tell(f"{scenario.name}: {error}")
        for turn in range(-1, rounds):  # the first is the warm-up
            for row in rotated(list(instances), turn):
                sample = measure(where if turn >= 0 else warm, instances[row])
                if turn >= 0:
                    samples[row].append(sample)
                    tell(_progress(scenario, turn, rounds, row, sample))
        if after is not None:
            for instance in instances.values():
                after(scenario, instance)
    return samples


def _progress(scenario: Scenario, turn: int, rounds: int, row: str, sample: Sample) -> str:
    first = scenario.columns[0]
    said = "; ".join(sample.errors) or f"{sample.values[first.metric]:,.{first.digits}f} {first.title}"
    return f"{scenario.name}, round {turn + 1}/{rounds}, {row}: {said}"
