"""What a file says of each identity, made from its declaration: a new one is in every test that goes through them."""

from __future__ import annotations

import json
from typing import Any, Final

from idtoken_proxy.settings.identities import ACCOUNT, EMAIL, ENTRIES, METADATA_ACCOUNT, SCOPE, Identity
from idtoken_proxy.settings.schema_dsl import FilePath, Items, Kind, Tagged
from tests.settings.told import settings

_UPSTREAM: Final = "https://a.a.run.app"


def form_of(kind: str, *also: str) -> dict[str, Any]:
    """The mapping with the keys that it must have, and those of `also`."""
    entry = ENTRIES[kind]
    keys = {name: key for name, key in entry.declared.items() if key.required or name in also}
    return {"type": kind, **{name: _sample(key.kind) for name, key in keys.items()}}


def _sample(kind: Kind[object]) -> object:
    match kind:
        case Items():
            return [_sample(kind.item)]
        case FilePath():
            return "/etc/a.json"
        case Tagged():
            return "user"
        case _:
            if kind is SCOPE:
                return "email"
            return "a@b.iam.gserviceaccount.com" if kind in (ACCOUNT, EMAIL, METADATA_ACCOUNT) else "word"


def identity(form: object) -> Identity:
    """What the file means by it."""
    text = json.dumps({"identity": form, "routes": [{"name": "a", "upstream": _UPSTREAM}]})
    return settings(text).routes[0].identity
