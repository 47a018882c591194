"""POST /v1/token: a federated access token for one from outside Google Cloud, as https://sts.googleapis.com/v1/token.

Sources: RFC 8693, https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token. What its refusals say is
pieced together from users' reports; RFC 6749's error codes are what to go by.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from aiohttp import web

from idtoken_proxy.emulator.federation import POOL, Aws, Federated
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.refusals import OAuthRefusal
from idtoken_proxy.emulator.subject_tokens import Exchange, holder_of_aws_keys, holder_of_jwt
from idtoken_proxy.emulator.tokens import Mint
from idtoken_proxy.emulator.world import World

PATH = "/v1/token"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a token type
_AUDIENCE = re.compile(rf"{POOL}/providers/[^/]+")
_REQUIRED = ("audience", "requested_token_type", "subject_token", "subject_token_type")


class TokenExchange:
    def __init__(self, world: World, keys: Keys, mint: Mint) -> None:
        self._world = world
        self._keys = keys
        self._mint = mint

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(PATH, self._token)

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        try:
            holder = await asyncio.to_thread(self._holder, form)
        except OAuthRefusal as refusal:
            return refusal.response()
        answer = self._mint.access_token_answer(holder, form["scope"].split()) | {
            "issued_token_type": ACCESS_TOKEN
        }
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def _holder(self, form: Mapping[str, str]) -> Federated:
        if form.get("grant_type") != TOKEN_EXCHANGE:
            raise OAuthRefusal(
                "unsupported_grant_type", f"Unsupported grant_type: {form.get('grant_type', '')}"
            )
        for name in _REQUIRED:
            if not form.get(name):
                raise OAuthRefusal("invalid_request", f"Missing required parameter: {name}")
        if form["requested_token_type"] != ACCESS_TOKEN:
            raise OAuthRefusal("invalid_request", 'Invalid value for "requested_token_type".')
        if not form.get("scope"):
            raise OAuthRefusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self._holder_of(form["subject_token"], form["subject_token_type"], form["audience"])

    def _holder_of(self, token: str, kind: str, audience: str) -> Federated:
        if not _AUDIENCE.fullmatch(audience):
            raise OAuthRefusal(
                "invalid_request",
                'Invalid value for "audience". This value should be the full resource name of the Identity Provider.'
                " See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible"
                " formats.",
            )
        provider = self._world.provider(audience)
        if provider is None:
            raise no_such_target()
        if kind not in provider.trusts.subject_token_types:
            raise OAuthRefusal("invalid_request", 'Invalid value for "subject_token_type" for this provider.')
        exchange = Exchange(provider, self._world.number, self._mint.clock())
        if isinstance(provider.trusts, Aws):
            return holder_of_aws_keys(token, provider.trusts, exchange)
        return holder_of_jwt(token, provider.trusts, exchange, self._keys)


def no_such_target() -> OAuthRefusal:
    return OAuthRefusal(
        "invalid_target",
        'The target service indicated by the "audience" parameters is invalid. This might either be because the pool'
        " or provider is disabled or deleted or because it doesn't exist.",
    )
