"""A tree of plain values -> Document and every mistake.

A mistake in one key must not hide contradictions between others. So mistaken keys are taken out, and the checks across
keys run on the rest, with stand-ins for what a route must have. No mistake is reported twice in other words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

from idtoken_proxy.settings.checks import contradictions
from idtoken_proxy.settings.document import Document, Match, RouteSection
from idtoken_proxy.settings.mistakes import Location, Mistake, in_tree, nearest
from idtoken_proxy.settings.schema_dsl import ValidationError

_OF_AUDIENCE = frozenset(
    {"upstream", "audience", "identity", "token_header", "token", "scopes", "quota_project"}
)  # what the checks of an audience depend on


def validated(
    tree: dict[str, Any], unreadable: Iterable[Location], file_path: Callable[[str], str]
) -> tuple[Document, list[Mistake]]:
    """The readable part of the document, and all mistakes. `unreadable`: locations whose mistakes are already known."""
    known = set(unreadable)
    document, mistakes = None, []
    try:
        document = Document.read(tree)
    except ValidationError as mistaken:
        mistakes = [mistake for mistake in mistaken.mistakes if mistake[0] not in known]
    wrong = known | {location for location, _ in mistakes}
    if document is not None and not known:
        across = contradictions(document, dict(enumerate(document.routes)), file_path)
        mistakes = [_located(mistake, tree) for mistake in across]
    else:
        left, positions = _without(tree, wrong)
        rest = Document.read(left)
        doubts = _keys((), wrong, Document)
        across = contradictions(rest, dict(zip(positions, rest.routes, strict=False)), file_path)
        mistakes += [_located(found, tree) for found in across if not _follows(found[0], doubts, wrong)]
        document = rest
    return document, mistakes


def _located(mistake: Mistake, tree: object) -> Mistake:
    """Some messages are about a key left to its default; they keep that key's name."""
    at, message = mistake
    return in_tree(tree, at, missing=at[-1] in ("audience", "admin")), message


def _without(tree: dict[str, Any], wrong: set[Location]) -> tuple[dict[str, Any], list[int]]:
    """A valid copy, and the positions of the routes left in it. If none is left, it has a stand-in."""
    left = deepcopy(tree)
    for location in wrong:
        if location[:1] == ("routes",) and len(location) == 2:
            continue  # not a mapping; left out below
        whole = location[:1] if location[:1] in (("identity",), ("metadata",), ("receive",)) else location
        _delete(left, whole)
    routes = left.get("routes")
    kept = {}
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        if isinstance(route, dict) and ("routes", index) not in wrong:
            doubts = _keys(("routes", index), wrong, RouteSection)
            kept[index] = {**route, **{key: value for key, value in _stand_ins(index) if key in doubts}}
            if doubts & _OF_AUDIENCE:
                kept[index].pop("identity", None)
    left["routes"] = list(kept.values()) or [dict(_stand_ins(0))]
    return left, list(kept)


def _stand_ins(index: int) -> Iterator[tuple[str, Any]]:
    """Values for a route's keys in doubt that contradict nothing."""
    unique = f"{index:050}"
    yield "name", unique
    yield "upstream", "https://in-doubt.run.app"
    yield "match", {"path": f"/{unique}"}


def _keys(at: Location, wrong: Iterable[Location], entry: type[Document | RouteSection]) -> set[str]:
    """The keys in doubt of the mapping at `at`: mistaken ones, and those that an unknown key may have meant."""
    doubts = set()
    for location in wrong:
        if location[: len(at)] == at and len(location) > len(at):
            key = str(location[len(at)])
            meant = key if key in entry.declared else nearest(key, entry.declared)
            if entry is RouteSection and key in Match.declared:
                meant = "match"
            doubts.add(meant or key)
    return doubts


def _delete(tree: Any, location: Location) -> None:
    """Deletes the key that `location` leads to, or for an item the whole list."""
    while location and isinstance(location[-1], int):
        location = location[:-1]
    for part in location[:-1]:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):  # a variable replaces what the file has
            return
    if location and isinstance(tree, dict):
        tree.pop(location[-1], None)


def _follows(location: Location, doubts: set[str], wrong: set[Location]) -> bool:
    """Whether a contradiction may come only from a key that is itself in doubt."""
    if location[0] in ("listen", "admin"):
        return bool(doubts & {"listen", "admin", "allow_remote"})
    if location[0] == "metadata":
        return bool(doubts & {"listen", "admin", "metadata", "identity"})
    if location[-1] in ("upstream", "metadata_host") and doubts & {"listen", "admin", "metadata"}:
        return True
    if location[0] == "guard":
        return bool(doubts & {"listen", "guard", "metadata"})
    of_audience = location[-1] in _OF_AUDIENCE
    return of_audience and (
        "identity" in doubts or bool(_keys(location[:2], wrong, RouteSection) & _OF_AUDIENCE)
    )
