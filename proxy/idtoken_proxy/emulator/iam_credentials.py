"""IAM Credentials: tokens and signatures of one account for another that may impersonate it.

Sources: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken,
and generateAccessToken and signJwt beside it; https://cloud.google.com/iam/docs/create-short-lived-credentials-delegated
(each in the chain needs roles/iam.serviceAccountTokenCreator on the next).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web
from google.auth import jwt

from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.refusals import (
    ApiRefusal,
    account_not_found,
    permission_denied,
    unauthenticated,
)
from idtoken_proxy.emulator.tokens import LIFETIME, Mint
from idtoken_proxy.emulator.world import Account, Principal, World

ROOT = "/v1/projects/-/serviceAccounts"
PERMISSIONS = {
    "generateIdToken": "iam.serviceAccounts.getOpenIdToken",
    "generateAccessToken": "iam.serviceAccounts.getAccessToken",
    "signJwt": "iam.serviceAccounts.signJwt",
}
LONGEST = 12 * 3600  # seconds that a signed JWT may live

Body: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = Callable[[Account, Body], Awaitable[Mapping[str, str]]]


class IamCredentials:
    def __init__(self, world: World, keys: Keys, mint: Mint) -> None:
        self._world = world
        self._keys = keys
        self._mint = mint
        self._answers: dict[str, Answer] = {
            "generateIdToken": self._generate_id_token,
            "generateAccessToken": self._generate_access_token,
            "signJwt": self._sign_jwt,
        }

    def add_to(self, app: web.Application) -> None:
        methods = "|".join(PERMISSIONS)
        app.router.add_post(f"{ROOT}/{{account}}:{{method:{methods}}}", self._method)

    async def _method(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        try:
            body = _json_object(await request.read())
            chain = (*_delegates(body), request.match_info["account"])
            account = self._impersonated(self._caller(request), chain, PERMISSIONS[method])
            return web.json_response(await self._answers[method](account, body))
        except ApiRefusal as refusal:
            return refusal.response()

    async def _generate_id_token(self, account: Account, body: Body) -> Mapping[str, str]:
        audience = body.get("audience")
        if not isinstance(audience, str) or not audience:
            raise ApiRefusal(400, "Audience must be specified.")
        self._mint.counts.handed_out["iam_credentials"] += 1
        token = self._mint.id_token(
            account, audience, by="iam_credentials", email=body.get("includeEmail") is True
        )
        return {"token": token}

    async def _generate_access_token(self, account: Account, body: Body) -> Mapping[str, str]:
        scopes = body.get("scope")
        if not isinstance(scopes, list) or not scopes:
            raise ApiRefusal(400, "At least one scope must be specified.")
        life = float(str(body.get("lifetime", f"{LIFETIME}s")).removesuffix("s"))
        token = self._mint.access_token(account, map(str, scopes), life)
        grant = self._mint.grant(token)
        end = dt.datetime.fromtimestamp(grant.expires_at if grant else 0, dt.UTC)
        return {
            "accessToken": token,
            "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    async def _sign_jwt(self, account: Account, body: Body) -> Mapping[str, str]:
        """The payload is a JSON object in a string; its `exp`, where it has one, is at most 12 hours away."""
        claims = _claims(body.get("payload"))
        expires = claims.get("exp")
        if expires is not None:
            now = self._mint.clock()
            if type(expires) is not int or not now <= expires <= now + LONGEST:
                raise ApiRefusal(
                    400, "The exp claim must be an integer, not in the past and at most 12 hours away."
                )
        key = await asyncio.to_thread(self._keys.of, account.email)
        signed: bytes = jwt.encode(key.signer, claims)  # type: ignore[no-untyped-call]
        return {"keyId": key.kid, "signedJwt": signed.decode("ascii")}

    def _caller(self, request: web.Request) -> Principal:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        caller = self._mint.owner(token) if scheme.lower() == "bearer" else None
        if caller is None:
            raise unauthenticated()
        return caller

    def _impersonated(self, caller: Principal, chain: tuple[str, ...], permission: str) -> Account:
        """The chain's last, each of whom the one before may impersonate."""
        for email in chain[:-1]:
            caller = self._next(caller, email, "iam.serviceAccounts.implicitDelegation")
        return self._next(caller, chain[-1], permission)

    def _next(self, caller: Principal, email: str, permission: str) -> Account:
        target = self._world.account(email)
        if target is None or not target.is_service_account:
            raise account_not_found(email)
        if not caller.is_among(target.token_creators):
            raise permission_denied(permission)
        return target


def _json_object(content: bytes) -> Body:
    try:
        body = json.loads(content or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiRefusal(400, "Invalid JSON payload received.")
    return body


def _claims(payload: object) -> dict[str, Any]:
    try:
        claims = json.loads(payload) if isinstance(payload, str) else None
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise ApiRefusal(400, "Payload must be a JSON object that contains a JWT Claims Set.")
    return claims


def _delegates(body: Body) -> tuple[str, ...]:
    delegates = body.get("delegates")
    return tuple(str(name).rpartition("/")[2] for name in delegates) if isinstance(delegates, list) else ()
