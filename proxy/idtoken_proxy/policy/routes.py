"""(host, path) -> route: a dict of hosts, and for each a trie of path segments; the longest prefix wins.

Segments are compared as raw bytes and whole: /profiles matches /profiles and /profiles/7, not /profiles-old
(Traefik GO-2026-5532 is what half a segment costs). A thousand routes cost what one costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Generic, TypeVar

from idtoken_proxy.policy.target import is_ambiguous, readings
from idtoken_proxy.settings.model import DEFAULT_PORTS, Route, Upstream

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("children", "route")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[T]] = {}
        self.route: T | None = None


class RouteTable(Generic[T]):
    """What a route is to the caller is the caller's affair: `routes` gives (host or None, path, route)."""

    def __init__(self, routes: Iterable[tuple[str | None, str, T]]) -> None:
        self._any_host: _Node[T] = _Node()
        self._by_host: dict[str, _Node[T]] = {}
        for host, path, route in routes:
            node = self._any_host if host is None else self._by_host.setdefault(host.lower(), _Node())
            for segment in _segments(path.encode()):
                node = node.children.setdefault(segment, _Node())
            node.route = route

    def match(self, host: str, path: bytes) -> T | None:
        """`host` lower case without port; `path` raw, without the query. A route that names the host comes
        before one that names none.
        """
        if self._by_host:
            named = self._by_host.get(host)
            if named is not None:
                route = _longest(named, path)
                if route is not None:
                    return route
        return _longest(self._any_host, path)

    def claimed_by_another(self, host: str, path: bytes, route: T) -> bool:
        """Whether `path`, which is `route`'s as it stands, is another's in some receiver's reading: `/%61dmin` and
        `/x/../admin` beside a route for /admin.
        """
        return is_ambiguous(path) and any(self.match(host, one) is not route for one in readings(path))


def forward_routes(routes: Iterable[Route]) -> dict[tuple[str, str], Route]:
    """What a forward proxy's requests reach, which name a receiver in their target: by its authority and a path prefix
    there. Each route is changed so that the path goes on as it stands. Where several share a receiver, the longest
    prefix that one of them would send there wins, then the longest base path, then the first.
    """
    under_base: dict[tuple[str, str], Route] = {}
    under_prefix: dict[tuple[str, str], Route] = {}
    for route in routes:
        base = route.upstream.base_path
        prefix = base if route.strip_prefix or route.path == "/" else base + route.path
        by_base, by_prefix = _as_it_stands(route, base or "/"), _as_it_stands(route, prefix or "/")
        for authority in _authorities(route.upstream):
            under_base.setdefault((authority, by_base.path), by_base)
            under_prefix.setdefault((authority, by_prefix.path), by_prefix)
    return under_base | under_prefix


def _as_it_stands(route: Route, prefix: str) -> Route:
    return replace(route, path=prefix, strip_prefix=False, upstream=replace(route.upstream, base_path=""))


def _authorities(upstream: Upstream) -> tuple[str, ...]:
    """As http:// URLs name it that mean it: the scheme is the app's way of saying that the proxy speaks TLS."""
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    if upstream.port == DEFAULT_PORTS["http"]:
        return (host,)
    named = f"{host}:{upstream.port}"
    return (host, named) if upstream.port == DEFAULT_PORTS[upstream.scheme] else (named,)


def _segments(path: bytes) -> list[bytes]:
    return [] if path == b"/" else path.split(b"/")[1:]


def _longest(node: _Node[T], path: bytes) -> T | None:
    best = node.route
    if node.children:
        for segment in path.split(b"/")[1:]:
            child = node.children.get(segment)
            if child is None:
                break
            node = child
            if node.route is not None:
                best = node.route
    return best
