"""(host, path) -> route: a dict of hosts, and for each a trie of path segments; the longest prefix wins.

Segments are compared as raw bytes and whole: /profiles matches /profiles and /profiles/7, not /profiles-old
(Traefik GO-2026-5532 is what half a segment costs). A thousand routes cost what one costs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Final, Generic, Self, TypeAlias, TypeVar

from idtoken_proxy.policy.spelling import LONGEST_SPELLING, folded, hides_segments, is_plain, spellings
from idtoken_proxy.settings.model import DEFAULT_PORTS, Route, Upstream

T = TypeVar("T")


# A path that is read in more than one way is looked at no further than the deepest route goes, and this much more.
_MORE_SEGMENTS: Final = 32
_MORE_OCTETS: Final = 1024

_AT_A_TIME: Final = 128  # routes, before others may have their turn

# Where some readers may be: at these nodes, so many segments (from, to) beyond them.
_Places: TypeAlias = "dict[_Node[T], tuple[int, int]]"
# Beside the nodes, so that a table that a reload takes away goes at once, with all that its routes hold: what goes round in
# circles waits for the collector, which never looks at what the start has made.
_Parents: TypeAlias = "dict[_Node[T], _Node[T]]"


class _Node(Generic[T]):
    """`best`: the route of a path that ends here, or goes on where no route does. `folded`: the children by what careless
    receivers take for their names.
    """

    __slots__ = ("best", "children", "folded", "route")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[T]] = {}
        self.folded: dict[bytes, list[_Node[T]]] = {}
        self.route: T | None = None
        self.best: T | None = None

    def add(self, segment: bytes) -> tuple[_Node[T], bool]:
        """(the new child, whether its name has another folded form)"""
        child: _Node[T] = _Node()
        self.children[segment] = child
        form = folded(segment)
        self.folded.setdefault(form, []).append(child)
        return child, form != segment

    def settle(self) -> Iterator[None]:
        """Once all routes are there; stops at each node."""
        self.best = self.route
        waiting = [self]
        while waiting:
            node = waiting.pop()
            for child in node.children.values():
                child.best = node.best if child.route is None else child.route
                if child.children:
                    waiting.append(child)
                yield


class RouteTable(Generic[T]):
    """What a route is to the caller is the caller's affair: `routes` gives (host or None, path, route)."""

    def __init__(
        self,
        any_host: _Node[T],
        by_host: dict[str, _Node[T]],
        parents: _Parents[T],
        *,
        depth: int,
        longest: int,
        longest_name: int,
        odd: bool,
    ) -> None:
        """`depth`, `longest`, `longest_name`: the most segments of a configured path, its octets, those of a segment.
        `odd`: some configured name has another folded form, so that plain paths may mean it too.
        """
        self._any_host = any_host
        self._by_host = by_host
        self._parents = parents
        self._depth = depth
        self._longest_name = longest_name
        self._odd = odd
        self._most_segments = depth + _MORE_SEGMENTS
        self._most_octets = longest * LONGEST_SPELLING + _MORE_OCTETS

    @classmethod
    def filled(cls, routes: Iterable[tuple[str | None, str, T]]) -> Generator[None, None, Self]:
        """In pieces."""
        any_host: _Node[T] = _Node()
        by_host: dict[str, _Node[T]] = {}
        parents: _Parents[T] = {}
        depth = longest = longest_name = 0
        any_odd = False
        for number, (host, path, route) in enumerate(routes):
            if number % _AT_A_TIME == 0:
                yield
            node = any_host if host is None else by_host.setdefault(host.lower(), _Node())
            segments = _segments(path.encode())
            for segment in segments:
                child = node.children.get(segment)
                if child is None:
                    child, odd = node.add(segment)
                    parents[child] = node
                    any_odd = any_odd or odd
                    longest_name = max(longest_name, len(segment))
                node = child
            node.route = route
            depth = max(depth, len(segments))
            longest = max(longest, len(path))
        number = 0
        for root in (any_host, *by_host.values()):
            for _ in root.settle():
                if number % _AT_A_TIME == 0:
                    yield
                number += 1
        return cls(
            any_host, by_host, parents, depth=depth, longest=longest, longest_name=longest_name, odd=any_odd
        )

    def match(self, host: str, path: bytes) -> T | None:
        """`host` lower case without port; `path` raw, without the query. A route that names the host comes
        before one that names none.
        """
        if self._by_host:
            named = self._by_host.get(host)
            if named is not None:
                route = self._longest(named, path)
                if route is not None:
                    return route
        return self._longest(self._any_host, path)

    def _longest(self, node: _Node[T], path: bytes) -> T | None:
        if node.children:
            for segment in path.split(b"/", self._depth + 1)[1:]:
                child = node.children.get(segment)
                if child is None:
                    break
                node = child
        return node.best

    def ambiguous_with_other_route(self, host: str, path: bytes, route: T) -> bool:
        """Whether `path`, which is `route`'s as it stands, is another's in some receiver's reading: `/%61dmin` and
        `/x/../admin` beside a route for /admin.

        All readings are followed at once, and no further than the deepest route goes: what it costs does not grow with
        the path. Where that does not tell, it says True.
        """
        if is_plain(path) and not self._odd:
            return False
        pieces, cut = self._looked_at(path)
        if cut and hides_segments(path):
            return True
        named = self._by_host.get(host)
        if named is not None:
            found = _possible(named, pieces, self._parents, cut=cut)
            if found is None or found - {route, None}:
                return True
            if None not in found:
                return False
        found = _possible(self._any_host, pieces, self._parents, cut=cut)
        return found is None or bool(found - {route})

    def _looked_at(self, path: bytes) -> tuple[list[bytes], bool]:
        """(its first segments, whether there is more)."""
        cut = len(path) > self._most_octets
        pieces = path[: self._most_octets].split(b"/", self._most_segments + 1)[1:]
        if len(pieces) > self._most_segments:
            return pieces[: self._most_segments], True
        if cut and len(pieces[-1]) <= self._longest_name * LONGEST_SPELLING:
            pieces.pop()  # it may be a route's name, were it whole
        return pieces, cut


