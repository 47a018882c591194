"""Public keys as an issuer publishes them (RFC 7517), and what each verifies.

A key has one algorithm, by its kind: RSA keys RS256, P-256 keys ES256. What a token's header says of it must be the same, and
decides nothing: so there is no HS256 with a public key as its secret (CVE-2015-9235), and no `none`.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

# RFC 7518 section 3.3 asks for 2048 bits; beyond 4096 a check takes longer than a request should.
_BITS: Final = range(2048, 4097)
_MOST_KEYS: Final = 256
_COORDINATE: Final = 32  # octets of P-256 (RFC 7518 section 3.4)
_SHA256: Final = hashes.SHA256()
_ECDSA: Final = ec.ECDSA(_SHA256)
_PKCS1: Final = padding.PKCS1v15()


class VerificationKey:
    """`numbers`: what it is made of."""

    __slots__ = ("_public", "algorithm", "kid", "numbers")

    def __init__(self, kid: str, public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> None:
        self.kid = kid
        self.algorithm: Literal["RS256", "ES256"] = (
            "RS256" if isinstance(public, rsa.RSAPublicKey) else "ES256"
        )
        self._public = public
        self.numbers = public.public_numbers()

    def same_as(self, other: VerificationKey | None) -> bool:
        return other is not None and self.kid == other.kid and self.numbers == other.numbers

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Takes 30 microseconds with RSA, 90 with P-256: less than to hand it to a thread."""
        public = self._public
        try:
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(signature, signed, _PKCS1, _SHA256)
            elif len(signature) == 2 * _COORDINATE:
                r, s = signature[:_COORDINATE], signature[_COORDINATE:]
                encoded = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
                public.verify(encoded, signed, _ECDSA)
            else:
                return False
        except InvalidSignature:
            return False
        return True


def keys_of(document: bytes) -> dict[str, VerificationKey]:
    """By their kid, those of a JWK set that verify RS256 or ES256; others are passed over, as RFC 7517 section 5 has it.
    ValueError where it is none.
    """
    try:
        found = json.loads(document)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no JWK set: it has no list of keys")  # noqa: TRY004 -- what callers collect
    keys: dict[str, VerificationKey] = {}
    twice: set[str] = set()
    for one in listed[:_MOST_KEYS]:
        key = _key_of(one) if isinstance(one, dict) else None
        if key is None:
            continue
        if key.kid in keys and not key.same_as(keys[key.kid]):
            twice.add(key.kid)  # which of the two a token means, nobody can tell
        keys[key.kid] = key
    return {kid: key for kid, key in keys.items() if kid not in twice}


def _key_of(jwk: dict[str, Any]) -> VerificationKey | None:
    kid = jwk.get("kid")
    operations = jwk.get("key_ops")
    if not isinstance(kid, str) or not kid or jwk.get("use", "sig") != "sig":
        return None
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    try:
        if jwk.get("kty") == "RSA" and jwk.get("alg", "RS256") == "RS256":
            exponent, modulus = _number(jwk["e"]), _number(jwk["n"])
            if modulus.bit_length() not in _BITS or exponent.bit_length() > 32:
                return None
            return VerificationKey(kid, rsa.RSAPublicNumbers(exponent, modulus).public_key())
        if jwk.get("kty") == "EC" and jwk.get("crv") == "P-256" and jwk.get("alg", "ES256") == "ES256":
            numbers = ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), ec.SECP256R1())
            return VerificationKey(kid, numbers.public_key())
    except (ValueError, KeyError, TypeError, AttributeError):  # a number that is none, a point off the curve
        return None
    return None


def _number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
