"""Where the refresh token of `idtoken-proxy login` is kept: in the system's keyring, or else in a file of mode 0600.

Beside the keyring there is such a file too, without the token: a running proxy sees by it that somebody has logged in.
Each is replaced whole, so that of two processes that log in at once one leaves its login, and never half of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.plain_file import read_plain, version
from idtoken_proxy.settings.plausible import shown_path

COMMAND: Final = "idtoken-proxy login"
SERVICE: Final = "idtoken-proxy"  # in the keyring
_MAX_BYTES: Final = 64 * 1024


class Keyring(Protocol):
    """As the keyring library has it."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Login:
    """`scopes`: those that were granted."""

    refresh_token: str = field(repr=False)
    email: str | None = None
    scopes: tuple[str, ...] = ()


def system_keyring() -> Keyring | None:
    """None where the library is not installed (the extra `login`), or finds nothing that encrypts. May block."""
    try:
        import keyring  # noqa: PLC0415 -- optional

        backend: Any = keyring.get_keyring()
        usable = backend.priority >= 1
    except Exception:  # noqa: BLE001 -- backends fail in ways of their own
        return None
    return backend if usable else None


class LoginStore:
    """Of one OAuth client. `keyring`: None for the file alone."""

    def __init__(self, client_id: str, environ: Mapping[str, str], keyring: Keyring | None = None) -> None:
        self._client_id = client_id
        self._keyring = keyring
        home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 -- may not raise
        state = environ.get("XDG_STATE_HOME") or str(Path(home, ".local", "state"))
        name = re.sub(r"[^A-Za-z0-9._-]", "_", client_id)[:100]
        self._path = Path(state, "idtoken-proxy", "logins", f"{name}.json")
        self.path = shown_path(str(self._path))

    def version(self) -> object:
        """Compares equal as long as nobody has logged in or out; raises nothing."""
        try:
            return version(self._path)
        except (OSError, ValueError):
            return None

    def load(self) -> Login:
        """Blocks. TokenError where there is none."""
        try:
            read = read_plain(self._path, _MAX_BYTES)
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            raise self._error(
                "login_missing",
                f"nobody has logged in with the OAuth client {self._client_id} on this machine",
            ) from None
        except OSError as error:
            raise self._error(
                "login_store", f"the login in {self.path} cannot be read: {error.strerror}"
            ) from None
        if mode & 0o077:
            raise TokenError(
                f"the login in {self.path} may be read by other users of this machine",
                cause="login_store",
                fault=Fault.OPERATOR,
                remedy=f"chmod 600 {self.path}; and if others may have read it: {COMMAND}",
            )
        try:
            told = json.loads(read.content)
            token = self._in_keyring() if told["kept_in"] == "keyring" else told["refresh_token"]
            if not isinstance(token, str) or not token:
                raise TypeError  # noqa: TRY301 -- one more way to hold none
            email = told.get("email")
            return Login(
                token, email if isinstance(email, str) else None, tuple(map(str, told.get("scopes", ())))
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._error("login_store", f"the login in {self.path} is broken") from None

    def save(self, login: Login) -> str:
        """Where it is now, for people. Blocks. OSError where it can be kept nowhere."""
        told: dict[str, object] = {"email": login.email, "scopes": login.scopes}
        where = self.path
        if self._kept_in_keyring(login):
            told["kept_in"], where = "keyring", "the system's keyring"
        else:
            told |= {"kept_in": "file", "refresh_token": login.refresh_token}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump(told, file)
                file.flush()
                os.fsync(number)
            beside.replace(self._path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
        return where

    def remove(self) -> None:
        """Whatever is there of it. Blocks. OSError."""
        if self._keyring is not None:
            with contextlib.suppress(Exception):  # backends have errors of their own for what is not there
                self._keyring.delete_password(SERVICE, self._client_id)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _kept_in_keyring(self, login: Login) -> bool:
        if self._keyring is None:
            return False
        try:
            self._keyring.set_password(SERVICE, self._client_id, login.refresh_token)
            return self._keyring.get_password(SERVICE, self._client_id) is not None
        except Exception:  # noqa: BLE001 -- a locked one, or none at all after all
            return False

    def _in_keyring(self) -> str:
        try:
            token = None if self._keyring is None else self._keyring.get_password(SERVICE, self._client_id)
        except Exception:  # noqa: BLE001
            token = None
        if token is None:
            raise self._error(
                "login_store",
                "the login is in the system's keyring, and that is locked, or out of this process's reach",
            )
        return token

    def _error(self, cause: str, detail: str) -> TokenError:
        return TokenError(detail, cause=cause, fault=Fault.OPERATOR, remedy=COMMAND, login=COMMAND)
