"""A workforce user's login (`gcloud auth application-default login --login-config=FILE`): somebody whose identity
provider is not Google. There is no ID token for such a user, but there is one for a service account that the user
impersonates: https://cloud.google.com/iam/docs/workforce-identity-federation.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import time
from typing import Any

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.reasons import why
from idtoken_proxy.identity.sources.credential_file import Document, login, read_as
from idtoken_proxy.identity.sources.federation import pool_member, sts_url
from idtoken_proxy.identity.sources.refreshed import access_token_of, quota_project_of
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.sources.transport import EndpointRefused, conversation
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.model import Scopes

LOGIN = "gcloud auth application-default login --login-config=LOGIN_CONFIG_FILE"


class WorkforceSource:
    name = "workforce"
    refresh_ahead = REFRESH_AHEAD

    def __init__(self, document: Document, sts_endpoint: str | None = None, wall: Wall = time) -> None:
        self._wall = wall
        self._document = document
        self._sts_endpoint = sts_endpoint
        self._audience: str | None = None
        # google-auth's credentials are kept: the refresh token may change with each use. One thread at a time.
        self._loaded: tuple[Mapping[str, Any], Any] | None = None
        self._lock = threading.Lock()

    def describe(self) -> str:
        return f"workforce login in {self._document.path}"

    def fetch(self, audience: str) -> IdToken:
        raise TokenError(
            f"the {self.describe()} has no ID tokens, for {audience} or any other audience",
            cause="workforce_without_account",
            fault=Fault.OPERATOR,
            remedy="Impersonate a service account: identity: {type: impersonated, service_account: EMAIL}, or "
            + login(self._document, f"{LOGIN} --impersonate-service-account=EMAIL"),
        )

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:  # noqa: ARG002 -- they are the login's
        with self._lock:
            info, credentials = self._credentials()
            try:
                with conversation("STS", self._wall) as transport:
                    credentials.refresh(transport)
            except EndpointRefused as refused:
                raise self._refusal(refused) from None
            return access_token_of(
                credentials,
                transport,
                origin="STS",
                subject=self.member(),
                quota_project=quota_project_of(info, self._document),
            )

    def version(self) -> object:
        return self._document.version()

    def member(self) -> str | None:
        return pool_member(self._audience)

    def _refusal(self, refused: EndpointRefused) -> TokenError:
        detail = f"STS refused the {self.describe()} {refused.said}"
        found = why(refused.error, caller="this login", member=self.member())
        if found is not None:
            detail, cause, remedy = f"{detail}: {found.detail}", found.cause, found.remedy
        else:
            cause = "login_expired" if refused.code == "invalid_grant" else "login_refused"
            remedy = login(self._document, LOGIN)
        return TokenError(
            detail,
            cause=cause,
            fault=Fault.OPERATOR,
            remedy=remedy,
            log_detail=f"status {refused.status}",
            login=LOGIN if found is None else None,
        )

    def _credentials(self) -> tuple[Mapping[str, Any], Any]:
        from google.auth import external_account_authorized_user  # noqa: PLC0415

        info = read_as(
            self._document,
            "external_account_authorized_user",
            "a workforce user's login",
            ("audience", "client_id", "client_secret", "refresh_token", "token_url"),
            remedy=login(self._document, LOGIN),
        )
        if self._loaded is None or self._loaded[0] is not info:
            from_info: Any = external_account_authorized_user.Credentials.from_info  # untyped in google-auth
            url = sts_url(self._sts_endpoint, "/v1/oauthtoken") if self._sts_endpoint else info["token_url"]
            self._loaded = (info, from_info({**info, "token_url": url}))
            self._audience = info["audience"]
        return self._loaded
