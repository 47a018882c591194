"""A service account's token, asked for by another identity that may impersonate it.

https://cloud.google.com/iam/docs/create-short-lived-credentials-direct, and -delegated for a chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from idtoken_proxy.identity.sources.iam_credentials import ACCESS_TOKEN, ID_TOKEN, IamCredentials
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD, Versioned
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import ImpersonatedIdentity
from idtoken_proxy.settings.model import Scopes

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder


LIFETIME: Final = 3600  # seconds; more needs a policy of the organization's


class ImpersonatedSource:
    name = "impersonated"
    refresh_ahead = REFRESH_AHEAD

    def __init__(
        self,
        iam: IamCredentials,
        service_account: str,
        delegates: tuple[str, ...] = (),
        quota_project: str | None = None,
    ) -> None:
        """`quota_project`: whom Google is to charge for what the token is used for, where a file says so."""
        self._iam = iam
        self._service_account = service_account
        self._delegates = delegates
        self._quota_project = quota_project

    def describe(self) -> str:
        via = "".join(f" via {email}" for email in self._delegates)
        return f"{self._service_account}, impersonated{via} by {self._iam.caller.describe()}"

    def fetch(self, audience: str) -> IdToken:
        # includeEmail: IAP and many an application know a caller by it.
        value = self._iam.ask(
            ID_TOKEN, self._service_account, self._delegates, {"audience": audience, "includeEmail": True}
        )
        return IdToken.parse(value, origin="IAM Credentials", audience=audience)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        body = {"scope": list(scopes.names), "lifetime": f"{LIFETIME}s"}
        answered = self._iam.answer(ACCESS_TOKEN, self._service_account, self._delegates, body)
        return AccessToken.of(
            answered.value,
            origin="IAM Credentials",
            asked=answered.asked_at,
            life=LIFETIME if answered.life is None else answered.life,
            email=self._service_account,
            quota_project=self._quota_project,
        )

    def version(self) -> object:
        caller = self._iam.caller
        return caller.version() if isinstance(caller, Versioned) else None

    def member(self) -> str | None:
        return f"serviceAccount:{self._service_account}"


def build(identity: ImpersonatedIdentity, by: Builder) -> ImpersonatedSource:
    return ImpersonatedSource(by.iam(identity, identity.source), identity.service_account, identity.delegates)
