"""The identity forms as a file says them: a word (`auto`, `none`, `gcloud`), or a mapping with a `type`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxy.settings import names
from proxy.settings.entry import Entry
from proxy.settings.mistakes import nearest
from proxy.settings.values import argument, printable, shown

Path: TypeAlias = Annotated[
    str, PlainValidator(printable), WithJsonSchema({"type": "string", "minLength": 1})
]
Account: TypeAlias = Annotated[
    str,
    PlainValidator(names.account),
    WithJsonSchema({"type": "string", "pattern": rf"^({names.ACCOUNT}|[0-9]+)$"}),
]
Email: TypeAlias = Annotated[
    str, PlainValidator(names.email), WithJsonSchema({"type": "string", "pattern": f"^{names.ACCOUNT}$"})
]
Argument: TypeAlias = Annotated[
    str, PlainValidator(argument), WithJsonSchema({"type": "string", "minLength": 1})
]
MetadataAccount: TypeAlias = Annotated[
    str,
    PlainValidator(names.metadata_account),
    WithJsonSchema({"type": "string", "pattern": rf"^(default|{names.ACCOUNT}|[0-9]+)$"}),
]


class Auto(Entry):
    """Google's documented order: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the metadata server."""

    type: Literal["auto"]


class Nobody(Entry):
    """A public route: no token is attached."""

    type: Literal["none"]


class Metadata(Entry):
    """The metadata server: Cloud Run, Compute Engine, GKE."""

    type: Literal["metadata"]
    service_account: MetadataAccount = Field(
        default="default", description="Its email; default for the attached one."
    )


class ServiceAccount(Entry):
    """A service account's key file."""

    type: Literal["service_account"]
    key_file: Path = Field(description="The JSON key; relative to this file's directory.")


class File(Entry):
    """A file that holds an ID token and that something else keeps fresh."""

    type: Literal["file"]
    path: Path = Field(description="The token's file; relative to this file's directory.")


class User(Entry):
    """What `gcloud auth application-default login` has left."""

    type: Literal["user"]


class Gcloud(Entry):
    """`gcloud auth print-identity-token`."""

    type: Literal["gcloud"]
    account: Account | None = Field(default=None, description="Another account than gcloud's current one.")


class Impersonated(Entry):
    """A service account's token, asked for by another identity."""

    type: Literal["impersonated"]
    service_account: Account = Field(description="Whose token it is.")
    delegates: list[Account] = Field(default=[], description="The chain of accounts between source and it.")
    source: Source = Field(default=Auto(type="auto"), description="Who asks.")


class ExternalAccount(Entry):
    """Workload identity federation."""

    type: Literal["external_account"]
    config_file: Path = Field(description="The credential configuration; relative to this file's directory.")
    service_account: Account | None = Field(
        default=None, description="In place of the one that the file names."
    )


class Command(Entry):
    """A command that prints an ID token."""

    type: Literal["command"]
    argv: list[Argument] = Field(
        min_length=1, description="The program and its arguments; {audience} is replaced."
    )


class SignedJwt(Entry):
    """A JWT that a service account signs: for IAP with Google's managed OAuth client."""

    type: Literal["signed_jwt"]
    service_account: Email = Field(description="Who signs, and who calls.")
    key_file: Path | None = Field(
        default=None,
        description="Its JSON key, which signs here; relative to this file's directory. Left out: Google signs.",
    )
    source: Source = Field(default=Auto(type="auto"), description="Who asks Google to sign.")


BY_TYPE: dict[str, type[Entry]] = {
    "auto": Auto,
    "none": Nobody,
    "metadata": Metadata,
    "service_account": ServiceAccount,
    "user": User,
    "gcloud": Gcloud,
    "impersonated": Impersonated,
    "external_account": ExternalAccount,
    "file": File,
    "command": Command,
    "signed_jwt": SignedJwt,
}
WORDS = ("auto", "none", "metadata", "user", "gcloud")  # those that need no other key


# Those that have access tokens, with which another account's tokens can be asked for.
SOURCES = ("auto", "metadata", "service_account", "user", "gcloud", "impersonated", "external_account")


def _from_word(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in BY_TYPE:
        near = nearest(value, BY_TYPE)
        hint = f'; did you mean "{near}"?' if near else ""
        raise ValueError(f"must be {', '.join(WORDS)}, or a mapping with a type, not {shown(value)}{hint}")
    return {"type": value}


def _source_from_word(value: Any) -> Any:
    value = _from_word(value)
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in BY_TYPE and kind not in SOURCES:
        raise ValueError(f"{kind} cannot ask for another account's tokens; use {', '.join(SOURCES)}")
    return value


Source: TypeAlias = Annotated[
    Auto | Metadata | ServiceAccount | User | Gcloud | Impersonated | ExternalAccount,
    Field(discriminator="type"),
    BeforeValidator(_source_from_word),
]
Identity: TypeAlias = Annotated[
    Auto
    | Nobody
    | Metadata
    | ServiceAccount
    | User
    | Gcloud
    | Impersonated
    | ExternalAccount
    | File
    | Command
    | SignedJwt,
    Field(discriminator="type"),
    BeforeValidator(_from_word),
]
Impersonated.model_rebuild()
SignedJwt.model_rebuild()
