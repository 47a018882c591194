"""What the contract has and this version has not: an error with its line, never ignored.

A later version that brings a feature takes its row out of PENDING; nothing else is to be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from proxy.settings.document import Document, RouteEntry
from proxy.settings.identities import Identity, Impersonated
from proxy.settings.mistakes import Location, Mistake
from proxy.settings.model import UnixAddress

_KEY: Final = "remove the key"
_TCP: Final = "write HOST:PORT, such as localhost:8080"
_IDENTITY: Final = "use auto, none, metadata, service_account or file"

# Feature -> what to do instead.
PENDING: Final = {
    "rewrite": _KEY,
    "guard.allowed_origins": _KEY,
    "egress_proxy": _KEY,
    "google.iam_endpoint": _KEY,
    "google.sts_endpoint": _KEY,
    "google.universe_domain": _KEY,
    "unix sockets": _TCP,
    "identity user": _IDENTITY,
    "identity gcloud": _IDENTITY,
    "identity impersonated": _IDENTITY,
    "identity external_account": _IDENTITY,
    "identity command": _IDENTITY,
}


def pending(document: Document, routes: Mapping[int, RouteEntry]) -> Iterator[Mistake]:
    """`routes` by their position in the file."""
    for feature, location in features(document, routes):
        if feature in PENDING:
            yield location, f"not in this version yet (0.1); {PENDING[feature]}"


def features(document: Document, routes: Mapping[int, RouteEntry]) -> Iterator[tuple[str, Location]]:
    """What the document uses of all that is, or once was, to come in a later version."""
    if "rewrite" in document.model_fields_set:
        yield "rewrite", ("rewrite",)
    if document.guard.allowed_origins:
        yield "guard.allowed_origins", ("guard", "allowed_origins")
    if document.egress_proxy is not None:
        yield "egress_proxy", ("egress_proxy",)
    for key in sorted(document.google.model_fields_set):
        yield f"google.{key}", ("google", key)
    for index, address in enumerate(document.listen):
        if isinstance(address, UnixAddress):
            yield "unix sockets", ("listen", index)
    if isinstance(document.admin, UnixAddress):
        yield "unix sockets", ("admin",)
    yield from _identities(document.identity, ("identity",))
    for index, route in routes.items():
        yield from _identities(route.identity, ("routes", index, "identity"))


def _identities(identity: Identity | None, location: Location) -> Iterator[tuple[str, Location]]:
    if identity is not None:
        yield f"identity {identity.type}", (*location, "type")
        if isinstance(identity, Impersonated):
            yield from _identities(identity.source, (*location, "source"))
