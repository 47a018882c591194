"""POST /token: ID tokens and access tokens for those who hold a key file, as https://oauth2.googleapis.com/token.

Sources: https://google.aip.dev/auth/4116 (target_audience), RFC 7523 (the assertion), RFC 6749 sections 5.2 and 6,
https://developers.google.com/identity/protocols/oauth2/service-account#error-codes (its refusals).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from google.auth import exceptions, jwt

from idtoken_proxy.emulator.consent import CLIENT, Consent, Consented
from idtoken_proxy.emulator.key_files import GCLOUD_CLIENTS, refresh_token
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.refusals import OAuthRefusal
from idtoken_proxy.emulator.tokens import Mint
from idtoken_proxy.emulator.world import Account, World
from idtoken_proxy.settings.model import CLOUD_PLATFORM

PATH = "/token"
# What `gcloud auth application-default login` asks for.
LOGIN_SCOPES = frozenset({"openid", "https://www.googleapis.com/auth/userinfo.email", CLOUD_PLATFORM})
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLES_OWN = (
    "https://oauth2.googleapis.com/token"  # what Google's libraries write into `aud`, wherever they ask
)
LONGEST = 3600  # seconds between an assertion's iat and exp
SKEW = 300  # seconds that the clocks may differ
ANY_TIME = (
    10**11
)  # seconds: google-auth reads the machine's clock, the emulator has its own and judges by that


class TokenEndpoint:
    def __init__(self, world: World, keys: Keys, mint: Mint, consent: Consent | None = None) -> None:
        self._consent = consent or Consent(world)
        self._world = world
        self._keys = keys
        self._mint = mint

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(PATH, self._token)

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        try:
            answer = self._answer(form, f"http://{request.host}{PATH}")
        except OAuthRefusal as refusal:
            return refusal.response()
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def _answer(self, form: Mapping[str, str], endpoint: str) -> Mapping[str, object]:
        grant_type = form.get("grant_type", "")
        if grant_type == JWT_BEARER:
            return self._for_assertion(form, endpoint)
        if grant_type == "refresh_token":
            return self._for_refresh_token(form)
        if grant_type == "authorization_code":
            token, consented = self._consent.exchange(form)
            return {**self._for_consent(consented), "refresh_token": token}
        raise OAuthRefusal("unsupported_grant_type", f"Invalid grant_type: {grant_type}")

    def _for_assertion(self, form: Mapping[str, str], endpoint: str) -> Mapping[str, object]:
        account, claims = self._verified(form.get("assertion", ""))
        if claims.get("aud") not in (endpoint, GOOGLES_OWN):
            raise OAuthRefusal("invalid_grant", "Invalid JWT: Failed audience check.")
        self._check_time(claims)
        audience = claims.get("target_audience")
        if isinstance(audience, str) and audience:
            return {"id_token": self._id_token(account, audience, azp=account.email)}
        scopes = claims.get("scope")
        if isinstance(scopes, str) and scopes:
            return self._mint.access_token_answer(account, scopes.split())
        raise OAuthRefusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")

    def _verified(self, assertion: str) -> tuple[Account, Mapping[str, Any]]:
        try:
            claims: Mapping[str, Any] = jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
            issuer = claims["iss"]
        except (ValueError, TypeError, KeyError, exceptions.GoogleAuthError):
            raise OAuthRefusal("invalid_request", "Bad Request") from None
        account = self._world.account(issuer) if isinstance(issuer, str) and "@" in issuer else None
        if account is None or claims.get("sub", issuer) != issuer:
            raise OAuthRefusal("invalid_grant", "Invalid grant: account not found")
        try:
            certificates = self._keys.certificate_of(account.email)
            jwt.decode(assertion, certificates, clock_skew_in_seconds=ANY_TIME)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, exceptions.GoogleAuthError):
            raise OAuthRefusal("invalid_grant", "Invalid JWT Signature.") from None
        return account, claims

    def _check_time(self, claims: Mapping[str, Any]) -> None:
        now, issued, expires = self._mint.clock(), claims["iat"], claims["exp"]
        if not (issued - SKEW <= now <= expires + SKEW and 0 < expires - issued <= LONGEST):
            raise OAuthRefusal(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
                " Check your iat and exp values in the JWT claim.",
            )

    def _for_refresh_token(self, form: Mapping[str, str]) -> Mapping[str, object]:
        client = form.get("client_id", "")
        if client == CLIENT:
            return self._for_consent(self._consent.refreshed(form))
        if client not in GCLOUD_CLIENTS:
            raise OAuthRefusal("invalid_client", "The OAuth client was not found.", status=401)
        given = form.get("refresh_token")
        for account in self._world.accounts:
            if not account.is_service_account and refresh_token(account) == given:
                scopes = set(form["scope"].split()) if form.get("scope") else LOGIN_SCOPES
                if not scopes <= LOGIN_SCOPES:
                    raise OAuthRefusal("invalid_scope", "Bad Request")
                answer = self._mint.access_token_answer(account, scopes)
                return {**answer, "id_token": self._id_token(account, client, azp=client)}
        raise OAuthRefusal("invalid_grant", "Bad Request")

    def _for_consent(self, consented: Consented) -> Mapping[str, object]:
        answer = self._mint.access_token_answer(consented.account, consented.scopes)
        scope = " ".join(sorted(consented.scopes))
        return {**answer, "scope": scope, "id_token": self._id_token(consented.account, CLIENT, azp=CLIENT)}

    def _id_token(self, account: Account, audience: str, azp: str) -> str:
        self._mint.counts.handed_out["token_endpoint"] += 1
        return self._mint.id_token(account, audience, by="token_endpoint", azp=azp)
