"""IAP with Google's managed OAuth client: no ID token is taken there, but a JWT that a service account has signed.

https://cloud.google.com/iap/docs/authentication-howto#authenticate_with_a_self-signed_jwt: issuer and subject are the
account, the audience is the protected URL (or `.../*`), and it lives an hour at most.
"""

from __future__ import annotations

import dataclasses
import json
from time import time
from typing import TYPE_CHECKING, Any, Protocol

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.iam_credentials import SIGN_JWT, IamCredentials
from idtoken_proxy.identity.sources.service_account import ServiceAccountSource, of_key_file
from idtoken_proxy.identity.sources.source import REFRESH_AHEAD
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.identities import SignedJwtIdentity

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

LIFETIME = 3600  # seconds


class Signer(Protocol):
    def sign(self, service_account: str, claims: dict[str, Any]) -> str:
        """The JWT. Blocks. Raises TokenError."""

    def describe(self) -> str: ...


class SignedJwtSource:
    name = "signed_jwt"
    refresh_ahead = REFRESH_AHEAD

    def __init__(self, service_account: str, signer: Signer, wall: Wall = time) -> None:
        self._wall = wall
        self._service_account = service_account
        self._signer = signer

    def describe(self) -> str:
        return f"JWT of {self._service_account}, signed {self._signer.describe()}"

    def fetch(self, audience: str) -> IdToken:
        now = int(self._wall())
        claims = {
            "iss": self._service_account,
            "sub": self._service_account,
            "aud": audience,
            "iat": now,
            "exp": now + LIFETIME,
        }
        value = self._signer.sign(self._service_account, claims)
        token = IdToken.parse(value, origin=self._signer.describe(), audience=audience)
        return dataclasses.replace(token, email=self._service_account)


class ByIam:
    """With the key that Google keeps."""

    def __init__(self, iam: IamCredentials) -> None:
        self._iam = iam

    def describe(self) -> str:
        return f"by IAM Credentials for {self._iam.caller.describe()}"

    def sign(self, service_account: str, claims: dict[str, Any]) -> str:
        return self._iam.ask(SIGN_JWT, service_account, (), {"payload": json.dumps(claims)})


class ByKey:
    """With the key at hand: nobody is asked."""

    def __init__(self, key: ServiceAccountSource) -> None:
        self._key = key

    def describe(self) -> str:
        return f"with {self._key.describe()}"

    def sign(self, service_account: str, claims: dict[str, Any]) -> str:
        from google.auth import jwt  # noqa: PLC0415

        info, signer = self._key.key()
        if info["client_email"] != service_account:
            raise TokenError(
                f"the {self._key.describe()} is not a key of {service_account}",
                cause="wrong_account",
                fault=Fault.OPERATOR,
                remedy="Make service_account and key_file agree",
            )
        encode: Any = jwt.encode  # untyped in google-auth
        signed: bytes = encode(signer, claims)
        return signed.decode("ascii")


def build(identity: SignedJwtIdentity, by: Builder) -> SignedJwtSource:
    if identity.key_file is not None:
        return SignedJwtSource(identity.service_account, ByKey(of_key_file(identity.key_file, by)), by.wall)
    return SignedJwtSource(identity.service_account, ByIam(by.iam(identity, identity.source)), by.wall)
