"""What the contract has and this version has not: an error with its line, never ignored.

A later version that brings a feature takes its row out of PENDING; nothing else is to be changed. It looks at the
plain tree, so that a mistake elsewhere in a route or a section does not hide it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idtoken_proxy.settings.mistakes import Location, Mistake

# Key, list positions left out -> what to do instead.
PENDING: Final = {
    "google.universe_domain": "remove the key",
}


def pending(tree: object) -> Iterator[Mistake]:
    """`tree`: the document's plain values, without nulls."""
    for path, instead in PENDING.items():
        for location in _at(tree, path.split("."), ()):
            yield location, f"not in this version yet (0.1); {instead}"


def _at(tree: object, path: list[str], location: Location) -> Iterator[Location]:
    """Wherever the path leads, in every item of a list on its way."""
    if isinstance(tree, dict) and path[0] in tree:
        here = (*location, path[0])
        if path[1:]:
            yield from _at(tree[path[0]], path[1:], here)
        else:
            yield here
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _at(item, path, (*location, index))
