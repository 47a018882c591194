"""A tree of plain values -> Document, and every mistake in it.

What is wrong with one key must not hide what is wrong between others: mistaken keys are taken out, and the checks
across keys run on what is left, with stand-ins for what a route must have. No mistake is told twice in other words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.checks import contradictions
from proxy.settings.document import SECTIONS, Document, Match, RouteEntry, RouteTimeouts, Timeouts
from proxy.settings.mistakes import Location, Mistake, in_tree, nearest, unknown_key, worded
from proxy.settings.pending import pending

_OF_AUDIENCE = frozenset({"upstream", "audience", "identity", "token_header"})  # what its checks look at


def validated(
    tree: dict[str, Any], unreadable: Iterable[Location], file_path: Callable[[str], str]
) -> tuple[Document | None, list[Mistake]]:
    """The document where nothing is wrong. `unreadable`: locations whose mistakes are known already."""
    known = set(unreadable)
    document, mistakes = None, []
    try:
        document = Document.model_validate(tree)
    except ValidationError as error:
        mistakes = [mistake for mistake in _worded(error, tree) if mistake[0] not in known]
    wrong = known | {location for location, _ in mistakes}
    later = [mistake for mistake in pending(tree) if mistake[0] not in wrong]
    if document is not None and not known:
        across = contradictions(document, dict(enumerate(document.routes)), file_path)
        mistakes = [_located(mistake, tree) for mistake in across]
    else:
        left, positions = _without(tree, wrong)
        rest = Document.model_validate(left)
        doubts = _keys((), wrong, Document)
        across = contradictions(rest, dict(zip(positions, rest.routes, strict=True)), file_path)
        mistakes += [_located(found, tree) for found in across if not _follows(found[0], doubts, wrong)]
        document = None
    mistakes += later
    return (None if mistakes else document), mistakes


def _located(mistake: Mistake, tree: object) -> Mistake:
    """What is said of a key that is left to its default is still said of that key."""
    at, message = mistake
    return in_tree(tree, at, missing=at[-1] in ("audience", "admin")), message


def _worded(error: ValidationError, tree: object) -> list[Mistake]:
    """A key that is missing because it is misspelt is one mistake."""
    all_details = error.errors()
    unknown = {
        in_tree(tree, details["loc"]) for details in all_details if details["type"] == "extra_forbidden"
    }
    mistakes = []
    for details in all_details:
        location, message = _mistake(details, tree)
        misspelt = (
            at for at in unknown if at[:-1] == location[:-1] and nearest(str(at[-1]), [str(location[-1])])
        )
        if details["type"] != "missing" or not any(misspelt):
            mistakes.append((location, message))
    return mistakes


def _mistake(details: ErrorDetails, tree: object) -> Mistake:
    kind, at = details["type"], details["loc"]
    if kind == "extra_forbidden":
        return in_tree(tree, at), _unknown(at)
    if kind == "union_tag_invalid":
        at = (*at, "type")
    return in_tree(tree, at, missing=kind == "missing"), worded(details)


def _unknown(at: Location) -> str:
    *container, key = at
    section = next((part for part in reversed(container) if isinstance(part, str)), "")
    of_route = section == "timeouts" and len(container) > 1
    if of_route and key in Timeouts.model_fields:
        return "is a timeout of the whole proxy, not of one route; move it to the top-level timeouts"
    entry = RouteTimeouts if of_route else SECTIONS[section]
    if entry is RouteEntry and key in Match.model_fields:
        return f"belongs into match; write match: {{{key}: ...}}"
    return unknown_key(str(key), entry.model_fields)


def _without(tree: dict[str, Any], wrong: set[Location]) -> tuple[dict[str, Any], list[int]]:
    """A copy that is valid, and the positions of the routes that are left in it."""
    left = deepcopy(tree)
    for location in wrong:
        if location[:1] == ("routes",) and len(location) == 2:
            continue  # no mapping at all; left out below
        whole = location[:1] if location[:1] == ("identity",) else location
        _delete(left, whole)
    routes = left.get("routes")
    kept = {}
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        if isinstance(route, dict) and ("routes", index) not in wrong:
            doubts = _keys(("routes", index), wrong, RouteEntry)
            kept[index] = {**route, **{key: value for key, value in _stand_ins(index) if key in doubts}}
            if doubts & _OF_AUDIENCE:
                kept[index].pop("identity", None)
    left["routes"] = list(kept.values())
    return left, list(kept)


def _stand_ins(index: int) -> Iterator[tuple[str, Any]]:
    """For the keys of a route that are in doubt: values that contradict nothing."""
    unique = f"{index:050}"
    yield "name", unique
    yield "upstream", "https://in-doubt.run.app"
    yield "match", {"path": f"/{unique}"}


def _keys(at: Location, wrong: Iterable[Location], entry: type[Document | RouteEntry]) -> set[str]:
    """The keys of the mapping at `at` that are in doubt: mistaken themselves, or perhaps meant by an unknown one."""
    doubts = set()
    for location in wrong:
        if location[: len(at)] == at and len(location) > len(at):
            key = str(location[len(at)])
            meant = key if key in entry.model_fields else nearest(key, entry.model_fields)
            if entry is RouteEntry and key in Match.model_fields:
                meant = "match"
            doubts.add(meant or key)
    return doubts


def _delete(tree: Any, location: Location) -> None:
    """The key that `location` leads to; of a list's item, the whole list."""
    while location and isinstance(location[-1], int):
        location = location[:-1]
    for part in location[:-1]:
        if isinstance(tree, dict) and part not in tree:
            return
        tree = tree[part]
    if location and isinstance(tree, dict):
        tree.pop(location[-1], None)


def _follows(location: Location, doubts: set[str], wrong: set[Location]) -> bool:
    """Whether a contradiction may only come of a key that is itself in doubt."""
    if location[0] in ("listen", "admin"):
        return bool(doubts & {"listen", "admin", "allow_remote"})
    if location[0] == "guard":
        return bool(doubts & {"listen", "guard"})
    if location[-1] in ("audience", "token_header"):
        return "identity" in doubts or bool(_keys(location[:2], wrong, RouteEntry) & _OF_AUDIENCE)
    return location == ("routes",) and "routes" in doubts
