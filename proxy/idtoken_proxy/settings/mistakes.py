"""Where a mistake in a configuration stands, and suggestions for words that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from idtoken_proxy.errors import Problem
from idtoken_proxy.settings.plausible import shown, shown_key, shown_path

Location: TypeAlias = tuple[str | int, ...]
Mistake: TypeAlias = tuple[Location, str]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the values of `tree` came from. `elsewhere`: the option or variable, for values that stand in no file."""

    file: str
    tree: object
    lines: Mapping[Location, int] = field(default_factory=dict)
    elsewhere: Mapping[Location, str] = field(default_factory=dict)

    def problem(self, location: Location, message: str) -> Problem:
        for length in range(len(location), 0, -1):
            place = self.elsewhere.get(location[:length])
            if place is not None:
                return Problem(place, 0, "", message)
        return Problem(shown_path(self.file), self.line(location), dotted(location), message)

    def line(self, location: Location) -> int:
        """The line of the deepest part of `location` that exists."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 0)


def in_tree(tree: object, location: Location, *, missing: bool = False) -> Location:
    """`location` without parts that the document lacks: a position in a list written as a single value, a key left to
    its default. `missing`: keep the last part, a key that should be there.
    """
    found: list[str | int] = []
    node: Any = tree
    for part in location[:-1] if missing else location:
        if not (
            part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        ):
            continue
        node = node[part]
        found.append(part)
    return (*found, location[-1]) if missing else tuple(found)


def dotted(location: Location) -> str:
    """`routes[0].match.path`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{shown_key(part)}" for part in location)
    return "".join(parts).removeprefix(".")


def nearest(name: str, known: Iterable[str]) -> str | None:
    by_lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def unknown_key(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    if near is not None:
        return f'unknown key; did you mean "{near}"?'
    return f"unknown key; known here: {', '.join(known)}"


def choice(value: object, known: Collection[str]) -> str:
    """For a value that is none of `known`."""
    message = f"must be one of {', '.join(known)}, not {shown(value)}"
    near = nearest(value, known) if isinstance(value, str) else None
    return message if near is None else f'{message}; did you mean "{near}"?'
