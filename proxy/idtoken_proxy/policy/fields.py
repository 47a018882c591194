"""What each header field is to a proxy: passed on, dropped, or looked at (RFC 9110 section 7.6.1).

A kind is a plain int, PASS is 0: the engine tests it once for each line of each head.
"""

from __future__ import annotations

import re
from typing import Final

PASS: Final = 0
DROP: Final = 1
HOST: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
TE: Final = 8
AUTHORIZATION: Final = 9
ORIGIN: Final = 10
SEC_FETCH_SITE: Final = 11
SEC_FETCH_MODE: Final = 12
SEC_FETCH_DEST: Final = 13
FORWARDED_FOR: Final = 14
VIA: Final = 15
WWW_AUTHENTICATE: Final = 16
REFERER: Final = 17
LOCATION: Final = 18
SET_COOKIE: Final = 19
ACCESS_CONTROL: Final = 20
FORWARDED_PROTO: Final = 21
API_KEY: Final = 22
USER_PROJECT: Final = 23
SERVERLESS_AUTHORIZATION: Final = 24
ASSERTED: Final = 25

TOKEN_HEADERS: Final = frozenset({b"authorization", b"x-serverless-authorization", b"proxy-authorization"})

# What an app may not say under another spelling either: the proxy says it, or nobody does.
_ONLY_OURS: Final = TOKEN_HEADERS | {b"x-forwarded-prefix", b"x-forwarded-proto", b"x-forwarded-host"}

# Who the caller is, as a front end of Google's says it to the app behind. It passes to receivers, which ask for tokens; where
# the proxy itself is the front end (receive/), nobody else says it.
IAP_ASSERTION: Final = b"x-goog-iap-jwt-assertion"
_AUTHENTICATED: Final = b"x-goog-authenticated-user-"
# And for which path the request is: IIS, Zend and Symfony once took it from these (CVE-2018-14773), past the path's own rule.
_FRONT_END_SAYS: Final = frozenset({IAP_ASSERTION, b"x-original-url", b"x-rewrite-url"})

REQUEST_KINDS: Final = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"te": TE,
    b"authorization": AUTHORIZATION,
    b"origin": ORIGIN,
    b"sec-fetch-site": SEC_FETCH_SITE,
    b"sec-fetch-mode": SEC_FETCH_MODE,
    b"sec-fetch-dest": SEC_FETCH_DEST,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-proto": FORWARDED_PROTO,  # read of guard.trusted_proxies alone, and set afresh
    b"via": VIA,
    b"referer": REFERER,
    # Looked at where an access token is attached (headers.py); they pass anywhere else.
    b"x-goog-api-key": API_KEY,
    b"x-goog-user-project": USER_PROJECT,
    # One hop only.
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"http2-settings": DROP,  # belongs to an h2c upgrade, which is ignored (RFC 9113 section 3.1)
    b"trailer": DROP,  # request trailers are dropped
    # Credentials that only this proxy may attach.
    b"x-serverless-authorization": SERVERLESS_AUTHORIZATION,  # dropped too, and read where tokens are received
    b"proxy-authorization": DROP,
    # Set afresh.
    b"x-forwarded-host": DROP,
    b"x-forwarded-prefix": DROP,
    # What asks a metadata server for its secrets must not be relayed to one.
    b"metadata-flavor": DROP,
    b"x-google-metadata-request": DROP,
}

RESPONSE_KINDS: Final = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"www-authenticate": WWW_AUTHENTICATE,
    # Rewritten (rewrite.py), or the proxy's own to say (cors.py).
    b"location": LOCATION,
    b"content-location": LOCATION,
    b"set-cookie": SET_COOKIE,
    b"access-control-allow-origin": ACCESS_CONTROL,
    b"access-control-allow-credentials": ACCESS_CONTROL,
    b"access-control-allow-headers": ACCESS_CONTROL,
    b"access-control-allow-methods": ACCESS_CONTROL,
    b"access-control-allow-private-network": ACCESS_CONTROL,
    b"access-control-expose-headers": ACCESS_CONTROL,
    b"access-control-max-age": ACCESS_CONTROL,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
}

_NEITHER_LETTER_NOR_DIGIT: Final = re.compile(rb"[^0-9A-Za-z]")

# What a trailer section may not carry: framing, routing, authentication, connection (RFC 9110 section 6.5.1).
TRAILER_FORBIDDEN: Final = (
    frozenset(REQUEST_KINDS)
    | frozenset(RESPONSE_KINDS)
    | {
        b"set-cookie",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"cache-control",
        b"location",
        b"age",
        b"date",
        b"expires",
        b"vary",
    }
)


def request_kind(name: bytes) -> int:
    """The kind of a request field; `name` is lower case. An alias of what is only ours to say is dropped."""
    kind = REQUEST_KINDS.get(name)
    if kind is not None:
        return kind
    plain = folded(name)
    if plain in _ONLY_OURS:
        return DROP
    return ASSERTED if plain in _FRONT_END_SAYS or plain.startswith(_AUTHENTICATED) else PASS


def folded(name: bytes) -> bytes:
    """What a header's name may become where headers are handed to a program as variables: `X_Serverless_Authorization`
    is the token header over there (Traefik CVE-2026-54763, CVE-2026-88011). Many servers fold `_` and `.`, some
    (lighttpd, old httpd) whatever is neither letter nor digit.
    """
    return _NEITHER_LETTER_NOR_DIGIT.sub(b"-", name)


def response_kind(name: bytes) -> int:
    """The kind of a response field; `name` is lower case."""
    return RESPONSE_KINDS.get(name, PASS)


class Field:
    """A field line, parsed: `name` in lower case, `wire` as it is written on (`Name: value` and CRLF)."""

    __slots__ = ("kind", "name", "value", "wire")

    def __init__(self, name: bytes, value: bytes, wire: bytes, kind: int) -> None:
        self.name = name
        self.value = value
        self.wire = wire
        self.kind = kind

    def __repr__(self) -> str:
        return f"Field({self.name!r})"  # never the value: it may be a credential
