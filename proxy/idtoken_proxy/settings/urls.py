"""URLs and paths in routes: upstreams, path prefixes, Google's endpoints. Parsed strictly, because requests are built
of them.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from idtoken_proxy.settings.addresses import is_link_local, is_loopback, port, split_authority
from idtoken_proxy.settings.model import DEFAULT_PORTS, Upstream
from idtoken_proxy.settings.plausible import hidden, shown
from idtoken_proxy.settings.values import text

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)([^?#]*)(.*)", re.DOTALL)
# RFC 3986 section 3.3, without percent-escapes.
_BARE: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]{1,5})?(?:/[A-Za-z0-9/._-]*)?")
_PATH: Final = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@-]*")
_DOT_SEGMENT: Final = re.compile(r"\.{1,2}(?:;.*)?")

METADATA_NAMES: Final = frozenset({"metadata.google.internal", "metadata.goog", "metadata"})
METADATA_IPV6: Final = "fd20:ce::254"


def upstream(value: object) -> Upstream:
    """`https://host[:port][/base/path]`, or http on loopback. Never repeats a user name or password."""
    if isinstance(value, bool | int | float):
        raise ValueError(f"must be a URL such as https://SERVICE.a.run.app, not {shown(value)}")  # noqa: TRY004 - what readers collect
    url = text(value)
    match = _URL.fullmatch(url)
    if match is None and _BARE.fullmatch(url) and hidden(url) is None:
        raise ValueError(f"must be a URL that begins with https://; write https://{url}")
    if match is None or match[1].lower() not in DEFAULT_PORTS:
        raise ValueError(f"must be a URL that begins with https://, not {shown(url)}")
    scheme: Literal["http", "https"] = "https" if match[1].lower() == "https" else "http"
    authority, base, rest = match[2], match[3], match[4]
    if "@" in authority:
        raise ValueError(
            "must not hold a user name or password; the proxy attaches an ID token in their place"
        )
    if rest:
        raise ValueError("must end with its path; remove the query and the fragment")
    if not authority:
        raise ValueError("names no host; write https://HOST")
    host, number = split_authority(authority)
    receiver = Upstream(
        scheme,
        host,
        DEFAULT_PORTS[scheme] if number is None else port(number, lowest=1),
        "" if base in ("", "/") else path(base),
    )
    _refuse_metadata_server(host)
    if scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"would send tokens in the clear; write https://{authority}, as http is for loopback alone"
        )
    return receiver


def _refuse_metadata_server(host: str) -> None:
    """Whoever reaches the proxy could ask the metadata server for every secret of the machine."""
    if host in METADATA_NAMES or host == METADATA_IPV6 or is_link_local(host):
        raise ValueError(
            f"{host} is, or may be, a metadata server, which must not be reached through a proxy"
        )


def path(value: object) -> str:
    """`/` or `/a/b`, without a slash at the end. Refuses what has two spellings on the wire."""
    string = text(value)
    if not string.startswith("/"):
        raise ValueError(f'must begin with "/", not {shown(string)}')
    if "?" in string or "#" in string:
        raise ValueError("is a path alone; remove the query and the fragment")
    if "%" in string:
        raise ValueError(
            f"must not hold percent-escapes (one path would have several spellings), as {shown(string)} does"
        )
    if "\\" in string:
        raise ValueError('must not hold a backslash; segments are divided by "/"')
    if not _PATH.fullmatch(string):
        raise ValueError(f"holds characters that no URL path has: {shown(string)}")
    if "//" in string:
        raise ValueError(f'must not hold empty segments ("//"), as {shown(string)} does')
    if any(_DOT_SEGMENT.fullmatch(segment) for segment in string.split("/")):
        raise ValueError(f'must not hold "." or ".." segments, as {shown(string)} does')
    return string.removesuffix("/") or "/"


def endpoint(value: object) -> str:
    """One of Google's endpoints, or its stand-in: https, or http on loopback."""
    url = upstream(value)
    return str(url)


def collector(value: object) -> str:
    """Where to send spans: `http://HOST:PORT[/PATH]`, or https. Never repeats a user name or password."""
    url = text(value)
    match = _URL.fullmatch(url)
    if match is None or match[1].lower() not in DEFAULT_PORTS or not match[2]:
        raise ValueError(f"must be a URL such as http://localhost:4318, not {shown(url)}")
    authority, base, rest = match[2], match[3], match[4]
    if "@" in authority:
        raise ValueError(
            "must not hold a user name or password; put credentials into OTEL_EXPORTER_OTLP_HEADERS"
        )
    if rest:
        raise ValueError("must end with its path; remove the query and the fragment")
    host, number = split_authority(authority)
    if number is not None:
        port(number, lowest=1)
    _refuse_metadata_server(host)
    return f"{match[1].lower()}://{authority}{'' if base in ('', '/') else path(base)}"


def origin(value: object) -> str:
    """As a browser writes it (RFC 6454 section 6.2): scheme, host, port. Extensions' origins count, too."""
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([^/?#@\\]+)", text(value))
    if match is None:
        raise ValueError(
            f"must be an origin such as https://app.example.com, without a path, not {shown(value)}"
        )
    host, number = split_authority(match[2])
    name = f"[{host}]" if ":" in host else host
    if number is None or DEFAULT_PORTS.get(match[1]) == port(number, lowest=1):
        return f"{match[1]}://{name}"
    return f"{match[1]}://{name}:{int(number)}"
