"""Which keys of a document verify, and what each does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from idtoken_proxy.receive.verification_keys import keys_of
from tests.cases import for_each
from tests.receive.signing import Signer, dumped, ec_signer, encoded, jwks, rsa_signer, uint

RSA, EC = rsa_signer(), ec_signer()


def only(jwk: dict[str, Any]) -> list[str]:
    return list(keys_of(json.dumps({"keys": [jwk]}).encode()))


def test_each_verifies_by_its_own_algorithm_and_nothing_else() -> None:
    keys = keys_of(jwks(RSA, EC))
    assert [key.algorithm for key in keys.values()] == ["RS256", "ES256"]
    for signer in (RSA, EC):
        signature = signer.signature(b"what is signed")
        assert keys[signer.kid].verifies(signature, b"what is signed")
        for other in (signature[:-1], signature + b"\0", b"", signature[::-1], bytes(len(signature))):
            assert not keys[signer.kid].verifies(other, b"what is signed")
        assert not keys[signer.kid].verifies(signature, b"what is signed ")
    assert not keys[RSA.kid].verifies(EC.signature(b"x"), b"x")
    assert not keys[EC.kid].verifies(RSA.signature(b"x"), b"x")


@for_each(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "none"},
        {"kty": "oct", "k": "AAAA"},
        {"kid": 1},
        {"kid": ""},
        {"kid": None},
        {"n": "AQAB"},
        {"n": None},
        {"n": "é"},
        {"e": "AA"},
        {"e": encoded(b"\xff" * 64).decode()},
    ],
)
def test_rsa_keys_that_are_passed_over(change: dict[str, Any]) -> None:
    assert only({**RSA.jwk, **change}) == []


@for_each("modulus", [2**2047, 2**4096 - 1, 2**2048 - 2, 3**1292])
@for_each("exponent", [3, 65537, 2**32 - 1])
def test_a_key_that_is_no_product_of_two_primes_verifies_nothing(modulus: int, exponent: int) -> None:
    """Nor does it end in an exception: what an issuer publishes is not ours to choose."""
    keys = keys_of(dumped({"keys": [{**RSA.jwk, "n": uint(modulus), "e": uint(exponent)}]}))
    for key in keys.values():
        for signature in (bytes(256), b"\xff" * 256, bytes(255) + b"\1", b"\xff" * 512, b""):
            assert not key.verifies(signature, b"what is signed")


def test_rsa_keys_of_other_sizes() -> None:
    assert only(rsa_signer("short", 1024).jwk) == []
    assert only({**RSA.jwk, "n": encoded(b"\xff" * 1024).decode()}) == []  # a check would take milliseconds


@for_each(
    "change",
    [
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"alg": "ES384"},
        {"x": "AA"},
        {"y": encoded(bytes(32)).decode()},
    ],
)
def test_ec_keys_that_are_passed_over(change: dict[str, Any]) -> None:
    assert only({**EC.jwk, **change}) == []


def test_a_name_that_two_keys_have_is_no_key_s() -> None:
    other = Signer(RSA.kid, ec.generate_private_key(ec.SECP256R1()))
    assert list(keys_of(jwks(RSA, other, EC))) == [EC.kid]
    assert list(keys_of(jwks(RSA, RSA))) == [RSA.kid]  # twice the same


@for_each("document", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_document(document: bytes) -> None:
    with pytest.raises((ValueError, UnicodeDecodeError)):
        keys_of(document)


def test_what_is_no_key_among_them_is_passed_over() -> None:
    document = json.dumps({"keys": [None, 1, [], {}, RSA.jwk]}).encode()
    assert list(keys_of(document)) == [RSA.kid]
