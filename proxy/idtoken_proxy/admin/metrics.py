"""What the statistics counted, as families of metrics. Imported with the first scrape (exposition.py): nobody else pays for it.

No label takes a value that a caller could choose. A name ends in its unit; a counter in `_total`; and what has not
happened yet is 0 and not missing, where its labels are known beforehand.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from prometheus_client.core import (
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from idtoken_proxy import __version__
from idtoken_proxy.admin.families import PREFIX, Samples, by, counter, gauge
from idtoken_proxy.admin.status import StatusSource, connections_of, routers_of
from idtoken_proxy.admin.token_metrics import received_metrics, token_metrics
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.stats import BOUNDS, NO_ROUTE, RouteCounts, Stats, Trouble, UpstreamCounts
from idtoken_proxy.identity.cache import TokenSlot

_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")  # told from the start; the others once they occur
_LES: Final = tuple(str(bound) for bound in BOUNDS)
_HISTOGRAMS_A_TIME: Final = 16


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one generation and one moment, however long it takes to write it down. `octets`: received and sent, of routes with
    exchanges under way: theirs, and those of what had ended.
    """

    ready: bool
    routes: Mapping[str, RouteCounts]
    upstreams: Mapping[str, UpstreamCounts]
    routers: list[Router]
    slots: Mapping[str, TokenSlot]
    in_flight: Mapping[str, int]
    octets: Mapping[str, tuple[int, int]]
    troubles: tuple[Trouble, ...]
    refusals: tuple[Trouble, ...]
    failures: Mapping[tuple[str, ...], int]
    metadata: Mapping[tuple[str, str], int]


class ProxyCollector(Collector):
    """Reads; changes nothing. `look`, at what may change or grow; then `collect` or `parts`, which tell of that."""

    def __init__(self, server: StatusSource, wall: Callable[[], float]) -> None:
        self._server = server
        self._wall = wall
        self._seen: _Seen | None = None

    def look(self) -> None:
        """An exchange's octets are its own until it ends and its route's from then on. Counted while it ends they would be in
        both or in neither, and a counter that goes back is a restart for Prometheus: so they are counted here, together.
        Where nothing is under way a route's counts only grow, and may be read later.
        """
        context = self._server.context
        stats = context.stats
        routes = {**stats.routes, NO_ROUTE: stats.unrouted}
        in_flight: Counter[str] = Counter()
        octets: dict[str, tuple[int, int]] = {}
        for exchange in context.active_exchanges():
            name = NO_ROUTE if exchange.entry is None else exchange.entry.route.name
            if name in routes:
                in_flight[name] += 1
                received, sent = octets.get(name) or (routes[name].received, routes[name].sent)
                octets[name] = received + exchange.received, sent + exchange.sent
        self._seen = _Seen(
            self._server.ready,
            routes,
            dict(stats.upstreams),
            routers_of(context),
            self._server.slots,
            in_flight,
            octets,
            tuple(stats.troubles.values()),
            tuple(stats.upstream_refusals.values()),
            dict(stats.fetch_failures),
            self._server.metadata_requests(),
        )

    def collect(self) -> Iterator[Metric]:
        return (part for part in self.parts() if part is not None)

    def parts(self) -> Iterator[Metric | None]:
        """Families, those of many samples as several parts that follow each other; None is a rest. Each is soon made."""
        if self._seen is None:
            self.look()
        seen = self._seen
        assert seen is not None
        context = self._server.context
        stats = context.stats
        yield from gauge(
            "build_info",
            "Which build this is.",
            [((__version__, platform.python_version()), 1)],
            "version",
            "python",
        )
        yield from gauge(
            "ready", "Started, a valid token for every route, and not draining.", [((), seen.ready)]
        )
        yield from gauge("draining", "Shutting down: no request is begun any more.", [((), context.draining)])
        yield from _requests(seen)
        yield from _troubles(seen, stats)
        busy = sum(one.busy for one in (context, *context.beside))
        yield from gauge("connections", "Connections from apps, tunnels included.", [((), busy)])
        yield from gauge("connections_max", "limits.connections.", [((), context.max_connections)])
        yield from counter(
            "connections_accepted", "Connections from apps, refused ones included.", [((), stats.connections)]
        )
        yield from counter(
            "backpressure",
            "Times that one side was held back because the other read slower.",
            by(stats.held),
            "direction",
        )
        yield from _http2(stats)
        yield from _upstreams(seen)
        yield from token_metrics(seen.slots, stats, seen.failures, self._wall())
        yield from received_metrics(stats, self._server.key_sets())
        yield from counter(
            "metadata_requests",
            "Requests to the metadata server's face.",
            seen.metadata.items(),
            "what",
            "outcome",
        )
        yield from _reloads(stats)


