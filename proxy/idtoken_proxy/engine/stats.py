"""What happened so far, in plain ints: counted where it happens, read by the admin listener (metrics, status page).

Everything that a request touches is made beforehand, one object a route (RouteEntry.counts) and one an origin (Pool.counts),
and lives on over reloads. No name here is one that a caller could choose: routes, origins and audiences are the
configuration's, kinds and causes are the code's.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic, time
from typing import Final, Generic, Protocol, TypeVar

from idtoken_proxy.engine.kept_body import KeptBodies
from idtoken_proxy.engine.receipts import ReceivedCounts
from idtoken_proxy.engine.states import BROKEN, DONE, WAITING
from idtoken_proxy.errors import (
    Fault,
    KeysUnavailable,
    NotHttp,
    NotInvoker,
    ProxyError,
    Refused,
    TokenError,
    Unauthenticated,
)
from idtoken_proxy.identity.diagnosis import Diagnosis
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.settings.model import Route

# Upper bounds of the latency buckets, seconds: a cached answer next door up to timeouts.response's default.
BOUNDS: Final[tuple[float, ...]] = (  # of any length: as many unboxed floats would be boxed at each use
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
REFUSED_BY_GOOGLE: Final = "refused_by_google"
_CODES: Final = 0xE  # RFC 9113 section 7 has fewer; what is beyond is one number
NO_ROUTE: Final = "-"  # begins no route's name

# Every limit that can be hit, and where it is set.
LIMITS: Final = {
    "connections": "limits.connections",
    "header_bytes": "limits.header_bytes",
    "header_fields": "http1.MAX_FIELDS",
    "header_timeout": "timeouts.header",
    "chunk_overhead": "body.MAX_CHUNK_LINE and MAX_TRAILER_OCTETS, of a request",
    "token_wait": "timeouts.connect and overdue.TOKEN_GRACE",
    "connect_timeout": "timeouts.connect",
    "response_timeout": "timeouts.response",
    "idle_timeout": "timeouts.idle, in a body",
    "tunnel_idle_timeout": "timeouts.idle, in a tunnel",
    "response_header_bytes": "upstream.MAX_RESPONSE_HEAD",
    "response_header_fields": "http1.MAX_FIELDS",
    "response_chunk_overhead": "body.MAX_CHUNK_LINE and MAX_TRAILER_OCTETS, of an answer",
    "interim_answers": "interim.MAX_INTERIM",
    "kept_bodies": "kept_body.MAX_ALL",
    "continuations": "http2/header_block.py, frames of one head",
    "control_frames": "http2/budgets.CONTROL_FRAMES, frames without content",
    "memory": "limits.connections, what connections of HTTP/2 hold (memory_budget.py)",
    "early_ends": "http2/budgets.EARLY_ENDS, streams that end before their answer",
}


# Why the guard refuses (policy/guard.py), and the listener of a unix socket.
REFUSALS: Final = (
    "host",
    "origin",
    "fetch_site",
    "referer",
    "unverified_page",
    "caller_token",
    "uid",
    "forward_proxy",
)


# What came where a request should (engine/not_http.py).
NOT_HTTP: Final = (
    *(
        "tls",
        "http2",
        "ssh",
        "proxy_protocol",
        "socks",
        "postgresql",
        "redis",
        "smtp",
        "response",
        "json",
        "text",
        "http_version",
        "binary",
    ),
    "bare_lf",
)


class RouteCounts:
    """`classes`: exchanges that ended, by the first digit of their status, 0 where there was none; `buckets` by how long
    they took, one more than BOUNDS; `received` and `sent`: octets from and to the app, of what has ended.
    """

    __slots__ = (
        "abandoned",
        "buckets",
        "classes",
        "received",
        "replays",
        "retries",
        "seconds",
        "sent",
        "tunnels",
    )

    def __init__(self) -> None:
        self.classes = [0] * 10
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.received = 0
        self.sent = 0
        self.abandoned = 0  # by the app
        self.retries = 0  # on a fresh connection
        self.replays = 0  # with a fresh token
        self.tunnels = 0  # open now

    @property
    def passed(self) -> int:
        """Answers that went well."""
        return self.classes[1] + self.classes[2] + self.classes[3]


class UpstreamCounts:
    """Of HTTP/2: `goaways`, and `resets` of streams that did not come to their end. `connecting`: connections that are being opened now; `reused`: requests that found an idle one."""

    __slots__ = ("connecting", "goaways", "opened", "resets", "reused")

    def __init__(self) -> None:
        self.goaways = 0
        self.resets: dict[tuple[str, int], int] = {}  # streams, by side and code
        self.opened = 0
        self.reused = 0
        self.connecting = 0

    def reset(self, by: str, code: int) -> None:
        key = (by, min(code, _CODES))
        self.resets[key] = self.resets.get(key, 0) + 1


@dataclass(slots=True)
class Trouble:
    """One kind of failure of one route: how often, and what the last of them said (not the exception itself, which
    would keep the frames that it came through).
    """

    route: str
    kind: str
    cause: str
    count: int = 0
    at: float = 0.0  # Unix seconds
    status: int = 0
    fault: str = ""
    detail: str = ""
    remedy: str | None = None
    passed: int = 0  # of the route's answers, those that had gone well until then


@dataclass(frozen=True, slots=True)
class Reload:
    at: float  # Unix seconds
    refused: str | None = None  # why; None: taken over


@dataclass(slots=True)
class FetchStats:
    """Of one kind of token source. `fresh`: another token than before."""

    fresh: int = 0
    unchanged: int = 0
    failed: int = 0
    seconds: float = 0.0


class Counted(Protocol):
    """An entry, as far as it is counted for."""

    @property
    def route(self) -> Route: ...

    @property
    def counts(self) -> RouteCounts: ...


RouteEntry = TypeVar("RouteEntry", bound=Counted)


class EndedExchange(Generic[RouteEntry]):
    """An exchange, as far as it is counted at its end. `entry`: None where there was no route; `started`: by `monotonic`;
    octets `received` from the app and `sent` to it. A class and no protocol: what is read of each request is read from where it
    is known to be.
    """

    __slots__ = ("entry", "error", "received", "sent", "started", "state", "status")

    def __init__(self, octets: int) -> None:
        self.started = monotonic()
        self.received = octets
        self.sent = self.status = 0
        self.state = WAITING
        self.entry: RouteEntry | None = None
        self.error: ProxyError | None = None


class Stats:
    def __init__(self, wall: Callable[[], float] = time) -> None:
        self._wall = wall
        self.started_at = wall()
        self.routes: dict[str, RouteCounts] = {}
        self.unrouted = RouteCounts()
        self.upstreams: dict[str, UpstreamCounts] = {}
        self.received: dict[str, ReceivedCounts] = {}  # by listener
        self.connections = 0  # from apps, ever
        self.http2 = UpstreamCounts()  # from apps
        self.streams = 0
        self.limits = dict.fromkeys(LIMITS, 0)
        self.bodies = KeptBodies(lambda: self.hit("kept_bodies"))
        self.refusals = dict.fromkeys(REFUSALS, 0)
        self.not_http = dict.fromkeys(NOT_HTTP, 0)
        self.held = {"request": 0, "answer": 0}  # times that one side was held back for the other
        self.troubles: dict[tuple[str, str, str], Trouble] = {}
        self.upstream_refusals: dict[tuple[str, str], Trouble] = {}  # Google's, by route and cause
        self.fetches: dict[str, FetchStats] = {}
        self.fetch_failures: dict[tuple[str, ...], int] = {}  # by source, what was asked for, cause
        self.reloads = {"taken": 0, "refused": 0}
        self.last_reload: Reload | None = None
        self.reloaded_at = self.started_at

    def route(self, name: str) -> RouteCounts:
        return self.routes.setdefault(name, RouteCounts())

    def upstream(self, origin: str) -> UpstreamCounts:
        return self.upstreams.setdefault(origin, UpstreamCounts())

    def receipts(self, name: str) -> ReceivedCounts:
        return self.received.setdefault(name, ReceivedCounts())

    def take(self, routes: dict[str, RouteCounts], upstreams: dict[str, UpstreamCounts]) -> None:
        """Those of a generation that is in force from now on. One that is only being made counts nothing yet, and is in no
        page or scrape.
        """
        self.routes, self.upstreams = routes, upstreams
        self.received = {name: counts for name, counts in self.received.items() if name in routes}

    def retain(self, routes: Collection[str], origins: Collection[str], asked_for: Collection[str]) -> None:
        """After a reload: what the configuration does not name any more is not told of any more."""
        self.routes = {name: counts for name, counts in self.routes.items() if name in routes}
        self.upstreams = {origin: counts for origin, counts in self.upstreams.items() if origin in origins}
        self.troubles = {
            key: trouble for key, trouble in self.troubles.items() if key[0] in routes or key[0] == NO_ROUTE
        }
        self.upstream_refusals = {
            key: trouble for key, trouble in self.upstream_refusals.items() if key[0] in routes
        }
        self.fetch_failures = {
            key: count for key, count in self.fetch_failures.items() if key[1] in asked_for
        }

    # -- the engine ------------------------------------------------------------

    def ended(self, exchange: EndedExchange[RouteEntry]) -> bool:
        """Every exchange comes through here, once. False: it went well, and nobody has to hear of it."""
        entry = exchange.entry
        counts = self.unrouted if entry is None else entry.counts
        elapsed = monotonic() - exchange.started
        status = exchange.status
        counts.classes[status // 100] += 1
        counts.buckets[bisect_left(BOUNDS, elapsed)] += 1
        counts.seconds += elapsed
        counts.received += exchange.received
        counts.sent += exchange.sent
        if exchange.state is DONE:
            return status >= 400 or status == 302  # which may be IAP's
        error = exchange.error
        if error is not None:
            self.trouble(NO_ROUTE if entry is None else entry.route.name, error)
        elif exchange.state is BROKEN:
            counts.abandoned += 1
        return True

    def trouble(self, route: str, error: ProxyError) -> None:
        if error.limit is not None:
            self.hit(error.limit)
        if isinstance(error, Refused):
            self.refusals[error.reason] = self.refusals.get(error.reason, 0) + 1
        elif isinstance(error, NotHttp):
            self.not_http[error.looks_like] += 1
        key = (route, kind_of(error), cause_of(error))
        told = self.troubles.get(key)
        if told is None:
            told = self.troubles[key] = Trouble(*key)
        told.count += 1
        told.at = self._wall()
        told.status = error.status
        told.fault = error.fault.value
        told.detail = error.detail
        told.remedy = error.remedy

    def refused_upstream(self, route: str, status: int, found: Diagnosis) -> None:
        """By Google, in front of the receiver."""
        key = (route, found.cause)
        told = self.upstream_refusals.get(key)
        if told is None:
            told = self.upstream_refusals[key] = Trouble(route, REFUSED_BY_GOOGLE, found.cause)
        told.count += 1
        told.at = self._wall()
        told.status = status
        told.fault = (Fault.RECEIVER if status == 429 or status >= 500 else Fault.OPERATOR).value
        told.detail = found.detail
        told.remedy = found.remedy
        told.passed = self.route(route).passed

    def hit(self, limit: str) -> None:
        self.limits[limit] = self.limits.get(limit, 0) + 1

    # -- identity, reloads -------------------------------------------------------

    def fetched(self, event: FetchEvent) -> None:
        fetches = self.fetches.setdefault(event.source, FetchStats())
        fetches.seconds += event.seconds
        cause = event.cause
        if cause is not None:
            fetches.failed += 1
            key = (event.source, event.counted_as or event.asked_for, cause)
            self.fetch_failures[key] = self.fetch_failures.get(key, 0) + 1
        elif event.changed:
            fetches.fresh += 1
        else:
            fetches.unchanged += 1

    def reloaded(self, error: ProxyError | None) -> None:
        self.last_reload = Reload(self._wall(), None if error is None else error.detail)
        if error is None:
            self.reloads["taken"] += 1
            self.reloaded_at = self.last_reload.at
        else:
            self.reloads["refused"] += 1


def kind_of(error: ProxyError) -> str:
    """`connect_failed`, for a label."""
    kind = _kinds.get(type(error))
    if kind is None:
        name = "Internal" if type(error) is ProxyError else type(error).__name__
        kind = _kinds[type(error)] = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return kind


_kinds: dict[type[ProxyError], str] = {}
_WITH_CAUSE = TokenError | Unauthenticated | NotInvoker | KeysUnavailable


def cause_of(error: ProxyError) -> str:
    """The slug of a token's error, of a refusal of the guard or of what is no HTTP; of any other, the error type of RFC 9209."""
    if isinstance(error, Refused):
        return error.reason  # a foreign Host and a foreign Origin are two troubles, and have two remedies
    if isinstance(error, NotHttp):
        return error.looks_like
    return error.cause if isinstance(error, _WITH_CAUSE) else error.proxy_status
