"""Metrics of tokens: of those that are fetched, and of those that callers bring to listeners before apps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric, SummaryMetricFamily

from idtoken_proxy.admin.families import PREFIX, Sample, counter, gauge
from idtoken_proxy.admin.status import KeysObserved
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.settings.model import asked_for


def token_metrics(
    slots: Mapping[str, TokenSlot], stats: Stats, failures: Mapping[tuple[str, ...], int], now: float
) -> Iterator[Metric]:
    """Of tokens that are fetched. `slots`: by route name. `now`: Unix seconds."""
    statuses = ((name, slot.status()) for name, slot in slots.items())
    yield from gauge(
        "token_expires_in_seconds",
        "Life that is left to a route's token; 0 where there is none, less than 0 where it has expired.",
        (
            ((name, asked_for(status.wanted)), 0.0 if status.expires_at is None else status.expires_at - now)
            for name, status in statuses
        ),
        "route",
        "audience",
    )
    statuses = ((name, slot.status()) for name, slot in slots.items())
    yield from gauge(
        "token_valid",
        "Whether a route has a token that may be sent.",
        (((name, asked_for(status.wanted)), status.valid) for name, status in statuses),
        "route",
        "audience",
    )
    sources = dict(stats.fetches)
    fetches: list[Sample] = []
    duration = SummaryMetricFamily(
        f"{PREFIX}token_fetch_duration_seconds", "How long token sources took.", labels=("source",)
    )
    for source, had in sources.items():
        fetches += [
            ((source, "fresh"), had.fresh),
            ((source, "unchanged"), had.unchanged),
            ((source, "failed"), had.failed),
        ]
        duration.add_metric((source,), had.fresh + had.unchanged + had.failed, had.seconds)
    yield from counter(
        "token_fetches",
        "Answers of token sources; unchanged: the same token as before.",
        fetches,
        "source",
        "outcome",
    )
    yield duration
    yield from counter(
        "token_refresh_failures",
        "Fetches that failed; a token that is still valid goes on being used.",
        failures.items(),
        "source",
        "audience",
        "cause",
    )


def received_metrics(stats: Stats, key_sets: Iterable[KeysObserved]) -> Iterator[Metric]:
    """Of tokens that are checked."""
    received: list[Sample] = []
    for listener, counts in stats.received.items():
        received += [((listener, "admitted", ""), counts.admitted), ((listener, "public", ""), counts.public)]
        received += [((listener, "refused", cause), count) for cause, count in counts.refused.items()]
    yield from counter(
        "received",
        "Requests to listeners before apps: admitted, public, or refused, and then why.",
        received,
        *("route", "outcome", "cause"),
    )
    listed = list(key_sets)
    yield from gauge(
        "issuer_keys",
        "Keys of an issuer that tokens are checked with; 0: all of them are refused.",
        [((keys.issuer,), len(keys)) for keys in listed],
        "issuer",
    )
    yield from counter(
        "issuer_key_fetches",
        "Fetches of an issuer's keys.",
        [((keys.issuer, outcome), count) for keys in listed for outcome, count in keys.fetches.items()],
        *("issuer", "outcome"),
    )
