"""Whose tokens are taken: Google's, IAP's, or those of an issuer that OpenID Connect describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

GOOGLE: Final = "google"
IAP: Final = "iap"
# https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken: "either ... or".
GOOGLE_SPELLINGS: Final = frozenset({"accounts.google.com", "https://accounts.google.com"})
GOOGLE_KEYS: Final = "https://www.googleapis.com/oauth2/v3/certs"
# https://cloud.google.com/iap/docs/signed-headers-howto
IAP_SPELLINGS: Final = frozenset({"https://cloud.google.com/iap"})
IAP_KEYS: Final = "https://www.gstatic.com/iap/verify/public_key-jwk"
_GOOGLES_NAME: Final = "accounts.google.com"


@dataclass(frozen=True, slots=True)
class Issuer:
    """`name`: as the configuration has it. `spellings`: of `iss`. `keys_url`: of its keys, or of the discovery document that
    names them. `names_emails`: the `email` of a subject that begins with `of_google` is a Google account's. `says_verified`:
    and it says so beside it. `namespace`: what stands before its subjects where the app reads them.
    """

    name: str
    spellings: frozenset[str]
    keys_url: str
    algorithms: frozenset[str]
    namespace: str
    discovers: bool = False
    names_emails: bool = False
    says_verified: bool = False
    of_google: str = ""


def issuer_of(name: str, google_keys: str | None = None, iap_keys: str | None = None) -> Issuer:
    """`name`: google, iap, or an issuer's URL. The two others: in place of Google's own."""
    if name == GOOGLE:
        keys = google_keys or GOOGLE_KEYS
        return Issuer(
            name,
            GOOGLE_SPELLINGS,
            keys,
            frozenset({"RS256"}),
            f"{_GOOGLES_NAME}:",
            names_emails=True,
            says_verified=True,
        )
    if name == IAP:
        keys = iap_keys or IAP_KEYS
        # Its subjects have a namespace already, and those of Identity Platform, where anybody may say any email, another.
        return Issuer(
            name,
            IAP_SPELLINGS,
            keys,
            frozenset({"ES256"}),
            "",
            names_emails=True,
            of_google=f"{_GOOGLES_NAME}:",
        )
    parts = urlsplit(name)
    # OpenID Connect Discovery 1.0, section 4: a slash at the issuer's end is taken off.
    document = name.removesuffix("/") + "/.well-known/openid-configuration"
    return Issuer(
        name,
        frozenset({name}),
        document,
        frozenset({"RS256", "ES256"}),
        f"{parts.netloc}{parts.path.removesuffix('/')}:",
        discovers=True,
    )
