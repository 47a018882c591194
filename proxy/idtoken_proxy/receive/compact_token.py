"""A JWT in its compact form (RFC 7515 section 7.1), read before anything of it is believed.

Strict where verifiers have been fooled: one spelling of base64url, since a token with other unused bits is another token
with the same meaning (RFC 4648 section 3.5); no name twice in a JSON object, since two readers take two values of it (RFC 8725
section 2.7); no `crit`, which nobody here understands (RFC 7515 section 4.1.11). `jku`, `x5u`, `x5c` and `jwk` lead to keys of the
sender's choice, and are never looked at.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from idtoken_proxy.errors import Unauthenticated

LONGEST: Final = 8 * 1024  # octets; Google's have one or two thousand, and what is longer is not looked into
ALGORITHMS: Final = frozenset({"RS256", "ES256"})
# SPIFFE JWT-SVIDs may say JOSE; a logout token or an access token (at+jwt) is no ID token (RFC 8725 section 3.11).
_TYPES: Final = frozenset({"JWT", "JOSE"})
_LONGEST_KID: Final = 512
_REMOVED: Final = b".SIGNATURE_REMOVED_BY_GOOGLE"


@dataclass(frozen=True, slots=True)
class CompactToken:
    """`algorithm` and `kid` as its header says them. `signed`: the octets that `signature` is of."""

    algorithm: str
    kid: str
    claims: dict[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def unsigned(self) -> bytes:
        """What the app is given: good for reading, and at no other receiver
        (https://cloud.google.com/run/docs/authenticating/service-to-service).
        """
        return self.signed + _REMOVED


def read_token(token: bytes) -> CompactToken:
    """Raises Unauthenticated."""
    if len(token) > LONGEST:
        raise _malformed(f"it has {len(token)} octets, and {LONGEST} is the most that is read")
    parts = token.split(b".")
    if len(parts) != 3:
        raise _malformed(f"it has {len(parts)} parts, and a signed JWT has three")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    signature = _octets(parts[2], "signature")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthenticated(
            "the token is signed by another algorithm than RS256 or ES256, or not at all",
            cause="algorithm",
            remedy="have the caller send an ID token of an issuer that this listener lists (issuers)",
        )
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID:
        raise _malformed("its header names no key (kid)")
    # `upper` makes an S of other letters too.
    if not isinstance(kind, str) or not kind.isascii() or kind.upper() not in _TYPES:
        raise _malformed("its header says that it is something else than a JWT (typ)")
    if "crit" in header:
        raise _malformed("its header asks for an extension (crit)")
    return CompactToken(algorithm, kid, claims, parts[0] + b"." + parts[1], signature)


def _octets(part: bytes, name: str) -> bytes:
    """What re-encodes to the same octets is all of the alphabet, unpadded, and has no bits to spare."""
    try:
        octets = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise _malformed(f"its {name} is no base64url") from None
    if urlsafe_b64encode(octets).rstrip(b"=") != part:
        raise _malformed(f"its {name} is not written as base64url writes it")
    return octets


def _object(part: bytes, name: str) -> dict[str, Any]:
    try:
        found = _DECODER.decode(_octets(part, name).decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _malformed(f"its {name} is no JSON in which each name stands once") from None
    if not isinstance(found, dict):
        raise _malformed(f"its {name} is no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


# Made once: json.loads would make another for each part of each token.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _malformed(what: str) -> Unauthenticated:
    return Unauthenticated(
        f"what came as a token is none: {what}",
        cause="malformed",
        remedy="have the caller send an ID token, and nothing else, behind Bearer; access tokens (ya29...) are not taken",
    )
