"""RSA keys: one signs Google's ID tokens, one each service account's assertions; their public halves as Google
publishes them.

Sources: https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken (the two
certificate documents), https://cloud.google.com/iam/docs/keys-create-delete (the key file), RFC 7517 (JWK).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import threading
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt

GOOGLE = "federated-signon.system.gserviceaccount.com"  # the common name on Google's own certificates


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`certificate` is PEM; verifiers take the public key out of it and read no dates."""

    kid: str
    private: rsa.RSAPrivateKey = field(repr=False)
    certificate: str = field(repr=False)

    @classmethod
    def generate(cls, owner: str) -> SigningKey:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public_der = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(
            kid=hashlib.sha256(public_der).hexdigest()[:40],
            private=private,
            certificate=_certificate(owner, private),
        )

    @property
    def signer(self) -> crypt.RSASigner:
        return crypt.RSASigner(self.private, self.kid)  # type: ignore[no-untyped-call]

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def jwk(self) -> dict[str, str]:
        """RFC 7517 section 4, RFC 7518 section 6.3.1."""
        numbers = self.private.public_key().public_numbers()
        return {
            "kid": self.kid,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": _base64url_uint(numbers.n),
            "e": _base64url_uint(numbers.e),
        }


class Keys:
    """Made when first asked for, since each takes a tenth of a second. Safe to share between threads, and
    between emulators: tests that start many need only one.
    """

    def __init__(self) -> None:
        self._by_owner: dict[str, SigningKey] = {}
        self._lock = threading.Lock()

    @property
    def google(self) -> SigningKey:
        return self.of(GOOGLE)

    def of(self, owner: str) -> SigningKey:
        with self._lock:
            if owner not in self._by_owner:
                self._by_owner[owner] = SigningKey.generate(owner)
            return self._by_owner[owner]

    def certificate_of(self, owner: str) -> dict[str, str]:
        """{kid: PEM} of the key given out to `owner`; empty where none was."""
        key = self._by_owner.get(owner)
        return {key.kid: key.certificate} if key else {}

    def certificates(self) -> dict[str, str]:
        """As https://www.googleapis.com/oauth2/v1/certs."""
        return {self.google.kid: self.google.certificate}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """As https://www.googleapis.com/oauth2/v3/certs."""
        return {"keys": [self.google.jwk]}


def public_pem(n: str, e: str) -> str:
    """Of a JWK's two numbers, base64url (RFC 7518 section 6.3.1). ValueError where they are none."""
    try:
        public = rsa.RSAPublicNumbers(_uint(e), _uint(n)).public_key()
    except ValueError:
        raise ValueError("n and e make no RSA key") from None
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _certificate(owner: str, private: rsa.RSAPrivateKey) -> str:
    # 64 characters is the most that a common name may have (RFC 5280, ub-common-name).
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, owner[:64])])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=3650))
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _base64url_uint(number: int) -> str:
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _uint(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
