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
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from time import time
from typing import Any, Final, Protocol

from idtoken_proxy import __version__
from idtoken_proxy.admin.way_there import way_there
from idtoken_proxy.engine.front import Front
from idtoken_proxy.engine.tally import BOUNDS, LIMITS, NO_ROUTE, RouteCounts, Tally, Trouble
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.settings.model import Route

MOST_ERRORS: Final = 20
_ON_THE_WAY: Final = frozenset(
    {"connect_failed", "tls_failed", "broken_off", "malformed_response", "upstream_timeout"}
)
_ROUTES_A_PIECE: Final = 64
_PAGE: Final = Path(__file__).with_name("status.html")
_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


class Observed(Protocol):
    """What the operator may look at."""

    @property
    def ready(self) -> bool: ...

    @property
    def front(self) -> Front: ...

    @property
    def slots(self) -> Mapping[str, TokenSlot]:
        """By route name."""

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


def report(server: Observed, wall: Callable[[], float] = time) -> dict[str, Any]:
    """What /api/status tells: the server's own status, and what has been counted since its start."""
    told: dict[str, Any] = json.loads("".join(pieces(server, wall)))
    return told


def pieces(server: Observed, wall: Callable[[], float] = time) -> Iterator[str]:
    """The report's JSON, piece by piece: ten thousand routes take longer than a request should have to wait, and between
    two pieces the event loop may be somebody else's.
    """
    tally = server.front.tally
    in_flight = Counter(
        NO_ROUTE if exchange.lane is None else exchange.lane.route.name
        for exchange in server.front.under_way()
    )
    refused = _refused_now(tally)
    whole, routes = _whole(server, wall, in_flight[NO_ROUTE]), iter(server.route_statuses())
    yield json.dumps(whole)[:-1] + ', "routes": ['
    before = ""
    while some := list(islice(routes, _ROUTES_A_PIECE)):
        yield before + ", ".join(
            json.dumps(
                {
                    **route,
                    "traffic": _traffic(tally.route(route["name"]), in_flight[route["name"]]),
                    "refused": refused.get(route["name"]),
                }
            )
            for route in some
        )
        before = ", "
    yield "]}"


def _whole(server: Observed, wall: Callable[[], float], unrouted: int) -> dict[str, Any]:
    """All but the routes."""
    front = server.front
    tally = front.tally
    routes = {lane.route.name: lane.route for lane in front.gateway.lanes}
    last = tally.last_reload
    return {
        "version": __version__,
        "now": wall(),
        "started_at": tally.started_at,
        **server.status(),
        "unrouted": _traffic(tally.unrouted, unrouted),
        "bounds": BOUNDS,
        "connections_max": front.max_connections,
        "upstreams": [
            {
                "origin": origin,
                "in_use": in_use,
                "idle": idle,
                "connecting": tally.upstream(origin).connecting,
                "opened": tally.upstream(origin).opened,
                "reused": tally.upstream(origin).reused,
            }
            for origin, (in_use, idle) in connections_of(front).items()
        ],
        "errors": [
            _error(trouble, routes)
            for trouble in sorted(
                (*tally.troubles.values(), *tally.upstream_refusals.values()),
                key=lambda one: one.at,
                reverse=True,
            )[:MOST_ERRORS]
        ],
        "refusals": tally.refusals,
        "limits": {
            name: {"hits": hits, "set_by": LIMITS.get(name)} for name, hits in tally.limits.items() if hits
        },
        "reloads": {
            **tally.reloads,
            "settings_since": tally.reloaded_at,
            "last": last and {"at": last.at, "refused": last.refused},
        },
    }


def connections_of(front: Front) -> dict[str, tuple[int, int]]:
    """By a receiver's origin: connections in use, and idle ones."""
    found: dict[str, tuple[int, int]] = {}
    for pool in {lane.pool: None for lane in front.gateway.lanes}:
        in_use, idle = found.get(pool.upstream.origin, (0, 0))
        found[pool.upstream.origin] = (in_use + pool.live - pool.idle, idle + pool.idle)
    return found


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


def _refused_now(tally: Tally) -> dict[str, dict[str, Any]]:
    """By route, Google's last refusal. `standing`: nothing has gone well on the route since."""
    last: dict[str, Trouble] = {}
    for trouble in tally.upstream_refusals.values():
        if trouble.route not in last or trouble.at >= last[trouble.route].at:
            last[trouble.route] = trouble
    return {
        name: {**_error(trouble), "standing": tally.route(name).passed == trouble.passed}
        for name, trouble in last.items()
    }


def _error(trouble: Trouble, routes: Mapping[str, Route] | None = None) -> dict[str, Any]:
    """`routes`: by name, for the remedy of what the data path knows none of."""
    remedy = trouble.remedy
    route = (routes or {}).get(trouble.route)
    if remedy is None and route is not None and trouble.kind in _ON_THE_WAY:
        remedy = way_there(trouble.cause, route)
    return {
        "route": None if trouble.route == NO_ROUTE else trouble.route,
        "kind": trouble.kind,
        "cause": trouble.cause,
        "count": trouble.count,
        "at": trouble.at,
        "status": trouble.status,
        "fault": trouble.fault,
        "detail": trouble.detail,
        "remedy": remedy,
    }
