"""The identity forms as a file says them: a word (`auto`, `none`, `gcloud`), or a mapping with a `type`."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from idtoken_proxy.settings import names
from idtoken_proxy.settings.mistakes import nearest
from idtoken_proxy.settings.plausible import path_objection, shown
from idtoken_proxy.settings.shape import TAG, Entry, FilePath, Items, Scalar, Tagged, key
from idtoken_proxy.settings.values import argument, printable


def _file_objection(text: str) -> str | None:
    return path_objection(text, home=True)


_TEXT: Final = {"type": "string", "minLength": 1}
FILE: Final = FilePath(printable, _TEXT, refuse=_file_objection)
# Read at each fetch: a new one needs no new settings, for which idle connections to receivers would be given up.
CREDENTIAL: Final = FilePath(printable, _TEXT, refuse=_file_objection, reread=True)
# What writes it may come later than the proxy, which waits for it.
AWAITED: Final = FilePath(printable, _TEXT, refuse=_file_objection, reread=True, awaited=True)
ACCOUNT: Final = Scalar(names.account, {"type": "string", "pattern": rf"^({names.ACCOUNT}|[0-9]+)$"})
EMAIL: Final = Scalar(names.email, {"type": "string", "pattern": f"^{names.ACCOUNT}$"})
ARGUMENT: Final = Scalar(argument, {"type": "string", "minLength": 1}, refuse=None)  # may hold a secret
METADATA_ACCOUNT: Final = Scalar(
    names.metadata_account, {"type": "string", "pattern": rf"^(default|{names.ACCOUNT}|[0-9]+)$"}
)

WORDS: Final = ("auto", "none", "metadata", "user", "gcloud")  # those that need no other key


class Auto(Entry, tag="auto"):
    """Google's documented order: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the metadata server."""


class Nobody(Entry, tag="none"):
    """A public route: no token is attached."""


class Metadata(Entry, tag="metadata"):
    """The metadata server: Cloud Run, Compute Engine, GKE."""

    service_account: str = key(
        METADATA_ACCOUNT, "Its email; default for the attached one.", default="default"
    )


class ServiceAccount(Entry, tag="service_account"):
    """A service account's key file."""

    key_file: str = key(CREDENTIAL, "The JSON key; relative to this file's directory.")


class File(Entry, tag="file"):
    """A file that holds an ID token and that something else keeps fresh."""

    path: str = key(AWAITED, "The token's file; relative to this file's directory.")


class User(Entry, tag="user"):
    """What `gcloud auth application-default login` has left."""


class Gcloud(Entry, tag="gcloud"):
    """`gcloud auth print-identity-token`."""

    account: str | None = key(ACCOUNT, "Another account than gcloud's current one.", default=None)


def _from_word(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in BY_TYPE:
        near = nearest(value, BY_TYPE)
        hint = f'; did you mean "{near}"?' if near else ""
        raise ValueError(f"must be {', '.join(WORDS)}, or a mapping with a type, not {shown(value)}{hint}")
    return {TAG: value}


def _source_from_word(value: Any) -> Any:
    value = _from_word(value)
    kind = value.get(TAG) if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in BY_TYPE and kind not in SOURCES:
        raise ValueError(f"{kind} cannot ask for another account's tokens; use {', '.join(SOURCES)}")
    return value


SOURCE: Final[Tagged[Source]] = Tagged(_source_from_word, lambda: SOURCES)


class Impersonated(Entry, tag="impersonated"):
    """A service account's token, asked for by another identity."""

    service_account: str = key(ACCOUNT, "Whose token it is.")
    delegates: list[str] = key(Items(ACCOUNT), "The chain of accounts between source and it.", default=[])
    source: Source = key(SOURCE, "Who asks.", default=Auto())


class ExternalAccount(Entry, tag="external_account"):
    """Workload identity federation."""

    config_file: str = key(CREDENTIAL, "The credential configuration; relative to this file's directory.")
    service_account: str | None = key(ACCOUNT, "In place of the one that the file names.", default=None)


class Command(Entry, tag="command"):
    """A command that prints an ID token."""

    argv: list[str] = key(Items(ARGUMENT, least=1), "The program and its arguments; {audience} is replaced.")


class SignedJwt(Entry, tag="signed_jwt"):
    """A JWT that a service account signs: for IAP with Google's managed OAuth client."""

    service_account: str = key(EMAIL, "Who signs, and who calls.")
    key_file: str | None = key(
        CREDENTIAL,
        "Its JSON key, which signs here; relative to this file's directory. Left out: Google signs.",
        default=None,
    )
    source: Source = key(SOURCE, "Who asks Google to sign.", default=Auto())


Source: TypeAlias = Auto | Metadata | ServiceAccount | User | Gcloud | Impersonated | ExternalAccount
Identity: TypeAlias = Source | Nobody | File | Command | SignedJwt

# Those that have access tokens, with which another account's tokens can be asked for.
SOURCES: Final[dict[str, type[Source]]] = {
    entry.tag: entry
    for entry in (Auto, Metadata, ServiceAccount, User, Gcloud, Impersonated, ExternalAccount)
}
BY_TYPE: Final[dict[str, type[Identity]]] = {
    entry.tag: entry
    for entry in (
        Auto, Nobody, Metadata, ServiceAccount, User, Gcloud, Impersonated, ExternalAccount, File, Command, SignedJwt
    )
}  # fmt: skip
IDENTITY: Final[Tagged[Identity]] = Tagged(_from_word, lambda: BY_TYPE)
