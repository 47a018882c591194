"""What the contract has and this version has not: an error with its line, never ignored.

A later version that brings a feature takes its row out of PENDING; nothing else is to be changed. It looks at the
plain tree, so that a mistake elsewhere in a route or a section does not hide it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.settings.mistakes import Location, Mistake

_KEY: Final = "remove the key"
_TCP: Final = "write HOST:PORT, such as localhost:8080"
_IDENTITY: Final = "use auto, none, metadata, service_account or file"

# Key, list positions left out, with a value where it matters -> what to do instead.
PENDING: Final = {
    "rewrite": _KEY,
    "guard.allowed_origins": _KEY,
    "egress_proxy": _KEY,
    "google.iam_endpoint": _KEY,
    "google.sts_endpoint": _KEY,
    "google.universe_domain": _KEY,
    "listen: unix": _TCP,
    "admin: unix": _TCP,
    "identity: user": _IDENTITY,
    "identity: gcloud": _IDENTITY,
    "identity: impersonated": _IDENTITY,
    "identity: external_account": _IDENTITY,
    "identity: command": _IDENTITY,
}


def pending(tree: object) -> Iterator[Mistake]:
    """`tree`: the document's plain values, without nulls."""
    for location, feature in features(tree, ()):
        if feature in PENDING:
            yield location, f"not in this version yet (0.1); {PENDING[feature]}"


def features(tree: object, location: Location) -> Iterator[tuple[Location, str]]:
    """Where what stands that is, or once was, to come in a later version."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            here = (*location, key)
            words = [part for part in here if isinstance(part, str)]
            if value != []:  # an empty list of origins says what is so anyway
                yield here, ".".join(words)
            if key in ("listen", "admin"):
                yield from _sockets(value, here)
            elif key == "identity" and (len(words) == 1 or words == ["routes", "identity"]):
                yield from _kind(value, here)
            else:
                yield from features(value, here)
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from features(item, (*location, index))


def _sockets(value: object, location: Location) -> Iterator[tuple[Location, str]]:
    for index, address in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(address, str) and address.startswith("unix:"):
            yield (*location, index) if isinstance(value, list) else location, f"{location[-1]}: unix"


def _kind(value: object, location: Location) -> Iterator[tuple[Location, str]]:
    """A word, or a mapping with a type; what impersonates has a source within."""
    if isinstance(value, str):
        yield location, f"identity: {value}"
    elif isinstance(value, dict):
        yield (*location, "type"), f"identity: {value.get('type')}"
        yield from _kind(value.get("source"), (*location, "source"))
