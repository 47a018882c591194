"""Where the refresh token of `idtoken-proxy login` is kept: in the system's keyring, or else in a file of mode 0600.

Beside the keyring there is such a file too, without the token: a running proxy sees by it that somebody has logged in.
Each is replaced whole, so that of two processes that log in at once one leaves its login, and never half of each.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shlex
import stat
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
# The rights of others to a file or a directory.
_WRITE: Final = 0o022
_ANY: Final = 0o077


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
        """Blocks. TokenError where there is none, or where others may have put their hands on it."""
        login = self._read()
        for path, others in ((self._path.parent, _WRITE), (self._path, _ANY)):
            with contextlib.suppress(OSError):  # it went just now, which its version will tell
                if path.stat().st_mode & others:
                    raise self._open_to_others(path)
        return login

    def found(self) -> Login:
        """Likewise, whoever may have read it, and where the keyring alone is left of it: to be revoked."""
        try:
            return self._read()
        except TokenError as error:
            if error.cause == "login_missing":
                with contextlib.suppress(TokenError):
                    return Login(self._in_keyring())
            raise

    def _read(self) -> Login:
        try:
            read = read_plain(self._path, _MAX_BYTES)
        except FileNotFoundError:
            raise self._error(
                "login_missing",
                f"nobody has logged in with the OAuth client {self._client_id} on this machine",
            ) from None
        except OSError as error:
            raise self._error(
                "login_store", f"the login in {self.path} cannot be read: {error.strerror}"
            ) from None
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

    def prepare(self) -> None:
        """The directory, for its owner alone: whoever may write there may take this login away, or put another in its place.
        Blocks. OSError.
        """
        directory = self._path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # `parents` are made as the umask has it.
        for path, others in ((directory.parent, _WRITE), (directory, _ANY)):
            state = path.stat()
            if state.st_uid not in (os.geteuid(), 0):
                raise PermissionError(errno.EPERM, f"{shown_path(str(path))} belongs to another user")
            if state.st_mode & others:
                path.chmod(stat.S_IMODE(state.st_mode) & ~others)

    def save(self, login: Login) -> str:
        """Where it is now, for people. Blocks. OSError where it can be kept nowhere."""
        told: dict[str, object] = {"email": login.email, "scopes": login.scopes}
        where = self.path
        if self._kept_in_keyring(login):
            told["kept_in"], where = "keyring", "the system's keyring"
        else:
            told |= {"kept_in": "file", "refresh_token": login.refresh_token}
        self.prepare()
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

    def remove(self) -> tuple[str, str] | None:
        """Whatever is there of it, as far as that can be done. Blocks. (what stays, what removes it) where something does: a
        file that leads to it stays with it.
        """
        if not self._forgotten_by_keyring() and self._says_keyring():
            return (
                "its entry in the system's keyring is locked, or out of this process's reach",
                f"Unlock the keyring, then idtoken-proxy logout, or keyring del {SERVICE} {shlex.quote(self._client_id)}",
            )
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            return f"{self.path} cannot be removed ({error.strerror})", f"rm -r {shlex.quote(self.path)}"
        return None

    def _forgotten_by_keyring(self) -> bool:
        """Asked whatever the file says: it may have come into that one's place."""
        if self._keyring is None:
            return False
        try:
            if self._keyring.get_password(SERVICE, self._client_id) is not None:
                self._keyring.delete_password(SERVICE, self._client_id)
        except Exception:  # noqa: BLE001 -- a locked one; backends fail in ways of their own
            return False
        return True

    def _says_keyring(self) -> bool:
        try:
            return bool(json.loads(read_plain(self._path, _MAX_BYTES).content)["kept_in"] == "keyring")
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False

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
                f"Unlock it, or {COMMAND}",
            )
        return token

    def _open_to_others(self, path: Path) -> TokenError:
        shown = shown_path(str(path))
        if path == self._path:
            what, mode = f"the login in {shown} may be read by other users of this machine", 600
        else:
            what, mode = f"other users of this machine may put logins of their own into {shown}", 700
        return TokenError(
            what,
            cause="login_store",
            fault=Fault.OPERATOR,
            remedy=f"chmod {mode} {shlex.quote(shown)}; and if others may have been there: {COMMAND}",
        )

    def _error(self, cause: str, detail: str, remedy: str = COMMAND) -> TokenError:
        return TokenError(detail, cause=cause, fault=Fault.OPERATOR, remedy=remedy, login=COMMAND)
