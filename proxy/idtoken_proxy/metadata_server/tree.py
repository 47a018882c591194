"""What there is to ask for, as directories and values, and how each is written.

https://cloud.google.com/compute/docs/metadata/querying-metadata: a directory's path ends in a slash and lists its
entries; `recursive=true` tells all that is in it, as JSON unless `alt=text` says otherwise; a single value is text unless
`alt=json`. Tokens are no part of a recursive answer.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from idtoken_proxy.settings.model import Scopes

ROOT: Final = "/computeMetadata/v1/"
TEXT: Final = "application/text"
JSON: Final = "application/json"
ACCOUNTS: Final = "service-accounts"
DEFAULT: Final = "default"


class Minted(enum.Enum):
    """A value that is made for whoever asks."""

    IDENTITY = "identity"
    TOKEN = "token"  # noqa: S105 -- an entry's name


Directory: TypeAlias = Mapping[str, "Node"]
Node: TypeAlias = "str | tuple[str, ...] | Minted | Directory"


@dataclass(frozen=True, slots=True)
class Query:
    recursive: bool = False
    alt: str | None = None  # json or text, where it is said


def tree(email: str | None, scopes: Scopes | None, project_id: str | None, universe_domain: str) -> Directory:
    """`email`: whose the tokens are; None where they tell none, as an agent's. What a VM has and this has not, its zone
    and its name, is left out and not made up.
    """
    # A library that is told no scopes takes it for an account that may do nothing at all.
    names = (scopes or Scopes()).names
    account: Directory = {
        "aliases": (DEFAULT,),
        **({} if email is None else {"email": email}),
        "identity": Minted.IDENTITY,
        "scopes": names,
        "token": Minted.TOKEN,
    }
    accounts: Directory = {DEFAULT: account} if email is None else {DEFAULT: account, email: account}
    return {
        "instance": {ACCOUNTS: accounts},
        "project": {} if project_id is None else {"project-id": project_id},
        "universe": {"universe-domain": universe_domain},
    }


def found(root: Directory, path: str) -> Node | None:
    """`path` below ROOT, without a slash at its end. None: there is nothing of that name."""
    node: Node = root
    for name in filter(None, path.split("/")):
        if not isinstance(node, Mapping) or name not in node:
            return None
        node = node[name]
    return node


def written(node: str | tuple[str, ...] | Directory, query: Query) -> tuple[str, str]:
    """(body, media type)."""
    if not isinstance(node, Mapping):
        if query.alt == "json":
            return json.dumps(node), JSON
        return (node if isinstance(node, str) else "".join(f"{line}\n" for line in node)), TEXT
    if not query.recursive:
        return "".join(
            f"{name}/\n" if isinstance(inner, Mapping) else f"{name}\n" for name, inner in node.items()
        ), TEXT
    if query.alt == "text":
        return "".join(f"{name} {value}\n" for name, value in _flat(node)), TEXT
    return json.dumps(_plain(node)), JSON


def _flat(node: Directory, above: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in node.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{above}{name}/")
        elif not isinstance(inner, Minted):
            yield f"{above}{name}", inner if isinstance(inner, str) else " ".join(inner)


def _plain(node: Directory) -> dict[str, Any]:
    return {
        _camel(name): _plain(inner) if isinstance(inner, Mapping) else inner
        for name, inner in node.items()
        if not isinstance(inner, Minted)
    }


def _camel(name: str) -> str:
    """As JSON has it: `project-id` is projectId. An account's email stays as it is."""
    if "@" in name:
        return name
    first, *others = name.split("-")
    return first + "".join(other.capitalize() for other in others)
