"""Google's public keys, and the discovery document that names them.

Source: https://developers.google.com/identity/openid-connect/openid-connect#discovery.
"""

from __future__ import annotations

from aiohttp import web

from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.tokens import ISSUER

CERTS = "/oauth2/v1/certs"
JWKS = "/oauth2/v3/certs"
X509 = "/robot/v1/metadata/x509/{account}"  # a service account's own
DISCOVERY = "/.well-known/openid-configuration"
_FOR_AN_HOUR = {"Cache-Control": "public, max-age=3600, must-revalidate"}


class PublicKeys:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(CERTS, self._certificates)
        app.router.add_get(JWKS, self._jwks)
        app.router.add_get(X509, self._certificates_of_account)
        app.router.add_get(DISCOVERY, self._discovery)

    async def _certificates(self, _request: web.Request) -> web.Response:
        return web.json_response(self._keys.certificates(), headers=_FOR_AN_HOUR)

    async def _jwks(self, _request: web.Request) -> web.Response:
        return web.json_response(self._keys.jwks(), headers=_FOR_AN_HOUR)

    async def _certificates_of_account(self, request: web.Request) -> web.Response:
        certificates = self._keys.certificate_of(request.match_info["account"])
        return web.json_response(certificates, headers=_FOR_AN_HOUR)

    async def _discovery(self, request: web.Request) -> web.Response:
        origin = f"http://{request.host}"
        return web.json_response(
            {
                "issuer": ISSUER,
                "token_endpoint": f"{origin}/token",
                "jwks_uri": f"{origin}{JWKS}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "claims_supported": ["aud", "azp", "email", "email_verified", "exp", "iat", "iss", "sub"],
                "grant_types_supported": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
            },
            headers=_FOR_AN_HOUR,
        )
