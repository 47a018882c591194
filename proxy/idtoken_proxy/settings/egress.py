"""The network's egress proxy: `http://[USER:PASSWORD@]HOST:PORT`, a proxy that takes CONNECT.

No message repeats the value: it may hold a password, and a typing mistake may put that anywhere in it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from idtoken_proxy.settings.addresses import port, split_authority
from idtoken_proxy.settings.model import EgressProxy
from idtoken_proxy.settings.plausible import wrapping
from idtoken_proxy.settings.values import text

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)(.*)", re.DOTALL)
_NO_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORM: Final = "http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"


def egress_proxy(value: object) -> EgressProxy:
    """On any host, because what goes through it is TLS to the receiver. ValueError says what would be right."""
    url = text(value)
    around = wrapping(url)  # its message repeats nothing either
    if around is not None:
        raise ValueError(around)
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"must be {_FORM}")
    scheme, authority, rest = match.groups()
    if scheme.lower() != "http":
        # TLS to the egress proxy would hide only names: the secrets are inside TLS to the receiver.
        raise ValueError(
            "must be an HTTP proxy that takes CONNECT and is reached by http; write http://HOST:PORT"
        )
    if rest not in ("", "/"):
        escapes = "; within a user name or a password / is written %2F, \\ %5C, ? %3F and # %23"
        raise ValueError(
            f"must end with its port; remove what stands behind it{escapes if '@' in rest else ''}"
        )
    userinfo, at, place = authority.rpartition("@")
    if "@" in userinfo:
        raise ValueError("holds more than one @; within a user name or a password it is written %40")
    credentials = _credentials(userinfo) if at else None
    host, number = _place(place)
    return EgressProxy(host, number, credentials)


def _place(place: str) -> tuple[str, int]:
    try:
        host, number = split_authority(place)
    except ValueError:
        raise ValueError(f"names no host; write {_FORM}, an IPv6 address in brackets") from None
    if not number:
        raise ValueError(f"says no port; write {_FORM}, such as http://proxy.example.com:3128")
    try:
        return host, port(number, lowest=1)
    except ValueError:
        raise ValueError(f"must say a port from 1 to 65535; write {_FORM}") from None


def _credentials(userinfo: str) -> bytes:
    """The octets that Basic authentication encodes (RFC 7617 section 2)."""
    user, colon, _ = userinfo.partition(":")
    if not colon:
        raise ValueError("names a user without a password; write http://USER:PASSWORD@HOST:PORT")
    if _NO_ESCAPE.search(userinfo):
        raise ValueError(
            "holds a % that begins no percent-escape; within a user name or a password it is written %25"
        )
    if not userinfo.isprintable():  # excludes what UTF-8 cannot encode, too
        raise ValueError("must not hold control characters")
    octets = unquote_to_bytes(userinfo)
    # "The user-id and password MUST NOT contain any control characters", and "a user-id containing a colon character
    # is invalid, as the first colon [...] separates user-id and password from one another".
    if any(octet < 0x20 or octet == 0x7F for octet in octets):
        raise ValueError("must not hold control characters")
    if b":" in unquote_to_bytes(user):
        raise ValueError(
            "has a colon in its user name, which Basic authentication cannot say; take another user"
        )
    return octets
