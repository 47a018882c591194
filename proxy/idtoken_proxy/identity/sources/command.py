"""A command that prints a token: whatever Google's own ways do not cover."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from time import time
from typing import TYPE_CHECKING

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources import process
from idtoken_proxy.identity.sources.printed_token import access_token_in
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import CommandIdentity
from idtoken_proxy.settings.model import Scopes
from idtoken_proxy.settings.plausible import shown_path

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

VARIABLE = "IDTOKEN_PROXY_AUDIENCE"
SCOPES_VARIABLE = "IDTOKEN_PROXY_SCOPES"


class CommandSource:
    name = "command"
    refresh_ahead = REFRESH_AHEAD

    def __init__(
        self,
        argv: tuple[str, ...],
        environ: Mapping[str, str],
        deadline: float = process.DEADLINE,
        wall: Wall = time,
    ) -> None:
        self._wall = wall
        self._argv = argv
        self._environ = environ
        self._deadline = deadline
        self._shown = shown_path(argv[0])
        self._program = PurePath(self._shown).name

    def describe(self) -> str:
        """Without its arguments, which may hold secrets."""
        return f"command {self._shown}"

    def fetch(self, audience: str) -> IdToken:
        printed = self._printed(VARIABLE, audience, "{audience}")
        # Its audience is the command's affair, as a file's is: a service may have custom audiences.
        return IdToken.parse(printed, origin=f"the command {self._program}", fault=Fault.OPERATOR)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        """Where what it prints does not say how long the token lives, it is run again before long."""
        asked = self._wall()
        printed = self._printed(SCOPES_VARIABLE, str(scopes), "{scopes}")
        return access_token_in(printed, origin=f"the command {self._program}", asked=asked)

    def _printed(self, variable: str, wanted: str, placeholder: str) -> str:
        """What it is asked for stands in the variable, and in place of the placeholder."""
        argv = tuple(argument.replace(placeholder, wanted) for argument in self._argv)
        told = f"{variable}={shlex.quote(wanted)} {self._shown} ..."
        try:
            ended = process.run(argv, {**self._environ, variable: wanted}, self._deadline)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            raise self._error(
                f"cannot be started ({why})",
                "command_not_started",
                f"Correct argv: {self._shown} must be a program that this user may run, with a path or on PATH",
            ) from None
        except ValueError:  # a NUL in an argument
            raise self._error("cannot be started", "command_not_started", "Correct argv") from None
        except process.TimedOut:
            raise self._error(f"was stopped after {self._deadline:.0f} s", "command_timeout", told) from None
        except process.TooMuch:
            raise self._error(
                "was stopped: it prints more than a token",
                "command_output",
                f"{self._program} must print the token alone; see what it prints: {told}",
            ) from None
        if ended.code != 0:
            how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
            raise self._error(
                f"failed ({how})",
                "command_failed",
                # Not what it says: a stranger's words may hold anything, and no mask finds a short password.
                f"See what it says: {told}",
            )
        return ended.stdout

    def _error(self, what: str, cause: str, remedy: str) -> TokenError:
        return TokenError(
            f"the command {self._shown} {what}",
            cause=cause,
            fault=Fault.OPERATOR,
            remedy=remedy,
        )


def build(identity: CommandIdentity, by: Builder) -> CommandSource:
    return CommandSource(identity.argv, by.environ, wall=by.wall)
