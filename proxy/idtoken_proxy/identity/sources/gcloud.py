"""The gcloud command's own login: `gcloud auth print-identity-token`.

https://cloud.google.com/sdk/gcloud/reference/auth/print-identity-token. `--audiences` is for service accounts and for
impersonation; a user's token has gcloud's client ID as its audience, whatever was asked (user.objection).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources import process, user
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.plain_file import version
from idtoken_proxy.settings.identities import GcloudIdentity
from idtoken_proxy.settings.model import Scopes

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

_WRONG_KIND: Final = "the login is of a kind that has no tokens for an audience"
_OFFLINE: Final = "it does not reach Google"
_NOT_IMPERSONATED: Final = "it may not impersonate the account"
# What gcloud writes -> what that means; the first that is found.
_SENTENCES: Final = (
    ("Invalid account type", _WRONG_KIND),
    ("No identity token can be obtained", _WRONG_KIND),
    ("do not currently have an active account", "no account is logged in"),
    ("Reauthentication", "the login asks for a new sign-in"),
    ("reauth", "the login asks for a new sign-in"),
    ("does not have any valid credentials", "the account is not logged in"),
    ("No valid credentials", "the account is not logged in"),
    ("Failed to impersonate", _NOT_IMPERSONATED),
    ("invalid_grant", "the login has expired or was revoked"),
    ("problem refreshing your current auth tokens", "its login could not be refreshed"),
    ("Unable to find the server", _OFFLINE),
    ("Failed to establish a new connection", _OFFLINE),
    ("Max retries exceeded", _OFFLINE),
    ("name resolution", _OFFLINE),
)


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
        self,
        account: str | None,
        environ: Mapping[str, str],
        deadline: float = process.DEADLINE,
        wall: Wall = time,
    ) -> None:
        self._wall = wall
        self._account = account
        self._environ = {**environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        self._deadline = deadline
        self._found: str | None = account
        self._by: str | None = account  # whose login it is, where that impersonates another

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

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        """Gcloud does not say how long one lives, but has one with most of an hour left."""
        if scopes != CLOUD:
            raise TokenError(
                "gcloud's access tokens have the scopes of its login, and no others can be asked for",
                cause="scopes_unsupported",
                fault=Fault.OPERATOR,
                remedy="Leave scopes out of the route, or use another identity: {type: user}, after gcloud auth "
                f"application-default login --scopes=openid,{','.join((CLOUD.names[0], *scopes.names))}",
            )
        login = self._login()
        asked = self._wall()
        printed = self._gcloud("auth", "print-access-token", *self._positional()).strip()
        return AccessToken.of(
            printed,
            origin="gcloud",
            asked=asked,
            email=login.impersonates or login.account,
            fault=Fault.OPERATOR,
        )

    def version(self) -> object:
        """Of what `gcloud auth login` and `gcloud config set account` write."""
        home = self._environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 -- may not raise
        config = Path(self._environ.get("CLOUDSDK_CONFIG") or Path(home, ".config", "gcloud"))
        return tuple(map(_version, (config / "credentials.db", config / "configurations" / "config_default")))

    def member(self) -> str | None:
        if self._found is None:
            return None
        return _member(self._found)

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
        self._found, self._by = login.impersonates or login.account, login.account
        return login

    def _gcloud(self, *argv: str) -> str:
        try:
            ended = process.run(("gcloud", *argv), self._environ, self._deadline)
        except PermissionError:
            raise TokenError(
                "gcloud is on PATH, and may not be run by this user",
                cause="gcloud_missing",
                fault=Fault.OPERATOR,
                remedy="See its rights: ls -l $(command -v gcloud)",
            ) from None
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
                "gcloud was stopped: it prints more than a token",
                cause="garbage",
                fault=Fault.OPERATOR,
                remedy=f"See what it prints: gcloud {argv[0]} {argv[1]}",
            ) from None
        if ended.code != 0:
            raise self._failed(ended)
        return ended.stdout

    def _failed(self, ended: process.Ended) -> TokenError:
        """By gcloud's own sentences, none of which is repeated: they quote what Google answered, and its plugins' output."""
        account = self._found
        said = " ".join(ended.stderr)
        what = next((told for words, told in _SENTENCES if words in said), None)
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        login: str | None = None
        if what == _WRONG_KIND:
            remedy = "This login has no tokens for an audience of your choice: impersonate a service account with it"
        elif what == _OFFLINE:
            remedy = "Is this machine online? Behind a proxy: gcloud config set proxy/address HOST, proxy/port and proxy/type"
        elif what == _NOT_IMPERSONATED and account is not None:
            remedy = (
                f"gcloud iam service-accounts add-iam-policy-binding {account} --member={_member(self._by)} "
                "--role=roles/iam.serviceAccountTokenCreator; or gcloud config unset auth/impersonate_service_account"
            )
        elif account is not None and not _Login(account, None).is_user:
            remedy = f"gcloud auth activate-service-account {account} --key-file=KEY_FILE"
        else:
            remedy = login = f"gcloud auth login{f' {account}' if account else ''}"
        if what is None:
            remedy = f"See what it says: gcloud auth print-identity-token; perhaps {remedy}"
        return TokenError(
            f"gcloud has no token{f' of {account}' if account else ''}: {f'{what} ({how})' if what else how}",
            cause="gcloud_failed",
            fault=Fault.OPERATOR,
            remedy=remedy,
            login=login if what is not None else None,
        )


def _version(path: Path) -> object:
    try:
        return version(path)
    except (OSError, ValueError):
        return None


def _member(account: str | None) -> str:
    """As IAM names it."""
    if account is None:
        return "user:YOU"
    return f"{'user' if _Login(account, None).is_user else 'serviceAccount'}:{account}"


def build(identity: GcloudIdentity, by: Builder) -> GcloudSource:
    return GcloudSource(identity.account, by.environ, wall=by.wall)
