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
    for location in _keys(tree, ()):
        instead = PENDING.get(".".join(part for part in location if isinstance(part, str)))
        if instead is not None:
            yield location, f"not in this version yet (0.1); {instead}"


def _keys(tree: object, location: Location) -> Iterator[Location]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*location, key)
            yield from _keys(value, (*location, key))
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _keys(item, (*location, index))
