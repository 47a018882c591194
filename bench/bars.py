"""The bars that the project sets itself, as data, and the verdict on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.stats import Samples, Summary, metric, ratio

OURS = "idtoken-proxy"
COMPILED = "compiled"  # the same, its hot modules compiled
PGO = "pgo"  # and on a CPython that was built with profile-guided optimisation
COMPILED_PGO = "compiled-pgo"
BUILDS = (OURS, "baseline", COMPILED, PGO, COMPILED_PGO)
ROUTES = 1000
ONE_ROUTE = "one prefixed route"
MANY_ROUTES = f"{ROUTES:,} routes"
FEW_CONNECTIONS = 50
MANY_CONNECTIONS = 5000
TWO = 2


def row(target: str, label: str) -> str:
    """As a row of a scenario with variants is named."""
    return f"{target}, {label}" if label else target


def connections(count: int) -> str:
    return f"{count:,} connections"


def instances(count: int) -> str:
    return f"{count} instance{'s' if count > 1 else ''}"


@dataclass(frozen=True)
class Bar:
    what: str
    scenario: str
    metric: str
    sense: Literal["at least", "at most"]
    bound: float
    peer: str | None = None  # the bar is on ours / peer; None: on the figure itself
    ours: str = OURS
    unit: str = ""


BARS = (
    Bar("requests per core, http", "http", "rps", "at least", 1.3, "envoy"),
    Bar("requests per core, https", "https", "rps", "at least", 1.3, "envoy"),
    Bar("requests per core, http", "http", "rps", "at least", 2.5, "cloud-run-proxy"),
    Bar("requests per core, https", "https", "rps", "at least", 5.0, "cloud-run-proxy"),
    Bar("requests per core, http", "http", "rps", "at least", 0.6, "nginx"),
    Bar("requests per core, https", "https", "rps", "at least", 0.6, "nginx"),
    Bar("requests per core, tokens checked before an app", "receive", "rps", "at least", 1.3, "envoy"),
    Bar("p50 at one connection, http", "http-1", "p50", "at most", 0.75, "envoy"),
    Bar("p50 at one connection, https", "https-1", "p50", "at most", 0.75, "envoy"),
    Bar("8 MiB download, http", "download-http", "mb_s", "at least", 0.6, "envoy"),
    Bar("8 MiB download, https", "download-https", "mb_s", "at least", 0.6, "envoy"),
    Bar("8 MiB upload, http", "upload-http", "mb_s", "at least", 0.6, "envoy"),
    Bar("8 MiB upload, https", "upload-https", "mb_s", "at least", 0.6, "envoy"),
    Bar("CPU of a call, multiplexed, h2c", "h2c", "cpu", "at most", 0.5, "envoy"),
    Bar("CPU of a call, multiplexed, h2", "h2", "cpu", "at most", 0.5, "envoy"),
    Bar("CPU of a call, no two heads alike, h2c", "h2c-unique", "cpu", "at most", 0.75, "envoy"),
    Bar(
        "CPU of a call, one after the other on one connection, h2c",
        "h2c-1x1",
        "cpu",
        "at most",
        0.65,
        "envoy",
    ),
    Bar("CPU of a call, one after the other on fifty, h2c", "h2c-50x1", "cpu", "at most", 0.65, "envoy"),
    Bar("CPU of an 8 MiB download, h2c", "download-h2c", "cpu", "at most", 1.1, "envoy"),
    Bar("CPU of an 8 MiB upload, h2c", "upload-h2c", "cpu", "at most", 1.1, "envoy"),
    Bar("CPU of an 8 MiB download, h2", "download-h2", "cpu", "at most", 1.1, "envoy"),
    Bar("CPU of an 8 MiB upload, h2", "upload-h2", "cpu", "at most", 1.1, "envoy"),
    Bar("compiled: CPU of a request, http", "http", "cpu", "at most", 1.15, "nginx", COMPILED),
    Bar("compiled: CPU of a request, https", "https", "cpu", "at most", 1.15, "nginx", COMPILED),
    Bar("compiled: CPU of a request, http", "http", "cpu", "at most", 0.55, "envoy", COMPILED),
    Bar("compiled: CPU of a request, https", "https", "cpu", "at most", 0.62, "envoy", COMPILED),
    Bar("compiled: CPU of a call, multiplexed, h2c", "h2c", "cpu", "at most", 0.4, "envoy", COMPILED),
    Bar("compiled: CPU of a call, multiplexed, h2", "h2", "cpu", "at most", 0.4, "envoy", COMPILED),
    Bar(
        "compiled: CPU of a call, no two heads alike, h2c",
        "h2c-unique",
        "cpu",
        "at most",
        0.75,
        "envoy",
        COMPILED,
    ),
    Bar(
        "compiled: CPU of a call, one after the other on one connection, h2c",
        *("h2c-1x1", "cpu", "at most", 0.65, "envoy", COMPILED),
    ),
    Bar(
        "compiled: CPU of a call, one after the other on fifty, h2c",
        *("h2c-50x1", "cpu", "at most", 0.65, "envoy", COMPILED),
    ),
    Bar("compiled: CPU of an 8 MiB download, h2c", "download-h2c", "cpu", "at most", 1.1, "envoy", COMPILED),
    Bar("compiled: CPU of an 8 MiB upload, h2c", "upload-h2c", "cpu", "at most", 1.1, "envoy", COMPILED),
    *(
        bar
        for ours in (OURS, COMPILED)
        for bar in (
            Bar(
                f"{ours}: requests per core, 1,000 routes against one prefixed",
                *("routes", "rps", "at least", 0.98, row(ours, ONE_ROUTE), row(ours, MANY_ROUTES)),
                unit="x one route",
            ),
            Bar(
                f"{ours}: CPU of a request, 5,000 connections against fifty",
                *("connections", "cpu", "at most", 1.4),
                row(ours, connections(FEW_CONNECTIONS)),
                row(ours, connections(MANY_CONNECTIONS)),
                unit="x fifty",
            ),
            Bar(
                f"{ours}: CPU of a request, two instances against one",
                *("instances", "cpu", "at most", 1.1, row(ours, instances(1)), row(ours, instances(TWO))),
                unit="x one instance",
            ),
            Bar(
                f"{ours}: requests/s of two instances, on the same cores as everything else",
                *("instances", "rps", "at least", 1, row("envoy", instances(TWO)), row(ours, instances(TWO))),
            ),
        )
    ),
    Bar(
        "compiled: p50 at one connection, all on one core, http",
        *("http-1-core", "p50", "at most", 1.1, "nginx", COMPILED),
    ),
    Bar("compiled, with PGO: CPU of a request, http", "http", "cpu", "at most", 1.12, "nginx", COMPILED_PGO),
    Bar(
        "compiled, with PGO: CPU of a request, https", "https", "cpu", "at most", 1.12, "nginx", COMPILED_PGO
    ),
    Bar("first answer after start", "startup", "first", "at most", 500, unit="ms"),
    Bar("resident memory, idle", "memory", "idle", "at most", 60, unit="MB"),
    Bar("resident memory, each idle connection", "memory", "connection", "at most", 12, unit="KB"),
    Bar("growth while a reader stalls", "stall", "growth", "at most", 1, unit="MiB"),
)


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    measured: Summary | None

    @property
    def margin(self) -> float | None:
        """How far on the good side of the bar, as a share of it; below zero: failed."""
        if self.measured is None:
            return None
        share = self.measured.median / self.bar.bound
        return share - 1 if self.bar.sense == "at least" else 1 - share


def judge(results: Mapping[str, Samples], bars: tuple[Bar, ...] = BARS) -> list[Verdict]:
    """`results` by scenario. A bar whose scenario or peer is missing has nothing measured."""
    verdicts = []
    for bar in bars:
        samples = results.get(bar.scenario, {})
        if bar.peer is None:
            measured = metric(samples, bar.ours, bar.metric)
        else:
            measured = ratio(samples, bar.ours, bar.peer, bar.metric)
        verdicts.append(Verdict(bar, measured))
    return verdicts
