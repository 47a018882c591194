"""The status page at `/`, and the /api/status that feeds it.

One self-contained file: it loads nothing from anywhere, and its Content-Security-Policy names its own style and script
by their hashes and nothing else. What it shows, it sets as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from time import time
from typing import Any, Final, Protocol

from idtoken_proxy import __version__
from idtoken_proxy.build import BUILD
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import BOUNDS, LIMITS, NO_ROUTE, RouteCounts, Stats, Trouble, UpstreamCounts
from idtoken_proxy.identity.cache import TokenSlot

MOST_ERRORS: Final = 20
_AT_A_TIME: Final = 64  # routes, or receivers
_PAGE: Final = Path(__file__).with_name("status.html")
_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


class KeysObserved(Protocol):
    """An issuer's, whose tokens are received. `fetches`: by outcome."""

    issuer: str
    fetches: dict[str, int]

    def __len__(self) -> int: ...


class StatusSource(Protocol):
    """What the operator may look at."""

    @property
    def ready(self) -> bool: ...

    @property
    def context(self) -> ServerContext: ...

    @property
    def slots(self) -> Mapping[str, TokenSlot]:
        """By route name."""

    def key_sets(self) -> Iterable[KeysObserved]:
        """Of every issuer that is listed."""

    def metadata_requests(self) -> Mapping[tuple[str, str], int]:
        """Of the metadata server's face, by what was asked for and what became of it."""

    def status(self) -> dict[str, Any]:
        """All but the routes; JSON-ready, nothing secret."""

    def route_statuses(self) -> Iterator[dict[str, Any]]:
        """Alike, one by one, of those that are there at the call."""


