"""Every identity, declared once: its type, its keys in a file, and its value in the rest of the proxy.

Each declaration yields the mapping that a file holds (ENTRIES), the JSON Schema, the frozen value that routes carry and
that keys the token cache (hence hashable), and its token source: `build` of the module under identity/sources/ that has
the type's name. So a new identity is a class here and that module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import new_class
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

from idtoken_proxy.settings import names
from idtoken_proxy.settings.mistakes import nearest
from idtoken_proxy.settings.plausible import path_objection, shown
from idtoken_proxy.settings.schema_dsl import REQUIRED, TAG, Entry, FilePath, Items, Key, Kind, Scalar, Tagged
from idtoken_proxy.settings.values import argument, printable

I = TypeVar("I", bound="Identity")  # noqa: E741 -- an identity

_KEY: Final = "key"


def _file_objection(text: str) -> str | None:
    return path_objection(text, home=True)


_TEXT: Final = {"type": "string", "minLength": 1}
FILE: Final = FilePath(printable, _TEXT, refuse=_file_objection)
# Read at each fetch, so a new credential needs no new settings, which would cost the idle connections to receivers.
CREDENTIAL: Final = FilePath(printable, _TEXT, refuse=_file_objection, reread=True)
# Its writer may start after the proxy, which waits for it.
AWAITED: Final = FilePath(printable, _TEXT, refuse=_file_objection, reread=True, awaited=True)
ACCOUNT: Final = Scalar(names.account, {"type": "string", "pattern": rf"^({names.ACCOUNT}|[0-9]+)$"})
EMAIL: Final = Scalar(names.email, {"type": "string", "pattern": f"^{names.ACCOUNT}$"})
ARGUMENT: Final = Scalar(argument, {"type": "string", "minLength": 1}, refuse=None)  # may hold a secret
SCOPE: Final = Scalar(names.scope, {"type": "string", "pattern": f"^({names.SCOPE})$"})
METADATA_ACCOUNT: Final = Scalar(
    names.metadata_account, {"type": "string", "pattern": rf"^(default|{names.ACCOUNT}|[0-9]+)$"}
)

# -- how one is declared -------------------------------------------------------


class Identity:
    """`type`: its word in a file. `asks`: whether it asks Google for another account's tokens, and so takes a `source`.
    `has_access_tokens`: whether routes of `token: access` may use it; one that `asks` always may.
    """

    type: ClassVar[str]
    asks: ClassVar[bool] = False
    has_access_tokens: ClassVar[bool] = False


# By type, in the order in which messages list them.
BY_TYPE: Final[dict[str, type[Identity]]] = {}
ENTRIES: Final[dict[str, type[Entry]]] = {}  # the mapping of each in a file


def key_field(kind: Kind[Any], description: str, *, default: object = REQUIRED) -> Any:
    """Declares a key of the file and the field for its value. The field has the key's default, if any."""
    metadata = {_KEY: Key(kind, description, _as_written(default))}
    if default is REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, field_specifiers=(key_field,))
def declared(cls: type[I]) -> type[I]:
    cls.has_access_tokens = cls.has_access_tokens or cls.asks
    frozen = dataclasses.dataclass(frozen=True, slots=True)(cls)
    keys = {one.name: one.metadata[_KEY] for one in dataclasses.fields(frozen)}  # type: ignore[arg-type]  # it is one now
    members = {"__doc__": cls.__doc__, **keys}
    BY_TYPE[frozen.type] = frozen
    ENTRIES[frozen.type] = new_class(
        cls.__name__, (Entry,), {"tag": frozen.type}, lambda body: body.update(members)
    )
    return frozen


def _as_written(value: object) -> object:
    """A default as a file would write it."""
    match value:
        case Identity():
            return ENTRIES[value.type]()
        case tuple():
            return list(value)
        case _:
            return value


# -- what a word or a mapping means --------------------------------------------


def words() -> tuple[str, ...]:
    """The types that need no other key."""
    return tuple(
        kind for kind, entry in ENTRIES.items() if not any(key.required for key in entry.declared.values())
    )


