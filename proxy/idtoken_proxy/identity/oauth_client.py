"""An OAuth client of one's own organisation, as the console gives it out for desktop apps.

https://developers.google.com/identity/protocols/oauth2/native-app; the file's `client_secret` is none in that kind of
client (RFC 8252 section 8.5), and is kept out of messages all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

from idtoken_proxy.identity.sources.credential_file import Document
from idtoken_proxy.settings.urls import endpoint

_MAKE: Final = "Make one of the type Desktop app, and download its JSON: https://console.cloud.google.com/apis/credentials"
_REQUIRED: Final = ("client_id", "client_secret", "auth_uri", "token_uri")


@dataclass(frozen=True, slots=True)
class OAuthClient:
    client_id: str
    client_secret: str = field(repr=False)
    auth_uri: str
    token_uri: str

    @property
    def revoke_uri(self) -> str:
        """https://developers.google.com/identity/protocols/oauth2/native-app#tokenrevoke: beside the token endpoint."""
        return urljoin(self.token_uri, "/revoke")


def oauth_client(document: Document, token_endpoint: str | None = None) -> OAuthClient:
    """`token_endpoint`: in place of the file's. Blocks. TokenError where the file is none of such a client."""
    info = document.read()
    if isinstance(info.get("web"), dict):
        raise document.invalid("holds the OAuth client of a web application", remedy=_MAKE)
    client = info.get("installed")
    if not isinstance(client, dict):
        raise document.invalid("holds no OAuth client", remedy=_MAKE)
    found = {name: client.get(name) for name in _REQUIRED}
    missing = [name for name, value in found.items() if not isinstance(value, str) or not value]
    if missing:
        raise document.invalid(f"lacks {', '.join(missing)}", remedy=_MAKE)
    try:
        auth_uri, token_uri = endpoint(found["auth_uri"]), endpoint(token_endpoint or found["token_uri"])
    except ValueError:
        raise document.invalid("names an endpoint that is none", remedy=_MAKE) from None
    return OAuthClient(str(found["client_id"]), str(found["client_secret"]), auth_uri, token_uri)
