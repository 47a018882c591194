"""A token that something else writes to a file: another sidecar, a projected volume, a person."""

from __future__ import annotations

import os
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import structlog

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.printed_token import access_token_in
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.plain_file import NotPlain, Version, read_plain
from idtoken_proxy.plain_file import version as file_version
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import Scopes
from idtoken_proxy.settings.plausible import shown_path

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

_log = structlog.get_logger("idtoken_proxy.identity")
_MAX_BYTES = 64 * 1024


class FileSource:
    name = "file"
    refresh_ahead = REFRESH_AHEAD
    recheck = 15.0  # seconds; a stat where nothing changed

    def __init__(self, path: str, wall: Wall = time) -> None:
        self._wall = wall
        self._path = Path(path)
        self._shown = shown_path(path)
        self._kept: tuple[Version, IdToken] | None = None  # what the file looked like, its token
        self._warned: set[str] = set()

    def describe(self) -> str:
        return f"token file {self._shown}"

    def fetch(self, audience: str) -> IdToken:
        try:
            kept = self._kept
            if kept is not None and kept[0] == file_version(self._path):
                self._warn(kept[1], audience)
                return kept[1]
            read = read_plain(self._path, _MAX_BYTES)
        except (OSError, ValueError) as error:
            raise self._unreadable(error, "the ID token (a JWT)") from None
        token = IdToken.parse(
            read.content.decode("latin-1"), origin=f"the token file {self._shown}", fault=Fault.OPERATOR
        )
        self._kept = (read.version, token)
        self._warn(token, audience)
        return token

    def version(self) -> object:
        try:
            return file_version(self._path)
        except (OSError, ValueError):
            return None

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:  # noqa: ARG002 -- whoever writes it has chosen them
        """Read anew each time: where the file does not say how long its token lives, it does as long as it stands there."""
        asked = self._wall()
        try:
            read = read_plain(self._path, _MAX_BYTES)
        except (OSError, ValueError) as error:
            raise self._unreadable(error, "the access token") from None
        return access_token_in(
            read.content.decode("latin-1"), origin=f"the token file {self._shown}", asked=asked
        )

    def _unreadable(self, error: OSError | ValueError, token: str) -> TokenError:
        return TokenError(
            f"the token file {self._shown} cannot be read ({_why(error)})",
            cause="file_missing" if isinstance(error, FileNotFoundError) else "file_unreadable",
            fault=Fault.OPERATOR,
            remedy=f"Write {token} to {self._shown}, readable by this user",
        )

    def _warn(self, token: IdToken, audience: str) -> None:
        """Not an error: a service may have custom audiences, which the configuration need not name."""
        if not token.is_for(audience) and audience not in self._warned:
            self._warned.add(audience)
            _log.warning(
                "token file for another audience",
                path=self._shown,
                audience=audience,
                token_audience=token.audiences,
            )


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, NotPlain):
        return str(error.strerror)
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__


def build(identity: FileIdentity, by: Builder) -> FileSource:
    return FileSource(identity.path, by.wall)
