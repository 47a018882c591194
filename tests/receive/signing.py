"""An issuer of a test's own: keys, the document it publishes them in, and tokens, well made or not."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

AUDIENCE = "https://orders.example.com"
LOGIN = "login@my-project.iam.gserviceaccount.com"
STRANGER = "login@other-project.iam.gserviceaccount.com"
NOW = 1_750_000_000


def encoded(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def uint(number: int, size: int | None = None) -> str:
    return encoded(number.to_bytes(size or (number.bit_length() + 7) // 8)).decode()


class Signer:
    """One key pair. `jwk`: its public half."""

    def __init__(self, kid: str, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self.kid = kid
        self.private = private

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    @property
    def jwk(self) -> dict[str, str]:
        if isinstance(self.private, rsa.RSAPrivateKey):
            public = self.private.public_key().public_numbers()
            numbers = {"kty": "RSA", "n": uint(public.n), "e": uint(public.e)}
        else:
            point = self.private.public_key().public_numbers()
            numbers = {"kty": "EC", "crv": "P-256", "x": uint(point.x, 32), "y": uint(point.y, 32)}
        return {"kid": self.kid, "alg": self.algorithm, "use": "sig", **numbers}

    def signature(self, signed: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def token(self, claims: dict[str, Any] | bytes, header: dict[str, Any] | bytes | None = None) -> bytes:
        """`header`: members that replace the usual ones, or all of it as octets; so do `claims`."""
        usual = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        head = header if isinstance(header, bytes) else dumped({**usual, **(header or {})})
        body = claims if isinstance(claims, bytes) else dumped(claims)
        signed = encoded(head) + b"." + encoded(body)
        return signed + b"." + encoded(self.signature(signed))


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def jwks(*signers: Signer) -> bytes:
    return dumped({"keys": [signer.jwk for signer in signers]})


def claims_of(now: float = NOW, /, **changes: Any) -> dict[str, Any]:
    """As Google's for a service account; None takes a claim out."""
    usual = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "azp": "112233445566778899",
        "sub": "112233445566778899",
        "email": LOGIN,
        "email_verified": True,
        "iat": int(now),
        "exp": int(now) + 3600,
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def by_secret(secret: bytes, claims: dict[str, Any], header: dict[str, Any]) -> bytes:
    signed = encoded(dumped(header)) + b"." + encoded(dumped(claims))
    return signed + b"." + encoded(hmac.digest(secret, signed, hashlib.sha256))


@functools.cache
def rsa_signer(kid: str = "key-1", bits: int = 2048) -> Signer:
    return Signer(kid, rsa.generate_private_key(public_exponent=65537, key_size=bits))


@functools.cache
def ec_signer(kid: str = "ec-1") -> Signer:
    return Signer(kid, ec.generate_private_key(ec.SECP256R1()))
