"""What stands before one of Google's APIs: an access token, its scopes, the project to charge, and the caller's right.

Sources: https://cloud.google.com/apis/docs/errors (UNAUTHENTICATED and PERMISSION_DENIED, with google.api.ErrorReason),
https://cloud.google.com/docs/authentication/token-types#access, https://cloud.google.com/docs/quotas/set-quota-project
(X-Goog-User-Project; a user's login without one is charged to gcloud's own project, where no API is enabled),
RFC 6750 section 3.1 (the challenges).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from idtoken_proxy.emulator.container import Headers
from idtoken_proxy.emulator.front_ends import Admitted, bearer
from idtoken_proxy.emulator.refusals import ApiRefusal, error_info
from idtoken_proxy.emulator.tokens import Grant, Mint
from idtoken_proxy.emulator.world import Account, Service, World

REALM: Final = 'Bearer realm="https://accounts.google.com/"'
GCLOUD_PROJECT: Final = "764086051850"


class GoogleApi:
    """A FrontEnd."""

    def __init__(self, service: Service, world: World, mint: Mint) -> None:
        self._service = service
        self._world = world
        self._mint = mint
        self._host = f"{service.api}.googleapis.com"

    def admit(self, request: web.BaseRequest, headers: Headers, origins: tuple[str, ...]) -> Admitted:  # noqa: ARG002 -- FrontEnd's
        credentials = [value for name, value in headers if name.lower() == "authorization"]
        if len(credentials) != 1 or "X-Goog-Api-Key" in request.headers:
            raise self._unauthenticated("CREDENTIALS_MISSING" if not credentials else "API_KEY_INVALID", "")
        token = bearer(credentials[0])
        grant = None if token is None else self._mint.grant(token)
        if grant is None:
            raise self.invalid_token(request)
        if grant.scopes.isdisjoint(self._service.scopes):
            raise self._denied(
                "Request had insufficient authentication scopes.",
                "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                challenge=f'{REALM}, error="insufficient_scope", scope="{" ".join(self._service.scopes)}"',
            )
        self._check_project(request, grant)
        if not grant.principal.is_among(self._service.invokers):
            raise self.no_invoker(request)
        return Admitted(headers, self._claims(grant))

    def invalid_token(self, request: web.BaseRequest) -> web.HTTPException:  # noqa: ARG002 -- FrontEnd's
        return self._unauthenticated("ACCESS_TOKEN_EXPIRED", f'{REALM}, error="invalid_token"')

    def no_invoker(self, request: web.BaseRequest) -> web.HTTPException:  # noqa: ARG002 -- FrontEnd's
        permission = f"{self._service.api}.things.use"
        return self._denied(
            f"Permission '{permission}' denied on resource (or it may not exist).",
            "IAM_PERMISSION_DENIED",
            domain="iam.googleapis.com",
            permission=permission,
        )

    def _check_project(self, request: web.BaseRequest, grant: Grant) -> None:
        charged = request.headers.get("X-Goog-User-Project")
        own = (self._world.project, self._world.number)
        is_login = isinstance(grant.principal, Account) and not grant.principal.is_service_account
        if charged is None and is_login:
            raise self._denied(
                f"{self._host} has not been used in project {GCLOUD_PROJECT} before or it is disabled.",
                "SERVICE_DISABLED",
                consumer=f"projects/{GCLOUD_PROJECT}",
            )
        if charged is not None and charged not in own:
            raise self._denied(
                f"Caller does not have required permission to use project {charged}.",
                "USER_PROJECT_DENIED",
                consumer=f"projects/{charged}",
            )

    def _claims(self, grant: Grant) -> Mapping[str, Any]:
        principal = grant.principal
        email = principal.email if isinstance(principal, Account) else None
        return {"email": email, "scope": " ".join(sorted(grant.scopes)), "exp": grant.expires_at}

    def _unauthenticated(self, reason: str, challenge: str) -> web.HTTPException:
        refused = ApiRefusal(
            401,
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
            "authentication credential.",
            (error_info(reason, "googleapis.com", service=self._host),),
        )
        return _answered(web.HTTPUnauthorized(), refused, challenge or REALM)

    def _denied(
        self,
        message: str,
        reason: str,
        *,
        challenge: str = "",
        domain: str = "googleapis.com",
        **metadata: str,
    ) -> web.HTTPException:
        info = error_info(reason, domain, service=self._host, **metadata)
        return _answered(web.HTTPForbidden(), ApiRefusal(403, message, (info,)), challenge)


def _answered(refused: web.HTTPException, said: ApiRefusal, challenge: str) -> web.HTTPException:
    refused.text = json.dumps(said.answer, indent=2) + "\n"
    refused.content_type = "application/json"
    refused.charset = "utf-8"
    refused.headers["Server"] = "ESF"
    if challenge:
        refused.headers["WWW-Authenticate"] = challenge
    return refused
