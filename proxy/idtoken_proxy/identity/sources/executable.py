"""A credential file's executable: it prints the other cloud's token, which STS exchanges.

https://google.aip.dev/auth/4117#determining-the-subject-token-in-executable-sourced-credentials. Not google-auth's own:
that tells an exit code, a time-out and a refusal by exceptions that quote all of the output, takes stderr for a part of
the answer, and leaves a command's children running.
"""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import process
from idtoken_proxy.identity.sources.credential_file import Document
from idtoken_proxy.identity.sources.executable_answer import (
    SubjectToken,
    Unsuccessful,
    Unusable,
    subject_token,
)
from idtoken_proxy.plain_file import read_plain
from idtoken_proxy.settings.plausible import shown_path

DEADLINE: Final = 8.0  # seconds; the cache waits 10 for the whole of a fetch
_TIMEOUTS: Final = (5000, 120_000)  # milliseconds, as Google's libraries take them
_FORMAT: Final = "https://google.aip.dev/auth/4117"


class Executable:
    def __init__(
        self,
        document: Document,
        info: Mapping[str, Any],
        environ: Mapping[str, str],
        *,
        account: str | None = None,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`info`: the whole of the credential file. `account`: the one that is to be impersonated, which some executables
        ask for. Raises TokenError where the file does not describe one.
        """
        self._clock = clock
        said = info["credential_source"]["executable"]
        if not isinstance(said, dict):
            raise document.invalid("has an executable that is no JSON object")
        self._argv = _argv(document, said.get("command"))
        self._shown = shown_path(self._argv[0])
        wanted = _timeout(document, said.get("timeout_millis"))
        self.deadline = deadline if wanted is None else min(wanted, deadline)
        self._file = said.get("output_file")
        if self._file is not None and not isinstance(self._file, str):
            raise document.invalid("has an executable whose output_file is no path")
        self._where = document.path
        self._variables = {
            "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": info["audience"],
            "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": info["subject_token_type"],
            "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE": "0",
            "GOOGLE_EXTERNAL_ACCOUNT_REVOKE": "0",
        }
        if account:
            self._variables["GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL"] = account
        if self._file:
            self._variables["GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE"] = self._file
        self._environ = {**environ, **self._variables}

    def subject_token(self) -> str:
        """Of its output file, as long as that is good; else it runs. TokenError."""
        return (self._kept() or self._run()).value

    def _kept(self) -> SubjectToken | None:
        """None: not there yet, no longer good, half written, or a refusal, which the next run may not repeat."""
        text = self._output_file()
        if text is None:
            return None
        try:
            return subject_token(text, self._clock(), kept=True)
        except (Unsuccessful, Unusable):
            return None

    def _output_file(self) -> str | None:
        if not self._file:
            return None
        try:
            return read_plain(self._file, process.MAX_OUTPUT).content.decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def _run(self) -> SubjectToken:
        try:
            ended = process.run(self._argv, self._environ, self.deadline)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            raise self._error(
                f"cannot be started ({why})",
                "executable_not_started",
                f"Correct credential_source.executable.command in {self._where}: it must be a program that this user may run, "
                "with its whole path",
            ) from None
        except ValueError:  # a NUL in an argument or a variable
            raise self._error(
                "cannot be started (a NUL in its command)",
                "executable_not_started",
                f"Correct credential_source.executable.command in {self._where}",
            ) from None
        except process.TimedOut:
            raise self._error(
                f"did not end within {self.deadline:g} s, and was stopped",
                "executable_timeout",
                self._faster(),
            ) from None
        except process.TooMuch:
            raise self._error(
                f"was stopped: it prints more than {process.MAX_OUTPUT // 1024} KiB",
                "executable_output",
                f"It must print the answer of {_FORMAT} alone; see what it prints: {self._try}",
            ) from None
        # Where it prints nothing, its output file has the answer.
        printed = ended.stdout.encode("latin-1").decode("utf-8", "replace")
        text = printed if printed.strip() or ended.code else self._output_file() or ""
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        failed = self._error(f"failed ({how})", "executable_failed", f"See what it says: {self._try}")
        try:
            token = subject_token(text, self._clock(), kept=bool(self._file))
        except Unsuccessful as refused:
            ending = f", {how}" if ended.code else ""
            raise self._error(
                f"says that it has no token ({refused.said}{ending})",
                "executable_refused",
                f"It is the executable that refuses, not Google; see what it lacks: {self._try}",
            ) from None
        except Unusable as unusable:
            if ended.code:
                raise failed from None
            raise self._error(
                f"gave an answer that {unusable.what}",
                "executable_output",
                f"It must print the answer of {_FORMAT}, and nothing else, to standard output; see what it prints: {self._try}",
            ) from None
        if ended.code:
            raise failed
        return token

    @property
    def _try(self) -> str:
        """To be pasted, but for its arguments: they may hold secrets."""
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in self._variables.items())
        return f"{variables} {self._shown} ..."

    def _faster(self) -> str:
        if self.deadline < DEADLINE:
            return (
                f"Raise credential_source.executable.timeout_millis in {self._where} (up to {DEADLINE * 1000:.0f} here), or see "
                f"what it waits for: {self._try}"
            )
        return (
            f"It has {DEADLINE:g} s here, whatever timeout_millis says: see what it waits for: {self._try}; what takes longer can "
            "be done beforehand, with the answer left in credential_source.executable.output_file"
        )

    def _error(self, what: str, cause: str, remedy: str) -> TokenError:
        return TokenError(
            f"the executable {self._shown} {what}", cause=cause, fault=Fault.OPERATOR, remedy=remedy
        )


def _argv(document: Document, command: object) -> tuple[str, ...]:
    if not isinstance(command, str):
        raise document.invalid("has an executable without a command")
    try:
        argv = tuple(shlex.split(command))
    except ValueError:
        raise document.invalid("has an executable whose command has a quote that is not closed") from None
    if not argv or not argv[0]:
        raise document.invalid("has an executable without a command")
    return argv


def _timeout(document: Document, millis: object) -> float | None:
    """In seconds; None where the file leaves it open."""
    if millis is None or millis == 0:
        return None
    low, high = _TIMEOUTS
    if (
        isinstance(millis, bool)
        or not isinstance(millis, int | float)
        or not math.isfinite(millis)
        or not low <= millis <= high
    ):
        raise document.invalid(f"has an executable whose timeout_millis is not from {low} to {high}")
    return millis / 1000
