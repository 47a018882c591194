"""(host, path) -> route: a dict of hosts, and for each a trie of path segments; the longest prefix wins.

Segments are compared as raw bytes and whole: /profiles matches /profiles and /profiles/7, not /profiles-old
(Traefik GO-2026-5532 is what half a segment costs). A thousand routes cost what one costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

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
