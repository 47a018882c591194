"""A JSON file that holds a credential, of any type: read once, and again when it changes."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.malformed import another_document, malformed
from idtoken_proxy.plain_file import NotPlain, Version, read_plain, version
from idtoken_proxy.settings.environment import is_there
from idtoken_proxy.settings.plausible import credential_in, path_objection, shown_path

_MAX_BYTES = 1024 * 1024
LOGIN = "gcloud auth application-default login"


class Document(Protocol):
    """A credential's JSON object: a file's, or a part of it."""

    @property
    def path(self) -> str: ...

    @property
    def label(self) -> str:
        """For messages: `the key file /k.json`."""

    @property
    def masks_login(self) -> str | None:
        """The variable that names the file, where a new login writes to another one."""

    def read(self) -> Mapping[str, Any]:
        """The same object as long as the file is the same: keys get rotated under a running proxy."""

    def version(self) -> object:
        """Compares equal as long as the file is the same, or is not there; raises nothing."""

    def invalid(self, what: str, *, remedy: str | None = None, log_detail: str | None = None) -> TokenError:
        """`what`: such as `lacks client_email`. Never a value of it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """The environment's that says which file it is, and what it holds: that may be no path at all. `masks_login`: it keeps the
    file that a new login writes from being found.
    """

    name: str
    value: str
    masks_login: bool = False


class CredentialFile:
    def __init__(
        self,
        path: str,
        *,
        noun: str = "the credential file",
        named_by: str | None = None,
        variable: Variable | None = None,
    ) -> None:
        """`named_by`: who says that it is this file, for the errors, where the configuration does not."""
        self._path = path
        self._variable = variable.name if variable else None
        self.masks_login = variable.name if variable and variable.masks_login else None
        self._misnamed = path_objection(variable.value if variable else path)
        is_secret = variable is not None and credential_in(variable.value) is not None
        self.path = "(not shown)" if is_secret else shown_path(path)
        self.label = f"{noun} {self.path}" + (f" ({named_by})" if named_by else "")
        # (what the file looked like, what it holds); replaced as one, since threads share it.
        self._loaded: tuple[Version, dict[str, Any]] | None = None
        self._make = _make(self.path, None)

    @property
    def is_misnamed(self) -> bool:
        """Whether what should be its path is none, such as the credential itself."""
        return self._misnamed is not None and not is_there(self._path)

    @property
    def is_there(self) -> bool:
        """One that may not be looked at counts as there: it will be an error, not passed over."""
        try:
            Path(self._path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError):
            return True
        return True

    def version(self) -> object:
        try:
            return version(self._path)
        except (OSError, ValueError):
            return None

    def read(self) -> Mapping[str, Any]:
        if self.is_misnamed:
            raise self._no_path()
        path = Path(self._path)
        try:
            loaded = self._loaded
            if loaded is not None and loaded[0] == version(path):
                return loaded[1]
            read = read_plain(path, _MAX_BYTES)
        except FileNotFoundError:
            raise TokenError(
                f"{self.label} does not exist",
                cause="credential_file_missing",
                fault=Fault.OPERATOR,
                remedy=f"Correct the path, or make it: {self._make}",
                login=LOGIN if self._make == LOGIN else None,
            ) from None
        except IsADirectoryError:
            raise TokenError(
                f"{self.label} cannot be read (Is a directory)",
                cause="credential_file_unreadable",
                fault=Fault.OPERATOR,
                remedy="Name the file in it. Where a container runtime made the directory: the file to mount was not "
                "there; put it there, remove the directory, start again",
            ) from None
        except ValueError:
            raise self._no_path() from None
        except OSError as error:
            not_plain = isinstance(error, NotPlain)
            why = os.strerror(error.errno) if error.errno and not not_plain else error.strerror
            raise TokenError(
                f"{self.label} cannot be read ({why or type(error).__name__})",
                cause="credential_file_unreadable",
                fault=Fault.OPERATOR,
                remedy="Name a file: it is read again and again"
                if not_plain
                else "Give this user the right to read it",
            ) from None
        try:
            info = json.loads(read.content)
        except (ValueError, RecursionError):
            # `from None`: the text that failed to parse may be most of a credential.
            raise self._malformed(read.content, None, "is not JSON") from None
        if not isinstance(info, dict):
            raise self._malformed(read.content, info, "is no JSON object")
        self._make = _make(self.path, info.get("type"))
        self._loaded = (read.version, info)
        return info

    def _malformed(self, content: bytes, value: object, otherwise: str) -> TokenError:
        what, remedy = malformed(content, value, self.path) or (otherwise, None)
        return self.invalid(what, remedy=remedy)

    def _no_path(self) -> TokenError:
        who = self._variable or self.label
        return TokenError(
            f"{who} {self._misnamed or 'holds what is no path'}",
            cause="credential_path",
            fault=Fault.OPERATOR,
            remedy=f"Set {self._variable or 'it'} to the path of the file that holds the credential; the credential itself is "
            "as good as before",
        )

    def invalid(self, what: str, *, remedy: str | None = None, log_detail: str | None = None) -> TokenError:
        return TokenError(
            f"{self.label} {what}",
            cause="credential_file_invalid",
            fault=Fault.OPERATOR,
            remedy=remedy
            or f"Put it in place as it was made, whole and unchanged; where that is gone: {self._make}",
            log_detail=log_detail,
        )


