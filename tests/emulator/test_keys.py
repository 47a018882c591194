from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from idtoken_proxy.emulator.keys import Keys, SigningKey


def test_a_key_is_rsa_2048_and_its_certificate_carries_its_public_half(keys: Keys) -> None:
    key = keys.google
    certificate = x509.load_pem_x509_certificate(key.certificate.encode())
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    assert public.public_numbers() == key.private.public_key().public_numbers()


def test_the_jwk_says_the_same_as_the_certificate(keys: Keys) -> None:
    jwk = keys.jwks()["keys"][0]
    assert (jwk["kty"], jwk["alg"], jwk["use"]) == ("RSA", "RS256", "sig")
    assert {jwk["kid"]} == set(keys.certificates())
    numbers = keys.google.private.public_key().public_numbers()
    assert _uint(jwk["n"]) == numbers.n
    assert _uint(jwk["e"]) == numbers.e


def test_the_private_key_is_pem_and_not_in_the_repr(keys: Keys) -> None:
    key = keys.google
    loaded = serialization.load_pem_private_key(key.private_pem.encode(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    assert loaded.private_numbers() == key.private.private_numbers()
    assert repr(key) == f"SigningKey(kid={key.kid!r})"


def test_an_owner_keeps_its_key_whoever_asks_at_once() -> None:
    keys = Keys()
    with ThreadPoolExecutor(4) as threads:
        kids = {key.kid for key in threads.map(keys.of, ["a@b.c"] * 4)}
    assert len(kids) == 1
    assert set(keys.certificate_of("a@b.c")) == kids


def test_who_has_no_key_has_no_certificate() -> None:
    assert Keys().certificate_of("a@b.c") == {}


def test_a_long_owner_fits_into_a_certificate() -> None:
    assert SigningKey.generate("x" * 65).kid


def _uint(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")