def page() -> tuple[str, dict[str, str]]:
    """The page and its headers. Blocks."""
    text = _PAGE.read_text(encoding="utf-8")
    hashes = {kind: _source(content) for kind, content in _INLINE.findall(text)}
    policy = (
        "default-src 'none'",
        f"style-src {hashes['style']}",
        f"script-src {hashes['script']}",
        "connect-src 'self'",
        "img-src data:",  # its icon
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return text, {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }


def _source(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def report(server: StatusSource, wall: Callable[[], float] = time) -> dict[str, Any]:
    """What /api/status tells: the server's own status, and what has been counted since its start."""
    told: dict[str, Any] = json.loads("".join(pieces(server, wall)))
    return told


def pieces(server: StatusSource, wall: Callable[[], float] = time) -> Iterator[str]:
    """The report's JSON, piece by piece: ten thousand routes take longer than a request should have to wait, and between
    two pieces the event loop may be somebody else's.
    """
    stats = server.context.stats
    in_flight = Counter(
        NO_ROUTE if exchange.entry is None else exchange.entry.route.name
        for exchange in server.context.active_exchanges()
    )
    # All of the generation that is there now: a reload may come in between.
    counts, upstreams, refused = dict(stats.routes), dict(stats.upstreams), _last_refusals(stats)
    routers, routes = routers_of(server.context), iter(server.route_statuses())
    yield json.dumps(_whole(server, wall, in_flight[NO_ROUTE]))[:-1] + ', "upstreams": ['
    found: dict[str, tuple[int, int]] = {}
    for _ in connections_of(routers, found):
        yield ""
    yield from _listed(
        _upstream(origin, connections, upstreams.get(origin) or UpstreamCounts())
        for origin, connections in found.items()
    )
    yield '], "routes": ['
    yield from _listed(
        {
            **route,
            "traffic": _traffic(counts.get(route["name"]) or RouteCounts(), in_flight[route["name"]]),
            "refused": _refused(route["name"], refused, counts),
        }
        for route in routes
    )
    yield "]}"


def _listed(items: Iterable[dict[str, Any]]) -> Iterator[str]:
    left, before = iter(items), ""
    while some := list(islice(left, _AT_A_TIME)):
        yield before + ", ".join(map(json.dumps, some))
        before = ", "


def _whole(server: StatusSource, wall: Callable[[], float], unrouted: int) -> dict[str, Any]:
    """All but the routes and the receivers, which may be many."""
    context = server.context
    stats = context.stats
    last = stats.last_reload
    return {
        "version": __version__,
        "build": BUILD,
        "now": wall(),
        "started_at": stats.started_at,
        **server.status(),
        "unrouted": _traffic(stats.unrouted, unrouted),
        "bounds": BOUNDS,
        "connections_max": context.max_connections,
        "errors": [
            _error(trouble)
            for trouble in sorted(
                (*stats.troubles.values(), *stats.upstream_refusals.values()),
                key=lambda one: one.at,
                reverse=True,
            )[:MOST_ERRORS]
        ],
        "refusals": stats.refusals,
        "limits": {
            name: {"hits": hits, "set_by": LIMITS.get(name)} for name, hits in stats.limits.items() if hits
        },
        "reloads": {
            **stats.reloads,
            "settings_since": stats.reloaded_at,
            "last": last and {"at": last.at, "refused": last.refused},
        },
    }


def routers_of(context: ServerContext) -> list[Router]:
    return [one.router for one in (context, *context.beside)]


def connections_of(routers: Iterable[Router], found: dict[str, tuple[int, int]]) -> Iterator[None]:
    """Into `found`, by a receiver's origin: connections in use, and idle ones. In pieces. A service's that a request has named
    are counted as its pattern's, for an origin is a label.
    """
    pools: dict[Pool, str] = {}
    for router in routers:
        pools |= {entry.pool: "" for entry in router.entries} | router.service_pools()
    for number, (pool, counted_as) in enumerate(pools.items()):
        if number % _AT_A_TIME == 0:
            yield
        origin = counted_as or pool.upstream.origin
        in_use, idle = found.get(origin, (0, 0))
        found[origin] = (in_use + pool.live - pool.idle, idle + pool.idle)


def _upstream(origin: str, connections: tuple[int, int], counts: UpstreamCounts) -> dict[str, Any]:
    in_use, idle = connections
    return {
        "origin": origin,
        "in_use": in_use,
        "idle": idle,
        "connecting": counts.connecting,
        "opened": counts.opened,
        "reused": counts.reused,
    }


def _traffic(counts: RouteCounts, in_flight: int) -> dict[str, Any]:
    """`latency`: how many exchanges took how long, by the `bounds` of the whole; the last is for what took longer."""
    return {
        "requests": sum(counts.classes),
        "classes": {
            f"{digit}xx" if digit else "none": count for digit, count in enumerate(counts.classes) if count
        },
        "latency": counts.buckets,
        "in_flight": in_flight,
        "tunnels": counts.tunnels,
        "received": counts.received,
        "sent": counts.sent,
        "abandoned": counts.abandoned,
    }


def _last_refusals(stats: Stats) -> dict[str, Trouble]:
    """Google's, by route."""
    last: dict[str, Trouble] = {}
    for trouble in stats.upstream_refusals.values():
        if trouble.route not in last or trouble.at >= last[trouble.route].at:
            last[trouble.route] = trouble
    return last


def _refused(
    name: str, last: Mapping[str, Trouble], counts: Mapping[str, RouteCounts]
) -> dict[str, Any] | None:
    """`standing`: nothing has gone well on the route since."""
    trouble = last.get(name)
    if trouble is None:
        return None
    passed = counts[name].passed if name in counts else 0
    return {**_error(trouble), "standing": passed == trouble.passed}


def _error(trouble: Trouble) -> dict[str, Any]:
    return {
        "route": None if trouble.route == NO_ROUTE else trouble.route,
        "kind": trouble.kind,
        "cause": trouble.cause,
        "count": trouble.count,
        "at": trouble.at,
        "status": trouble.status,
        "fault": trouble.fault,
        "detail": trouble.detail,
        "remedy": trouble.remedy,
    }