class CredentialPart:
    """A credential inside another one's document: `source_credentials`."""

    def __init__(self, whole: Document, key: str) -> None:
        self._whole = whole
        self._key = key

    @property
    def path(self) -> str:
        return self._whole.path

    @property
    def label(self) -> str:
        return f"{self._whole.label}, in its {self._key},"

    @property
    def masks_login(self) -> str | None:
        return self._whole.masks_login

    def version(self) -> object:
        return self._whole.version()

    def read(self) -> Mapping[str, Any]:
        part = self._whole.read().get(self._key)
        if not isinstance(part, dict):
            raise self._whole.invalid(f"lacks {self._key}")
        return part

    def invalid(self, what: str, *, remedy: str | None = None, log_detail: str | None = None) -> TokenError:
        return self._whole.invalid(f"in its {self._key} {what}", remedy=remedy, log_detail=log_detail)


def login(document: Document, command: str = LOGIN) -> str:
    """What mends a login that has ended. The command writes gcloud's own file, and where a variable goes on naming another
    one, the dead login stays in use.
    """
    if document.masks_login is None:
        return command
    return f"{command}, and unset {document.masks_login} (it names {document.path}, which that command does not write)"


def read_as(
    document: Document, kind: str, wanted: str, required: tuple[str, ...], *, remedy: str | None = None
) -> Mapping[str, Any]:
    """The document, known to be of type `kind` (`wanted`, for people) and to have text under every required key."""
    info = document.read()
    found = kind_of(info)
    if found != kind:
        if found is None:
            raise untyped(document, info, f", not {wanted}", remedy=remedy)
        raise document.invalid(f"holds a credential of type {found!r}, not {wanted}", remedy=remedy)
    missing = [key for key in required if not isinstance(info.get(key), str) or not info[key]]
    if missing:
        raise document.invalid(f"lacks {', '.join(missing)}", remedy=remedy)
    return info


def untyped(
    document: Document, info: Mapping[str, Any], wanted: str = "", *, remedy: str | None = None
) -> TokenError:
    """Of a document that says no type, as every credential does."""
    what, how = another_document(info, document.path) or (
        f"holds a credential without a type{wanted}",
        remedy,
    )
    return document.invalid(what, remedy=how)


def kind_of(info: Mapping[str, Any]) -> str | None:
    kind = info.get("type")
    return kind[:64] if isinstance(kind, str) and kind.isidentifier() else None


def _make(path: str, kind: object) -> str:
    """The command that makes such a file."""
    if kind == "external_account":
        return (
            "gcloud iam workload-identity-pools create-cred-config "
            "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER "
            f"--service-account=EMAIL --output-file={shlex.quote(path)} and where the subject token comes from"
        )
    if Path(path).name == "application_default_credentials.json" or kind == "authorized_user":
        return LOGIN
    return f"gcloud iam service-accounts keys create {shlex.quote(path)} --iam-account=EMAIL"
