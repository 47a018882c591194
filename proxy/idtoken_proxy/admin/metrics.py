"""/metrics: what the tally counted, as Prometheus reads it. Imported with the first scrape: nobody else pays for it.

No label takes a value that a caller could choose. A name ends in its unit; a counter in `_total`; and what has not
happened yet is 0 and not missing, where its labels are known beforehand.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import time
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from idtoken_proxy import __version__
from idtoken_proxy.admin.status import Observed, connections_of
from idtoken_proxy.engine.tally import BOUNDS, NO_ROUTE, RouteCounts, Tally

PREFIX: Final = "idtoken_proxy_"
_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")  # told from the start; the others once they occur
_LES: Final = tuple(str(bound) for bound in BOUNDS)


class Exposition:
    """`wall`: Unix seconds."""

    def __init__(self, server: Observed, wall: Callable[[], float] = time) -> None:
        self._server = server
        self._registry = CollectorRegistry()
        self._collector = ProxyCollector(server, wall)
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type. In a thread: a thousand routes take longer than a request should have to wait."""
        self._collector.look()
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, self._registry), content_type


@dataclass(frozen=True, slots=True)
class _Traffic:
    """By route: exchanges under way; and octets, theirs and those of what has ended."""

    in_flight: Counter[str]
    received: Counter[str]
    sent: Counter[str]


class ProxyCollector(Collector):
    """Reads; changes nothing. Whatever may grow meanwhile is copied first. `look` is for the event loop, before each
    `collect`, which is for any thread.
    """

    def __init__(self, server: Observed, wall: Callable[[], float]) -> None:
        self._server = server
        self._wall = wall
        self._ready = False
        self._traffic = _Traffic(Counter(), Counter(), Counter())

    def look(self) -> None:
        """At what the event loop alone may look at: readiness, which may start a fetch; and an exchange's octets, which
        are its own until it ends and its route's from then on. Counted while it ends they would be in both or in
        neither, and a counter that goes back is a restart for Prometheus.
        """
        self._ready = self._server.ready
        front = self._server.front
        routes = {**front.tally.routes, NO_ROUTE: front.tally.unrouted}
        in_flight: Counter[str] = Counter()
        received: Counter[str] = Counter({name: counts.received for name, counts in routes.items()})
        sent: Counter[str] = Counter({name: counts.sent for name, counts in routes.items()})
        for exchange in front.under_way():
            name = NO_ROUTE if exchange.lane is None else exchange.lane.route.name
            if name in routes:
                in_flight[name] += 1
                received[name] += exchange.received
                sent[name] += exchange.sent
        self._traffic = _Traffic(in_flight, received, sent)

    def describe(self) -> Iterable[Metric]:
        return ()  # else it would be collected once before anyone asks

    def collect(self) -> Iterator[Metric]:
        front = self._server.front
        tally = front.tally
        yield _gauge(
            "build_info",
            "Which build this is.",
            {(__version__, platform.python_version()): 1},
            "version",
            "python",
        )
        yield _gauge("ready", "Started, a valid token for every route, and not draining.", {(): self._ready})
        yield _gauge("draining", "Shutting down: no request is begun any more.", {(): front.draining})
        yield from self._requests(tally)
        yield from _troubles(tally)
        yield _gauge("connections", "Connections from apps, tunnels included.", {(): front.busy})
        yield _gauge("connections_max", "limits.connections.", {(): front.max_connections})
        yield _counter(
            "connections_accepted", "Connections from apps, refused ones included.", {(): tally.connections}
        )
        yield _counter(
            "backpressure",
            "Times that one side was held back because the other read slower.",
            {(direction,): count for direction, count in tally.held.items()},
            "direction",
        )
        yield from self._upstreams(tally)
        yield from self._tokens(tally)
        yield from _reloads(tally)

    def _requests(self, tally: Tally) -> Iterator[Metric]:
        traffic = self._traffic
        routes = {**tally.routes, NO_ROUTE: tally.unrouted}
        requests: dict[tuple[str, ...], float] = {}
        for name, counts in routes.items():
            by_class = {
                f"{digit}xx" if digit else "none": count
                for digit, count in enumerate(counts.classes)
                if count
            }
            for status, count in (dict.fromkeys(_CLASSES, 0) | by_class).items():
                requests[name, status] = count
        yield _counter(
            "requests",
            "Exchanges that ended, by the class of the status that the app saw; none: it left before.",
            requests,
            "route",
            "status",
        )
        yield _histogram(routes)
        yield _gauge(
            "requests_in_flight",
            "Exchanges under way.",
            {(name,): traffic.in_flight[name] for name in traffic.sent},
            "route",
        )
        yield _counter(
            "requests_abandoned",
            "Exchanges that the app left before their end.",
            {(name,): counts.abandoned for name, counts in routes.items()},
            "route",
        )
        yield _counter(
            "received_bytes", "Octets of requests, as apps sent them.", _by(traffic.received), "route"
        )
        yield _counter("sent_bytes", "Octets of answers, as apps were sent them.", _by(traffic.sent), "route")
        retries: dict[tuple[str, ...], float] = {}
        for name, counts in routes.items():
            retries[name, "connection"] = counts.retries
            retries[name, "token"] = counts.replays
        yield _counter(
            "retries",
            "Second tries: on a fresh connection after the receiver had closed an idle one, or with a fresh token after "
            "Google's own 401.",
            retries,
            "route",
            "reason",
        )
        yield _gauge(
            "tunnels",
            "WebSockets that are open.",
            {(name,): counts.tunnels for name, counts in routes.items()},
            "route",
        )

    def _upstreams(self, tally: Tally) -> Iterator[Metric]:
        states: dict[tuple[str, ...], float] = {}
        for origin, (in_use, idle) in connections_of(self._server.front).items():
            states[origin, "in_use"] = in_use
            states[origin, "idle"] = idle
        upstreams = dict(tally.upstreams)
        for origin, counts in upstreams.items():
            states[origin, "connecting"] = counts.connecting
        yield _gauge("upstream_connections", "Connections to receivers.", states, "upstream", "state")
        yield _counter(
            "upstream_connections_opened",
            "Connections to receivers that came about.",
            {(origin,): counts.opened for origin, counts in upstreams.items()},
            "upstream",
        )
        yield _counter(
            "upstream_connections_reused",
            "Requests that found an idle connection.",
            {(origin,): counts.reused for origin, counts in upstreams.items()},
            "upstream",
        )

    def _tokens(self, tally: Tally) -> Iterator[Metric]:
        now = self._wall()
        left: dict[tuple[str, ...], float] = {}
        valid: dict[tuple[str, ...], float] = {}
        for name, slot in self._server.slots.items():
            status = slot.status()
            left[name, status.audience] = 0.0 if status.expires_at is None else status.expires_at - now
            valid[name, status.audience] = status.valid
        yield _gauge(
            "token_expires_in_seconds",
            "Life that is left to a route's token; 0 where there is none, less than 0 where it has expired.",
            left,
            "route",
            "audience",
        )
        yield _gauge(
            "token_valid", "Whether a route has a token that may be sent.", valid, "route", "audience"
        )
        sources = dict(tally.fetches)
        fetches: dict[tuple[str, ...], float] = {}
        duration = SummaryMetricFamily(
            f"{PREFIX}token_fetch_duration_seconds", "How long token sources took.", labels=("source",)
        )
        for source, seen in sources.items():
            fetches[source, "fresh"] = seen.fresh
            fetches[source, "unchanged"] = seen.unchanged
            fetches[source, "failed"] = seen.failed
            duration.add_metric((source,), seen.fresh + seen.unchanged + seen.failed, seen.seconds)
        yield _counter(
            "token_fetches",
            "Answers of token sources; unchanged: the same token as before.",
            fetches,
            "source",
            "outcome",
        )
        yield duration
        yield _counter(
            "token_refresh_failures",
            "Fetches that failed; a token that is still valid goes on being used.",
            dict(tally.fetch_failures),
            "source",
            "audience",
            "cause",
        )


