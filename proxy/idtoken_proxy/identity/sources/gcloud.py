"""The gcloud command's own login: `gcloud auth print-identity-token`.

https://cloud.google.com/sdk/gcloud/reference/auth/print-identity-token. `--audiences` is for service accounts and for
impersonation; a user's token has gcloud's client ID as its audience, whatever was asked (user.objection).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import process, user
from idtoken_proxy.identity.sources.source import REFRESH_AHEAD, AccessToken
from idtoken_proxy.identity.token import IdToken


@dataclass(frozen=True, slots=True)
class _Login:
    """Whose login gcloud would use. None: it does not say, and finds one by itself, as on a VM."""

    account: str | None
    impersonates: str | None

    @property
    def is_user(self) -> bool:
        account = self.impersonates or self.account
        return account is not None and not account.endswith(".gserviceaccount.com")


class GcloudSource:
    name = "gcloud"
    refresh_ahead = REFRESH_AHEAD

    def __init__(
        self, account: str | None, environ: Mapping[str, str], deadline: float = process.DEADLINE
    ) -> None:
        self._account = account
        self._environ = {**environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        self._deadline = deadline
        self._found: str | None = account

    def describe(self) -> str:
        return f"gcloud login of {self._found}" if self._found else "gcloud login"

    def objection(self, audience: str, host: str) -> TokenError | None:
        if user.objection(self.describe(), self._found, audience, host) is None:
            return None  # and gcloud need not be asked
        try:
            login = self._login()
        except TokenError:
            return None  # the fetch will say so, better
        return user.objection(self.describe(), self._found, audience, host) if login.is_user else None

    def fetch(self, audience: str) -> IdToken:
        login = self._login()
        argv = ["print-identity-token"]
        if not login.is_user:
            argv.append(f"--audiences={audience}")
        if login.impersonates is not None:
            # print-identity-token does not look at the property auth/impersonate_service_account; every other command does.
            argv += [f"--impersonate-service-account={login.impersonates}", "--include-email"]
        printed = self._gcloud("auth", *argv, *self._positional())
        return IdToken.parse(printed, origin="gcloud", audience=None if login.is_user else audience)

    def access_token(self) -> AccessToken:
        self._login()
        printed = self._gcloud("auth", "print-access-token", *self._positional()).strip()
        if not printed or not printed.isascii() or not printed.isprintable() or " " in printed:
            raise TokenError(
                "gcloud handed out something that is no access token", cause="garbage", fault=Fault.OPERATOR
            )
        return AccessToken(printed)

    def member(self) -> str | None:
        if self._found is None:
            return None
        kind = "user" if _Login(self._found, None).is_user else "serviceAccount"
        return f"{kind}:{self._found}"

    def _positional(self) -> tuple[str, ...]:
        return (self._account,) if self._account else ()

    def _login(self) -> _Login:
        """Asked anew each time: `gcloud config set account` may come in between, and costs no more than a token."""
        try:
            properties = json.loads(self._gcloud("config", "list", "--format=json"))
            login = _Login(
                self._account or properties.get("core", {}).get("account") or None,
                properties.get("auth", {}).get("impersonate_service_account") or None,
            )
        except (ValueError, AttributeError, RecursionError):
            login = _Login(self._account, None)
        self._found = login.impersonates or login.account
        return login

    def _gcloud(self, *argv: str) -> str:
        try:
            ended = process.run(("gcloud", *argv), self._environ, self._deadline)
        except OSError as error:
            raise TokenError(
                "gcloud is not installed, or not on PATH",
                cause="gcloud_missing",
                fault=Fault.OPERATOR,
                remedy="Install it (https://cloud.google.com/sdk/docs/install), or use another identity: after "
                "`gcloud auth application-default login` elsewhere, {type: user} needs the file alone",
                log_detail=type(error).__name__,
            ) from None
        except process.TimedOut:
            raise TokenError(
                f"gcloud did not answer within {self._deadline:.0f} s",
                cause="gcloud_timeout",
                fault=Fault.OPERATOR,
                remedy=f"See what it waits for: gcloud {argv[0]} {argv[1]}",
            ) from None
        except process.TooMuch:
            raise TokenError(
                "gcloud prints more than a token", cause="garbage", fault=Fault.OPERATOR
            ) from None
        if ended.code != 0:
            raise self._failed(ended)
        return ended.stdout

    def _failed(self, ended: process.Ended) -> TokenError:
        """Gcloud writes `ERROR: (gcloud.auth...) what` and then advice over several lines."""
        line = next((line for line in ended.stderr if line.startswith("ERROR:")), f"exit code {ended.code}")
        what = line.removeprefix("ERROR:").strip()
        account = self._found
        of = f" {account}" if account else ""
        if "Invalid account type" in what:
            remedy = "This login has no tokens for an audience of your choice: impersonate a service account with it"
        elif account is not None and not _Login(account, None).is_user:
            remedy = f"gcloud auth activate-service-account {account} --key-file=KEY_FILE"
        else:
            remedy = f"gcloud auth login{of}"
        return TokenError(
            f"gcloud has no token{f' of {account}' if account else ''}: {what}",
            cause="gcloud_failed",
            fault=Fault.OPERATOR,
            remedy=remedy,
        )
