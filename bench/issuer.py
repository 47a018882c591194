"""Whose tokens the receiving side checks in these runs: real signatures, by a key that is published as Google's are."""

from __future__ import annotations

import base64
import functools
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "caller@bench-project.iam.gserviceaccount.com"
LIFETIME = 24 * 3600  # outlives any run: refreshing is not what is measured here
AUDIENCE = "https://orders-x7f3kq-uc.a.run.app"
ISSUER = "https://accounts.google.com"
CALLERS = 16  # as many tokens, in turn: what is remembered of one must not be all
_KID = "6f72617b1e7d2c4d9b8a5e3f0c1d2e3f4a5b6c7d"


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwks() -> str:
    numbers = _key().public_key().public_numbers()
    key = {
        "kid": _KID,
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "n": _uint(numbers.n),
        "e": _uint(numbers.e),
    }
    return json.dumps({"keys": [key]})


@functools.cache
def tokens() -> tuple[str, ...]:
    """One of each caller, all of whom are one account."""
    return tuple(_token(number) for number in range(CALLERS))


def write_tokens(directory: Path) -> Path:
    """A token a line, for wrk."""
    path = directory / "tokens"
    path.write_text("\n".join(tokens()) + "\n")
    return path


def _token(number: int) -> str:
    now = int(time.time())
    claims = {
        "aud": AUDIENCE,
        "azp": f"1089123456789012345{number:02}",
        "email": EMAIL,
        "email_verified": True,
        "exp": now + LIFETIME,
        "iat": now,
        "iss": ISSUER,
        "sub": f"1089123456789012345{number:02}",
    }
    head = {"alg": "RS256", "kid": _KID, "typ": "JWT"}
    signed = f"{_part(head)}.{_part(claims)}"
    return f"{signed}.{_base64(_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _part(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _uint(number: int) -> str:
    return _base64(number.to_bytes((number.bit_length() + 7) // 8))


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
