"""Families of metrics in parts that are soon made: between two of them the event loop may be somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX: Final = "idtoken_proxy_"
_AT_A_TIME: Final = 256  # samples: two or three milliseconds

Sample: TypeAlias = tuple[tuple[str, ...], float]
Samples: TypeAlias = Iterable[Sample]


def by(counts: Mapping[str, float]) -> Samples:
    return [((name,), count) for name, count in counts.items()]


def counter(name: str, text: str, samples: Samples, *labels: str) -> Iterator[Metric]:
    for some in _at_a_time(samples):
        family = CounterMetricFamily(PREFIX + name, text, labels=labels)
        for values, value in some:
            family.add_metric(values, value)
        yield family


def gauge(name: str, text: str, samples: Samples, *labels: str) -> Iterator[Metric]:
    for some in _at_a_time(samples):
        family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
        for values, value in some:
            family.add_metric(values, float(value))
        yield family


def _at_a_time(samples: Samples) -> Iterator[list[Sample]]:
    """At least once: a family without a sample is told of too."""
    left = iter(samples)
    some = list(islice(left, _AT_A_TIME))
    yield some
    while some := list(islice(left, _AT_A_TIME)):
        yield some
