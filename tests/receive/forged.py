"""Tokens that are no good, each as the header fields of a request: forged, foreign, or brought in a way that another one could be
smuggled by. What is made here is made with real keys: of the issuer's own where the token is foreign, and of others where it is
forged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.receive.signing import (
    AUDIENCE,
    LOGIN,
    STRANGER,
    Signer,
    by_secret,
    claims_of,
    dumped,
    ec_signer,
    encoded,
    rsa_signer,
)

Fields = list[str]
ISSUER = "https://issuer.example.com"
GOOGLE = rsa_signer("google-1")  # whose document also holds GOOGLES_EC
OTHERS = rsa_signer("other-1")  # of ISSUER, which is listed too
IAP = ec_signer("iap-1")
ATTACKER = rsa_signer("attacker-1")
ATTACKER_EC = ec_signer("attacker-ec")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def bearer(token: bytes, header: str = "Authorization") -> Fields:
    return [f"{header}: Bearer {token.decode('latin-1')}"]


def _good(now: float) -> bytes:
    return GOOGLE.token(claims_of(now))


def _parts(now: float) -> tuple[str, str, str]:
    head, body, signature = _good(now).decode().split(".")
    return head, body, signature


def _as(kid: str, signer: Signer = ATTACKER) -> Signer:
    return Signer(kid, signer.private)


def _public_pem(now: float) -> bytes:
    assert isinstance(GOOGLE.private, rsa.RSAPrivateKey)
    return GOOGLE.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _other_last(text: str) -> str:
    """Differs in the bits that base64url leaves unused at its end."""
    return text[:-1] + _ALPHABET[_ALPHABET.index(text[-1]) ^ 1]


def _with(**changes: Any) -> Callable[[float], Fields]:
    return lambda now: bearer(GOOGLE.token(claims_of(now, **changes)))


def _timed(**offsets: float) -> Callable[[float], Fields]:
    return lambda now: bearer(
        GOOGLE.token(claims_of(now, **{name: int(now + offset) for name, offset in offsets.items()}))
    )


def _header(**changes: Any) -> Callable[[float], Fields]:
    """Of the issuer's own key, so that nothing but the header is wrong."""
    return lambda now: bearer(GOOGLE.token(claims_of(now), changes))


def _forged_header(kid: str = "google-1", **changes: Any) -> Callable[[float], Fields]:
    """By the attacker's key, to which the header leads."""
    return lambda now: bearer(_as(kid).token(claims_of(now), {"kid": kid, **changes}))


def _text(make: Callable[[str, str, str], str]) -> Callable[[float], Fields]:
    return lambda now: [f"Authorization: Bearer {make(*_parts(now))}"]


def _raw(body: bytes) -> Callable[[float], Fields]:
    return lambda _now: bearer(GOOGLE.token(body))


def _duplicated(now: float, name: str, first: object) -> Fields:
    claims = claims_of(now)
    body = "{" + f"{json.dumps(name)}: {json.dumps(first)}, " + json.dumps(claims)[1:]
    return bearer(GOOGLE.token(body.encode()))