def _troubles(tally: Tally) -> Iterator[Metric]:
    yield _counter(
        "errors",
        "What the proxy itself answered or broke off.",
        {key: trouble.count for key, trouble in list(tally.troubles.items())},
        "route",
        "kind",
        "cause",
    )
    yield _counter(
        "upstream_refusals",
        "What Google refused in front of the receiver; the log and the status page have the remedy of each cause.",
        {key: trouble.count for key, trouble in list(tally.upstream_refusals.items())},
        "route",
        "cause",
    )
    yield _counter("guard_refusals", "Callers that the guard refused.", _by(dict(tally.refusals)), "reason")
    yield _counter(
        "not_http",
        "Connections that sent something else than HTTP/1.1, by what it looks like.",
        _by(dict(tally.not_http)),
        "looks_like",
    )
    yield _gauge(
        "kept_body_bytes",
        "Request bodies that are kept until their answers' heads come.",
        {(): tally.bodies.octets},
    )
    yield _counter("limit_hits", "Times that a limit was hit.", _by(dict(tally.limits)), "limit")


def _reloads(tally: Tally) -> Iterator[Metric]:
    last = tally.last_reload
    yield _counter("reloads", "Attempts to take over new settings.", _by(tally.reloads), "outcome")
    yield _gauge(
        "last_reload_successful",
        "Whether the newest settings are in force.",
        {(): last is None or last.refused is None},
    )
    yield _gauge(
        "settings_timestamp_seconds", "When the settings in force were taken over.", {(): tally.reloaded_at}
    )


def _histogram(routes: Mapping[str, RouteCounts]) -> Metric:
    """Routes without a request have none: it is seventeen lines for each."""
    family = HistogramMetricFamily(
        f"{PREFIX}request_duration_seconds",
        "Whole exchanges: from a request's head to the end of its answer, or to a tunnel's begin.",
        labels=("route",),
    )
    for name, counts in routes.items():
        buckets = []
        total = 0
        for le, count in zip((*_LES, "+Inf"), list(counts.buckets), strict=True):
            total += count
            buckets.append((le, total))
        if total:
            family.add_metric((name,), buckets, counts.seconds)
    return family


Samples = Mapping[tuple[str, ...], float]


def _by(counts: Mapping[str, float]) -> Samples:
    return {(name,): count for name, count in counts.items()}


def _counter(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, float(value))
    return family
