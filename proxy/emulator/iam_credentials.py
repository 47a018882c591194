"""IAM Credentials: tokens of one account for another that may impersonate it.

Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken,
and generateAccessToken beside it; https://cloud.google.com/iam/docs/create-short-lived-credentials-delegated
(each in the chain needs roles/iam.serviceAccountTokenCreator on the next).
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from aiohttp import web

from proxy.emulator.tokens import LIFETIME, Mint
from proxy.emulator.world import Account, World

ROOT = "/v1/projects/-/serviceAccounts"
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class IamCredentials:
    def __init__(self, world: World, mint: Mint) -> None:
        self._world = world
        self._mint = mint

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(f"{ROOT}/{{account}}:generateIdToken", self._generate_id_token)
        app.router.add_post(f"{ROOT}/{{account}}:generateAccessToken", self._generate_access_token)

    async def _generate_id_token(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        account = self._impersonated(request, body, "iam.serviceAccounts.getOpenIdToken")
        audience = body.get("audience")
        if not isinstance(audience, str) or not audience:
            raise _refusal(400, "Audience must be specified.")
        self._mint.counts.handed_out["iam_credentials"] += 1
        token = self._mint.id_token(
            account, audience, by="iam_credentials", email=body.get("includeEmail") is True
        )
        return web.json_response({"token": token})

    async def _generate_access_token(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        account = self._impersonated(request, body, "iam.serviceAccounts.getAccessToken")
        if not body.get("scope"):
            raise _refusal(400, "At least one scope must be specified.")
        end = dt.datetime.fromtimestamp(self._mint.clock() + LIFETIME, dt.UTC)
        return web.json_response(
            {
                "accessToken": self._mint.access_token(account),
                "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def _impersonated(self, request: web.Request, body: dict[str, Any], permission: str) -> Account:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        caller = self._mint.owner(token) if scheme.lower() == "bearer" else None
        if caller is None:
            raise _refusal(401, "Request had invalid authentication credentials.")
        delegates = body.get("delegates")
        chain = [str(name).rpartition("/")[2] for name in delegates] if isinstance(delegates, list) else []
        for email in (*chain, request.match_info["account"]):
            target = self._world.account(email)
            if target is None or not target.is_service_account:
                raise _refusal(404, "Not found; Gaia id not found for email " + email)
            if not caller.is_among(target.token_creators):
                raise _refusal(403, f"Permission '{permission}' denied on resource (or it may not exist).")
            caller = target
        return caller


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _refusal(400, "Invalid JSON payload received.")
    return body


def _refusal(code: int, message: str) -> web.HTTPException:
    """Google's error model: https://cloud.google.com/apis/design/errors#http_mapping."""
    kinds = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
    }
    error = {"code": code, "message": message, "status": STATUS[code]}
    return kinds[code](text=json.dumps({"error": error}), content_type="application/json")