def _requests(seen: _Seen) -> Iterator[Metric]:
    routes, octets = seen.routes, seen.octets
    yield from counter(
        "requests",
        "Exchanges that ended, by the class of the status that the app saw; none: it left before.",
        _statuses(routes),
        "route",
        "status",
    )
    yield from _histogram(routes)
    yield from gauge(
        "requests_in_flight",
        "Exchanges under way.",
        (((name,), seen.in_flight.get(name, 0)) for name in routes),
        "route",
    )
    yield from counter(
        "requests_abandoned",
        "Exchanges that the app left before their end.",
        (((name,), counts.abandoned) for name, counts in routes.items()),
        "route",
    )
    yield from counter(
        "received_bytes",
        "Octets of requests, as apps sent them.",
        (
            ((name,), octets[name][0] if name in octets else counts.received)
            for name, counts in routes.items()
        ),
        "route",
    )
    yield from counter(
        "sent_bytes",
        "Octets of answers, as apps were sent them.",
        (((name,), octets[name][1] if name in octets else counts.sent) for name, counts in routes.items()),
        "route",
    )
    yield from counter(
        "retries",
        "Second tries: on a fresh connection after the receiver had closed an idle one, or with a fresh token after "
        "Google's own 401.",
        (
            ((name, reason), count)
            for name, counts in routes.items()
            for reason, count in (("connection", counts.retries), ("token", counts.replays))
        ),
        "route",
        "reason",
    )
    yield from gauge(
        "tunnels",
        "WebSockets that are open.",
        (((name,), counts.tunnels) for name, counts in routes.items()),
        "route",
    )


def _statuses(routes: Mapping[str, RouteCounts]) -> Samples:
    for name, counts in routes.items():
        by_class = {
            f"{digit}xx" if digit else "none": count for digit, count in enumerate(counts.classes) if count
        }
        for status, count in (dict.fromkeys(_CLASSES, 0) | by_class).items():
            yield (name, status), count


def _upstreams(seen: _Seen) -> Iterator[Metric | None]:
    found: dict[str, tuple[int, int]] = {}
    for _ in connections_of(seen.routers, found):
        yield None
    yield from gauge(
        "upstream_connections", "Connections to receivers.", _states(seen, found), "upstream", "state"
    )
    yield from counter(
        "upstream_connections_opened",
        "Connections to receivers that came about.",
        (((origin,), counts.opened) for origin, counts in seen.upstreams.items()),
        "upstream",
    )
    yield from counter(
        "upstream_connections_reused",
        "Requests that found an idle connection.",
        (((origin,), counts.reused) for origin, counts in seen.upstreams.items()),
        "upstream",
    )


def _http2(stats: Stats) -> Iterator[Metric]:
    sides = (("app", (stats.http2,)), ("receiver", tuple(stats.upstreams.values())))
    resets: Counter[tuple[str, str, str]] = Counter()
    for side, all_of in sides:
        for counts in all_of:
            for (ended_by, code), count in counts.resets.items():
                resets[side, ended_by, _code(code)] += count
    yield from counter("streams", "Requests that came by HTTP/2.", [((), stats.streams)])
    yield from counter(
        "stream_resets",
        "Streams that did not come to their end, by whose side they are, who ended them (peer: RST_STREAM; fault: the proxy, "
        "for what the peer did; goaway; connection: it ended) and the code.",
        resets.items(),
        *("side", "by", "code"),
    )
    yield from counter(
        "goaways",
        "Connections whose peer said that it goes away.",
        [((side,), sum(counts.goaways for counts in all_of)) for side, all_of in sides],
        "side",
    )


def _code(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return "OTHER"


def _states(seen: _Seen, found: Mapping[str, tuple[int, int]]) -> Samples:
    for origin, counts in seen.upstreams.items():
        in_use, idle = found.get(origin, (0, 0))
        yield (origin, "in_use"), in_use
        yield (origin, "idle"), idle
        yield (origin, "connecting"), counts.connecting


def _troubles(seen: _Seen, stats: Stats) -> Iterator[Metric]:
    yield from counter(
        "errors",
        "What the proxy itself answered or broke off.",
        (((trouble.route, trouble.kind, trouble.cause), trouble.count) for trouble in seen.troubles),
        "route",
        "kind",
        "cause",
    )
    yield from counter(
        "upstream_refusals",
        "What Google refused in front of the receiver; the log and the status page have the remedy of each cause.",
        (((trouble.route, trouble.cause), trouble.count) for trouble in seen.refusals),
        "route",
        "cause",
    )
    yield from counter("guard_refusals", "Callers that the guard refused.", by(stats.refusals), "reason")
    yield from counter(
        "not_http",
        "Connections that sent something else than HTTP/1.1, by what it looks like.",
        by(stats.not_http),
        "looks_like",
    )
    yield from gauge(
        "kept_body_bytes",
        "Request bodies that are kept until their answers' heads come.",
        [((), stats.bodies.octets)],
    )
    yield from counter("limit_hits", "Times that a limit was hit.", by(stats.limits), "limit")


def _reloads(stats: Stats) -> Iterator[Metric]:
    last = stats.last_reload
    yield from counter("reloads", "Attempts to take over new settings.", by(stats.reloads), "outcome")
    yield from gauge(
        "last_reload_successful",
        "Whether the newest settings are in force.",
        [((), last is None or last.refused is None)],
    )
    yield from gauge(
        "settings_timestamp_seconds", "When the settings in force were taken over.", [((), stats.reloaded_at)]
    )


def _histogram(routes: Mapping[str, RouteCounts]) -> Iterator[Metric]:
    """Routes without a request have none: it is seventeen lines for each."""
    left = iter(routes.items())
    while some := list(islice(left, _HISTOGRAMS_A_TIME)):
        family = HistogramMetricFamily(
            f"{PREFIX}request_duration_seconds",
            "Whole exchanges: from a request's head to the end of its answer, or to a tunnel's begin.",
            labels=("route",),
        )
        for name, counts in some:
            buckets = []
            total = 0
            for le, count in zip((*_LES, "+Inf"), list(counts.buckets), strict=True):
                total += count
                buckets.append((le, total))
            if total:
                family.add_metric((name,), buckets, counts.seconds)
        yield family
