"""Identity-Aware Proxy before a service: an OIDC token for its OAuth client, or a JWT that a service account signed.

Sources: https://cloud.google.com/iap/docs/authentication-howto (which tokens, which headers; the order of
Proxy-Authorization and Authorization), https://cloud.google.com/iap/docs/identity-howto (what the container is told),
https://cloud.google.com/iap/docs/faq (the header on its own answers). Its sentences are from users' reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from google.auth import exceptions, jwt

from idtoken_proxy.emulator.container import Headers
from idtoken_proxy.emulator.front_ends import SKEW, Admitted, bearer
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.token_endpoint import ANY_TIME
from idtoken_proxy.emulator.tokens import ISSUER, Clock
from idtoken_proxy.emulator.world import Iap, Service, World

GENERATED = {"X-Goog-Iap-Generated-Response": "true"}
LOGIN = "https://accounts.google.com/o/oauth2/v2/auth"
MANAGED_CLIENT = (
    "1074742914711-managed.apps.googleusercontent.com"  # stands for Google's; no token is made for it
)
LONGEST = 3600  # seconds between a signed JWT's iat and exp
_MINE = ("proxy-authorization", "x-goog-")  # headers that a client cannot hand to the container


class BadCredential(Exception):
    pass


class IapFrontEnd:
    def __init__(self, service: Service, iap: Iap, world: World, keys: Keys, clock: Clock) -> None:
        self._service = service
        self._client_id = iap.client_id
        self._world = world
        self._keys = keys
        self._clock = clock

    def admit(self, request: web.BaseRequest, headers: Headers, origins: tuple[str, ...]) -> Admitted:
        try:
            claims = self._caller(request, origins)
        except BadCredential as bad:
            raise self._unauthorized(str(bad)) from None
        if claims is None:
            raise self._sign_in(request)
        account = self._world.account(str(claims["email"]))
        if account is None or not account.is_among(self._service.invokers):
            raise self.no_invoker(request)
        kept = tuple((name, value) for name, value in headers if not name.lower().startswith(_MINE))
        told = (
            ("X-Goog-Authenticated-User-Email", f"accounts.google.com:{account.email}"),
            ("X-Goog-Authenticated-User-ID", f"accounts.google.com:{account.subject}"),
        )
        return Admitted((*kept, *told), claims)

    def invalid_token(self, _request: web.BaseRequest) -> web.HTTPException:
        return self._unauthorized("JWT signature is invalid")

    def no_invoker(self, _request: web.BaseRequest) -> web.HTTPException:
        return web.HTTPForbidden(text="You don't have access\n", headers=GENERATED)

    def _caller(self, request: web.BaseRequest, origins: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The claims of a valid token in Proxy-Authorization; else of the one in Authorization. None: there is no
        credential.
        """
        bad: BadCredential | None = None
        for header in ("Proxy-Authorization", "Authorization"):
            token = bearer(request.headers.get(header, ""))
            if token is not None:
                try:
                    return self._verified(token, tuple(origin + request.path for origin in origins))
                except BadCredential as said:
                    bad = said
        if bad is not None:
            raise bad
        return None

    def _verified(self, token: str, urls: tuple[str, ...]) -> Mapping[str, Any]:
        try:
            said: Mapping[str, Any] = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
        except (ValueError, exceptions.GoogleAuthError):
            raise BadCredential("Unable to parse JWT") from None
        issuer = str(said.get("iss"))
        of_google = issuer in (ISSUER, ISSUER.removeprefix("https://"))
        keys = self._keys.certificates() if of_google else self._keys.certificate_of(issuer)
        try:
            claims: Mapping[str, Any] = jwt.decode(token, keys, clock_skew_in_seconds=ANY_TIME)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, exceptions.GoogleAuthError):
            raise BadCredential("JWT signature is invalid") from None
        if not claims["iat"] - SKEW <= self._clock() <= claims["exp"] + SKEW:
            raise BadCredential("Expired JWT")
        return self._of_google(claims) if of_google else self._of_service_account(claims, urls)

    def _of_google(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        expected = self._client_id or MANAGED_CLIENT
        if claims.get("aud") != expected:
            raise BadCredential(
                "JWT audience doesn't match this application"
                f" ('aud' claim ({claims.get('aud')}) doesn't match expected value ({expected}))"
            )
        if not isinstance(claims.get("email"), str):
            raise BadCredential("JWT 'email' claim isn't a string")
        return claims

    def _of_service_account(self, claims: Mapping[str, Any], urls: tuple[str, ...]) -> Mapping[str, Any]:
        """Signed with its own key; `aud` is the URL, or one that ends in /* and that the URL begins with."""
        if claims.get("sub") != claims["iss"]:
            raise BadCredential("JWT 'iss' and 'sub' claims differ")
        if claims["exp"] - claims["iat"] > LONGEST:
            raise BadCredential("JWT lives longer than an hour")
        audience = str(claims.get("aud"))
        if not any(_covers(audience, url) for url in urls):
            raise BadCredential(f"JWT audience doesn't match this application ('aud' claim ({audience}))")
        return {**claims, "email": claims["iss"]}

    def _sign_in(self, request: web.BaseRequest) -> web.HTTPException:
        if "text/html" not in request.headers.get("Accept", ""):
            return self._unauthorized("empty token")
        client = self._client_id or MANAGED_CLIENT
        return web.HTTPFound(
            f"{LOGIN}?client_id={client}&response_type=code&scope=openid+email", headers=GENERATED
        )

    @staticmethod
    def _unauthorized(said: str) -> web.HTTPException:
        return web.HTTPUnauthorized(text=f"Invalid IAP credentials: {said}", headers=GENERATED)


def _covers(audience: str, url: str) -> bool:
    if audience.endswith("/*"):
        return url.startswith(audience.removesuffix("*"))
    return url in (audience, audience + "/")