def _possible(
    root: _Node[T], pieces: list[bytes], parents: _Parents[T], *, cut: bool
) -> set[T | None] | None:
    """The routes that readers may find, None for none of them; None where that cannot be told. `cut`: the path goes on."""
    places: _Places[T] = {root: (0, 0)}
    for piece in pieces:
        reached: _Places[T] = {}
        # What a route's path holds to the letter is what it says: an operator wrote it so.
        exact = all(not most and piece in node.children for node, (_, most) in places.items())
        for reading in [(piece,)] if exact else spellings(piece):
            here = places
            for name in reading:
                here = _beyond(here, name, parents)
            for node, (least, most) in here.items():
                _add(reached, node, least, most)
        places = reached
    if cut and any(node.children and not least for node, (least, _) in places.items()):
        return None  # who has not left the known paths yet may be led anywhere by what was not looked at
    return {node.best for node in places}


def _beyond(places: _Places[T], name: bytes, parents: _Parents[T]) -> _Places[T]:
    """Where readers are after one more segment."""
    reached: _Places[T] = {}
    key = folded(name)
    for node, (least, most) in places.items():
        if key in {b"", b"."}:  # left out, or kept as a name that no route has
            _add(reached, node, least, most + 1)
            continue
        if key == b"..":  # followed (RFC 3986 section 5.2.4), or kept
            _add(reached, node, max(least - 1, 0) if most else 1, most + 1)
            if not least:
                _add(reached, parents.get(node, node), 0, 0)
            continue
        if most:
            _add(reached, node, max(least, 1) + 1, most + 1)
        if not least:
            exact = node.children.get(name)
            if exact is not None:
                _add(reached, exact, 0, 0)
                continue
            _add(reached, node, 1, 1)
            for child in node.folded.get(key, ()):
                _add(reached, child, 0, 0)
    return reached


def _add(places: _Places[T], node: _Node[T], least: int, most: int) -> None:
    known = places.get(node)
    places[node] = (least, most) if known is None else (min(least, known[0]), max(most, known[1]))


def forward(routes: Iterable[Route], forwarded: dict[tuple[str, str], Route]) -> Iterator[None]:
    """Into `forwarded`, in pieces: what a forward proxy's requests reach, which name a receiver in their target: by its authority and a path prefix
    there, which is where the route itself leads and no more: who may go to `/public` alone may not by this way to `/admin`
    either. Each route is changed so that the path goes on as it stands. Where several share a receiver, the longest
    prefix wins, then the first.
    """
    for number, route in enumerate(routes):
        if number % _AT_A_TIME == 0:
            yield
        base = route.upstream.base_path
        prefix = base if route.strip_prefix or route.path == "/" else base + route.path
        as_it_stands = replace(
            route, path=prefix or "/", strip_prefix=False, upstream=replace(route.upstream, base_path="")
        )
        for authority in _authorities(route.upstream):
            forwarded.setdefault((authority, as_it_stands.path), as_it_stands)


def _authorities(upstream: Upstream) -> tuple[str, ...]:
    """As http:// URLs name it that mean it: the scheme is the app's way of saying that the proxy speaks TLS."""
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    if upstream.port == DEFAULT_PORTS["http"]:
        return (host,)
    named = f"{host}:{upstream.port}"
    return (host, named) if upstream.port == DEFAULT_PORTS[upstream.scheme] else (named,)


def _segments(path: bytes) -> list[bytes]:
    return [] if path == b"/" else path.split(b"/")[1:]
