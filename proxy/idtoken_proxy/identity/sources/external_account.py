"""An external_account file: workload identity federation, and on top of it a service account, whose ID token it is.

https://cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds. The federated principal itself asks
for the account's ID token: roles/iam.workloadIdentityUser, which it has anyway, is enough. Impersonating the account
first and asking as the account for itself would need a grant more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.credential_file import CredentialFile, Document
from idtoken_proxy.identity.sources.federation import Federation
from idtoken_proxy.identity.sources.iam_credentials import IamCredentials, iam_endpoint
from idtoken_proxy.identity.sources.impersonated import ImpersonatedSource
from idtoken_proxy.identity.sources.refreshed import quota_project_of
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import ExternalAccountIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Scopes
from idtoken_proxy.settings.variables import QUOTA_PROJECT

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

IMPERSONATION_URL = re.compile(
    r"(https?://[^/?#@]+)/v1/projects/[^/]+/serviceAccounts/([^/:]+):generateAccessToken"
)


class ExternalAccountSource:
    name = "external_account"
    refresh_ahead = REFRESH_AHEAD

    def __init__(
        self,
        document: Document,
        google: GoogleEndpoints,
        environ: Mapping[str, str],
        service_account: str | None = None,
        wall: Wall = time,
    ) -> None:
        """`service_account`: in place of the file's."""
        self._document = document
        self._google = google
        self._service_account = service_account
        self._found: str | None = service_account
        self._quota_project = environ.get(QUOTA_PROJECT)
        self._wall = wall
        self._federation = Federation(document, google.sts_endpoint, environ, wall)

    def version(self) -> object:
        return self._document.version()

    def describe(self) -> str:
        account = f", impersonating {self._found}" if self._found else ""
        return f"{self._federation.describe()}{account}"

    def fetch(self, audience: str) -> IdToken:
        impersonated = self._impersonated()
        if impersonated is None:
            raise TokenError(
                f"{self._document.label} names no service account, and a federated principal has no ID tokens",
                cause="federation_without_account",
                fault=Fault.OPERATOR,
                remedy="Name one: identity: {type: external_account, config_file: "
                f"{self._document.path}, service_account: EMAIL}}",
            )
        return impersonated.fetch(audience)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        """The account's, or the federated principal's own: it may be the one that is granted something."""
        impersonated = self._impersonated()
        if impersonated is None:
            return self._federation.access_token(scopes)
        charged = quota_project_of(self._federation.read(), self._document)
        return replace(impersonated.access_token(scopes), quota_project=charged)

    def member(self) -> str | None:
        return (self._impersonated() or self._federation).member()

    def _impersonated(self) -> ImpersonatedSource | None:
        info = self._federation.read()
        url = info.get("service_account_impersonation_url")
        base, email = impersonation(self._document, url) if url else (None, None)
        account = self._found = self._service_account or email
        if account is None:
            return None
        endpoint = iam_endpoint(self._google.iam_endpoint or base, self._google.universe_domain)
        iam = IamCredentials(endpoint, self._federation, self._quota_project, self._wall)
        return ImpersonatedSource(iam, account)


def impersonation(document: Document, url: Any) -> tuple[str, str]:
    """(IAM Credentials' base, the account's email) of a service_account_impersonation_url."""
    found = IMPERSONATION_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise document.invalid("has a service_account_impersonation_url that is none")
    return found[1], unquote(found[2])


def build(identity: ExternalAccountIdentity, by: Builder) -> ExternalAccountSource:
    return ExternalAccountSource(
        CredentialFile(identity.config_file), by.google, by.environ, identity.service_account, by.wall
    )