# By what is wrong; (fields, status).
FORGED: dict[str, tuple[Callable[[float], Fields], int]] = {
    # -- who signed it
    "another key, with the issuer's kid": (_forged_header(), 401),
    "another key, with its own kid": (lambda now: bearer(ATTACKER.token(claims_of(now))), 401),
    "the kid of another issuer's key": (lambda now: bearer(OTHERS.token(claims_of(now))), 401),
    "Google's key, for another issuer": (
        _with(iss=ISSUER, sub="spiffe://example.com/login", email=None),
        401,
    ),
    "another issuer's key, for a Google account": (
        lambda now: bearer(OTHERS.token(claims_of(now, iss=ISSUER))),
        403,
    ),
    "IAP's key, in Authorization, as Google": (lambda now: bearer(IAP.token(claims_of(now))), 401),
    "IAP's token in Authorization": (
        lambda now: bearer(IAP.token(claims_of(now, iss="https://cloud.google.com/iap"))),
        401,
    ),
    "Google's token as IAP's assertion": (
        lambda now: [f"X-Goog-IAP-JWT-Assertion: {_good(now).decode()}"],
        401,
    ),
    "IAP's assertion with a subject of Identity Platform": (
        lambda now: [
            "X-Goog-IAP-JWT-Assertion: "
            + IAP.token(
                claims_of(
                    now, iss="https://cloud.google.com/iap", sub="securetoken.google.com/p:1", email=LOGIN
                )
            ).decode()
        ],
        403,
    ),
    "IAP's assertion by another key": (
        lambda now: [
            "X-Goog-IAP-JWT-Assertion: "
            + _as("iap-1", ATTACKER_EC).token(claims_of(now, iss="https://cloud.google.com/iap")).decode()
        ],
        401,
    ),
    "an unknown kid": (_forged_header("no-such-key"), 401),
    "an empty kid": (_forged_header(""), 401),
    "a kid that is a path": (_forged_header("../../../../dev/null"), 401),
    "a kid that is SQL": (_forged_header("x' UNION SELECT 'key' --"), 401),
    "a kid that is a list": (_header(kid=["google-1"]), 401),
    "a kid that is a number": (_header(kid=1), 401),
    "no kid": (lambda now: bearer(GOOGLE.token(claims_of(now), dumped({"alg": "RS256", "typ": "JWT"}))), 401),
    "a kid of 2000 octets": (_header(kid="k" * 2000), 401),
    # -- by which algorithm
    "alg none, no signature": (
        _text(lambda _h, body, _s: encoded(b'{"alg":"none","kid":"google-1"}').decode() + f".{body}."),
        401,
    ),
    "alg none, with the good signature": (
        _text(
            lambda _h, body, signature: (
                encoded(b'{"alg":"none","kid":"google-1"}').decode() + f".{body}.{signature}"
            )
        ),
        401,
    ),
    "alg None": (_header(alg="None"), 401),
    "alg NONE": (_header(alg="NONE"), 401),
    "no alg": (lambda now: bearer(GOOGLE.token(claims_of(now), dumped({"kid": "google-1"}))), 401),
    "alg that is a list": (_header(alg=["RS256"]), 401),
    "alg in lower case": (_header(alg="rs256"), 401),
    "HS256 by the public key's PEM": (
        lambda now: bearer(by_secret(_public_pem(now), claims_of(now), {"alg": "HS256", "kid": "google-1"})),
        401,
    ),
    "HS256 by the public key's modulus": (
        lambda now: bearer(
            by_secret(GOOGLE.jwk["n"].encode(), claims_of(now), {"alg": "HS256", "kid": "google-1"})
        ),
        401,
    ),
    "HS256 by nothing": (
        lambda now: bearer(by_secret(b"", claims_of(now), {"alg": "HS256", "kid": "google-1"})),
        401,
    ),
    "RS256 by the public key's PEM as a secret": (
        lambda now: bearer(by_secret(_public_pem(now), claims_of(now), {"alg": "RS256", "kid": "google-1"})),
        401,
    ),
    "RS384": (_header(alg="RS384"), 401),
    "PS256": (_header(alg="PS256"), 401),
    "EdDSA": (_header(alg="EdDSA"), 401),
    "ES256 said of an RSA key": (_header(alg="ES256"), 401),
    "RS256 said of an EC key": (
        lambda now: ["X-Goog-IAP-JWT-Assertion: " + IAP.token(claims_of(now), {"alg": "RS256"}).decode()],
        401,
    ),
    "ES256 with r and s of zero (CVE-2022-21449)": (
        lambda now: [
            "X-Goog-IAP-JWT-Assertion: "
            + b".".join(
                (
                    *IAP.token(claims_of(now, iss="https://cloud.google.com/iap")).split(b".")[:2],
                    encoded(bytes(64)),
                )
            ).decode()
        ],
        401,
    ),
    # -- keys that it brings along
    "a jwk in its header": (_forged_header(jwk=ATTACKER.jwk), 401),
    "a jku": (_forged_header(jku="https://attacker.example.com/jwks"), 401),
    "a jku to a key of its own": (_forged_header("attacker-1", jku="http://127.0.0.1/jwks"), 401),
    "an x5u": (_forged_header(x5u="https://attacker.example.com/cert.pem"), 401),
    "an x5c": (_forged_header(x5c=["MIIB"]), 401),
    "crit": (_header(crit=["exp"], exp=1), 401),
    "b64 that is false": (_header(crit=["b64"], b64=False), 401),
    "typ at+jwt": (_header(typ="at+jwt"), 401),
    "typ logout+jwt": (_header(typ="logout+jwt"), 401),
    "typ that is a number": (_header(typ=1), 401),
    "typ in letters of another alphabet": (_header(typ="JO\u017fE"), 401),
    # -- for whom, by whom
    "another project's account": (_with(email=STRANGER, sub="998877665544332211"), 403),
    "an account whose name begins alike": (_with(email=f"{LOGIN}.attacker.example.com"), 403),
    "an account of the domain by its address alone": (_with(email="mallory@example.com"), 403),
    "an account of another domain": (_with(email="mallory@example.com", hd="example.org"), 403),
    "a domain above": (_with(email="mallory@example.com", hd="com"), 403),
    "a domain below": (_with(email="mallory@sub.example.com", hd="sub.example.com"), 403),
    "a service account that says hd": (_with(email=STRANGER, hd="example.com"), 403),
    "no email": (_with(email=None, email_verified=None), 403),
    "an email that is not verified": (_with(email_verified=False), 401),
    "an email of which nothing is said": (_with(email_verified=None), 401),
    "email_verified that is a word": (_with(email_verified="true"), 401),
    "email_verified that is a number": (_with(email_verified=1), 401),
    "an email with a line break": (_with(email=f"{LOGIN}\r\nX-Goog-Authenticated-User-Id: root"), 401),
    "an email that is a list": (_with(email=[LOGIN]), 401),
    "no subject": (_with(sub=None), 401),
    "a subject with a line break": (_with(sub="1\r\nX-Admin: 1"), 401),
    "another audience": (_with(aud="https://search.example.com"), 401),
    "an audience with a slash more": (_with(aud=f"{AUDIENCE}/"), 401),
    "an audience in upper case": (_with(aud=AUDIENCE.upper()), 401),
    "an audience that begins with ours": (_with(aud=f"{AUDIENCE}.attacker.example.com"), 401),
    "a list without ours": (_with(aud=["https://a.example.com", "https://b.example.com"]), 401),
    "a list of lists": (_with(aud=[[AUDIENCE]]), 401),
    "an empty list": (_with(aud=[]), 401),
    "a mapping for an audience": (_with(aud={AUDIENCE: True}), 401),
    "ours among what is no audience": (_with(aud=[AUDIENCE, 7]), 401),
    "no audience": (_with(aud=None), 401),
    "an issuer that is not listed": (_with(iss="https://login.example.org"), 401),
    "an issuer with a slash": (_with(iss="https://accounts.google.com/"), 401),
    "an issuer by http": (_with(iss="http://accounts.google.com"), 401),
    "an issuer that is a list": (_with(iss=["https://accounts.google.com"]), 401),
    "an issuer below ours": (_with(iss="https://accounts.google.com.attacker.example.com"), 401),
    "no issuer": (_with(iss=None), 401),
    # -- when
    "expired": (_timed(iat=-3700, exp=-100), 401),
    "expired for half a minute": (_timed(iat=-3700, exp=-31), 401),
    "issued in the future": (_timed(iat=300, exp=3600), 401),
    "good in the future": (_timed(nbf=300, exp=3600), 401),
    "no end": (_with(exp=None), 401),
    "an end in words": (_with(exp="9999999999"), 401),
    "an end that is true": (_with(exp=True), 401),
    "an end that is a list": (_with(exp=[9999999999]), 401),
    "an end beyond all numbers": (_with(exp=10**400), 401),
    "an end that is no number": (lambda now: _raw(dumped(claims_of(now, exp=float("nan"))))(now), 401),
    "an end without end": (lambda now: _raw(dumped(claims_of(now, exp=float("inf"))))(now), 401),
    # -- a name twice
    "aud twice": (lambda now: _duplicated(now, "aud", "https://search.example.com"), 401),
    "email twice": (lambda now: _duplicated(now, "email", STRANGER), 401),
    "exp twice": (lambda now: _duplicated(now, "exp", 1), 401),
    "alg twice": (
        lambda now: bearer(GOOGLE.token(claims_of(now), b'{"alg":"none","alg":"RS256","kid":"google-1"}')),
        401,
    ),
    # -- its form
    "two parts": (_text(lambda head, body, _s: f"{head}.{body}"), 401),
    "four parts": (_text(lambda head, body, signature: f"{head}.{body}.{signature}.x"), 401),
    "five parts, as of a JWE": (_text(lambda head, body, signature: f"{head}.{body}.{signature}.x.y"), 401),
    "an empty signature": (_text(lambda head, body, _s: f"{head}.{body}."), 401),
    "an empty header": (_text(lambda _h, body, signature: f".{body}.{signature}"), 401),
    "empty claims": (_text(lambda head, _b, signature: f"{head}..{signature}"), 401),
    "nothing": (lambda _now: ["Authorization: Bearer "], 403),
    "a signature cut": (_text(lambda head, body, signature: f"{head}.{body}.{signature[:-4]}"), 401),
    "a signature with padding": (_text(lambda head, body, signature: f"{head}.{body}.{signature}=="), 401),
    "claims with padding": (_text(lambda head, body, signature: f"{head}.{body}={'='}.{signature}"), 401),
    "a signature with other unused bits": (
        _text(lambda head, body, signature: f"{head}.{body}.{_other_last(signature)}"),
        401,
    ),
    "a signature in the other alphabet": (
        _text(
            lambda head, body, signature: f"{head}.{body}.{signature.replace('-', '+').replace('_', '/')}+"
        ),
        401,
    ),
    "claims of another token": (
        lambda now: [
            "Authorization: Bearer "
            + ".".join(
                (
                    _parts(now)[0],
                    encoded(dumped(claims_of(now, email="boss@example.com"))).decode(),
                    _parts(now)[2],
                )
            )
        ],
        401,
    ),
    "claims that are a list": (_raw(b"[]"), 401),
    "claims that are no JSON": (_raw(b"not json"), 401),
    "claims that are not UTF-8": (_raw(b'{"iss": "\xff"}'), 401),
    "claims nested without end": (_raw(b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"), 401),
    "a token of 64 KiB": (
        _text(lambda head, body, signature: f"{head}.{body}.{signature}" + "A" * 60_000),
        401,
    ),
    "claims of 9 KiB": (_with(padding="x" * 9000), 401),
    "an access token": (lambda _now: ["Authorization: Bearer ya29.a0AfH6SMBx"], 401),
    "the token that an app is given": (
        _text(lambda head, body, _s: f"{head}.{body}.SIGNATURE_REMOVED_BY_GOOGLE"),
        401,
    ),
    # -- how it comes
    "no token": (lambda _now: [], 403),
    "another scheme": (lambda now: [f"Authorization: Basic {_good(now).decode()}"], 403),
    "no scheme": (lambda now: [f"Authorization: {_good(now).decode()}"], 403),
    "a scheme that begins alike": (lambda now: [f"Authorization: Bearer2 {_good(now).decode()}"], 403),
    "a word behind the token": (lambda now: [f"Authorization: Bearer {_good(now).decode()} x"], 403),
    "two tokens in one field": (
        lambda now: [f"Authorization: Bearer {_good(now).decode()},Bearer {_good(now).decode()}"],
        403,
    ),
    "two Authorization headers": (lambda now: bearer(_good(now)) * 2, 401),
    "two, of which the first is good": (lambda now: [*bearer(_good(now)), "Authorization: Basic eDp5"], 401),
    "two X-Serverless-Authorization headers": (
        lambda now: bearer(_good(now), "X-Serverless-Authorization") * 2,
        401,
    ),
    "a bad one before a good one": (
        lambda now: [
            *bearer(ATTACKER.token(claims_of(now)), "X-Serverless-Authorization"),
            *bearer(_good(now)),
        ],
        401,
    ),
    "X-Serverless-Authorization of another scheme": (
        lambda now: [f"X-Serverless-Authorization: Basic {_good(now).decode()}", *bearer(_good(now))],
        401,
    ),
    "Proxy-Authorization": (lambda now: bearer(_good(now), "Proxy-Authorization"), 403),
    "an alias with underscores": (lambda now: bearer(_good(now), "X_Serverless_Authorization"), 403),
    "an alias with a dot": (lambda now: bearer(_good(now), "X-Serverless.Authorization"), 403),
    "an alias of the assertion": (lambda now: [f"X_Goog_IAP_JWT_Assertion: {_good(now).decode()}"], 403),
    "the identity headers alone": (
        lambda _now: [
            f"X-Goog-Authenticated-User-Email: accounts.google.com:{LOGIN}",
            "X-Goog-Authenticated-User-Id: accounts.google.com:1",
        ],
        403,
    ),
    "a cookie": (lambda now: [f"Cookie: Authorization=Bearer {_good(now).decode()}"], 403),
}