def _from_word(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in BY_TYPE:
        near = nearest(value, BY_TYPE)
        hint = f'; did you mean "{near}"?' if near else ""
        raise ValueError(f"must be {', '.join(words())}, or a mapping with a type, not {shown(value)}{hint}")
    return {TAG: value}


def _source_from_word(value: Any) -> Any:
    value = _from_word(value)
    kind = value.get(TAG) if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in BY_TYPE and not BY_TYPE[kind].asks:
        raise ValueError(f"{kind} cannot ask for another account's tokens; use {', '.join(sources())}")
    return value


def sources() -> dict[str, type[Entry]]:
    """Those that have access tokens, with which to ask for another account's tokens."""
    return {kind: entry for kind, entry in ENTRIES.items() if BY_TYPE[kind].asks}


IDENTITY: Final[Tagged[Entry]] = Tagged(_from_word, lambda: ENTRIES)
SOURCE: Final[Tagged[Entry]] = Tagged(_source_from_word, sources)


def identity_of(entry: Entry, file_path: Callable[[str], str]) -> Identity:
    """The value of one of ENTRIES. `file_path`: resolves a path of the configuration."""

    def meant(key: Key, value: Any) -> object:
        if isinstance(value, Entry):
            return identity_of(value, file_path)
        if isinstance(key.kind, FilePath) and value is not None:
            return file_path(value)
        return tuple(value) if isinstance(value, list) else value

    fields = {name: meant(key, getattr(entry, name)) for name, key in entry.declared.items()}
    return BY_TYPE[entry.tag](**fields)


# -- the identities ------------------------------------------------------------


@declared
class AutoIdentity(Identity):
    """Google's documented order: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the metadata server."""

    type = "auto"
    asks = True


@declared
class NoIdentity(Identity):
    """A public route: no token is attached."""

    type = "none"


@declared
class MetadataIdentity(Identity):
    """The metadata server: Cloud Run, Compute Engine, GKE."""

    type = "metadata"
    asks = True
    service_account: str = key_field(
        METADATA_ACCOUNT, "Its email; default for the attached one.", default="default"
    )


@declared
class ServiceAccountIdentity(Identity):
    """A service account's key file."""

    type = "service_account"
    asks = True
    key_file: str = key_field(CREDENTIAL, "The JSON key; relative to this file's directory.")


@declared
class UserIdentity(Identity):
    """What `gcloud auth application-default login` has left."""

    type = "user"
    asks = True


@declared
class GcloudIdentity(Identity):
    """`gcloud auth print-identity-token`."""

    type = "gcloud"
    asks = True
    account: str | None = key_field(ACCOUNT, "Another account than gcloud's current one.", default=None)


@declared
class OauthIdentity(Identity):
    """A person's own login with an OAuth client of their organisation: `idtoken-proxy login`."""

    type = "oauth"
    asks = True
    client_file: str = key_field(CREDENTIAL, "The OAuth client's JSON; relative to this file's directory.")
    scopes: tuple[str, ...] = key_field(
        Items(SCOPE), "What the login asks for, besides openid and email: for access tokens.", default=()
    )


@declared
class ImpersonatedIdentity(Identity):
    """A service account's token, asked for by another identity."""

    type = "impersonated"
    asks = True
    service_account: str = key_field(ACCOUNT, "Whose token it is.")
    delegates: tuple[str, ...] = key_field(
        Items(ACCOUNT), "The chain of accounts between source and it.", default=()
    )
    source: Identity = key_field(SOURCE, "Who asks.", default=AutoIdentity())


@declared
class ExternalAccountIdentity(Identity):
    """Workload identity federation."""

    type = "external_account"
    asks = True
    config_file: str = key_field(
        CREDENTIAL, "The credential configuration; relative to this file's directory."
    )
    service_account: str | None = key_field(ACCOUNT, "In place of the one that the file names.", default=None)


@declared
class FileIdentity(Identity):
    """A file that holds a token and that something else keeps fresh."""

    type = "file"
    has_access_tokens = True
    path: str = key_field(AWAITED, "The token's file; relative to this file's directory.")


@declared
class CommandIdentity(Identity):
    """A command that prints a token."""

    type = "command"
    has_access_tokens = True
    argv: tuple[str, ...] = key_field(
        Items(ARGUMENT, least=1), "The program and its arguments; {audience} and {scopes} are replaced."
    )


@declared
class SignedJwtIdentity(Identity):
    """A JWT that a service account signs: for IAP with Google's managed OAuth client."""

    type = "signed_jwt"
    service_account: str = key_field(EMAIL, "Who signs, and who calls.")
    key_file: str | None = key_field(
        CREDENTIAL,
        "Its JSON key, which signs here; relative to this file's directory. Left out: Google signs.",
        default=None,
    )
    source: Identity = key_field(SOURCE, "Who asks Google to sign.", default=AutoIdentity())
