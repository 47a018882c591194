"""What the proxy itself answers: problem+json (RFC 9457) with Proxy-Status (RFC 9209), so that nobody takes it for
the receiver's word.
"""

from __future__ import annotations

import json
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from idtoken_proxy.errors import MethodNotAllowed, ProxyError, TokenError, Unauthenticated
from idtoken_proxy.settings.model import Route

PROXY_NAME = "idtoken-proxy"
_DRAINING_RETRY_SECONDS = 1
# Cloud Run's words, by which callers know that another token may help: this proxy among them (policy/headers.py).
NOT_VERIFIED = "The access token could not be verified"
_CHALLENGE = f'WWW-Authenticate: Bearer error="invalid_token" error_description="{NOT_VERIFIED}"'


# RFC 9110 section 9.3.6: neither Content-Length nor Transfer-Encoding.
ESTABLISHED = f"HTTP/1.1 200 Connection established\r\nProxy-Status: {PROXY_NAME}\r\n\r\n".encode()


def preflight(lines: bytes, *, closes: bool) -> bytes:
    """A browser's question whether a page may send a request, answered: `lines` (cors.py) say so."""
    head = f"HTTP/1.1 204 No Content\r\nDate: {formatdate(usegmt=True)}\r\nProxy-Status: {PROXY_NAME}\r\n".encode()
    return head + lines + (b"Connection: close\r\n\r\n" if closes else b"\r\n")


def problem(
    error: ProxyError,
    route: Route | None,
    *,
    head_only: bool,
    closes: bool,
    readable_by: bytes = b"",
    http10: bool = False,
) -> bytes:
    """A whole response. `head_only`: the request was a HEAD. `closes`: the connection ends with it. `readable_by`: the
    lines that let another origin's page read it (cors.py).
    """
    members: dict[str, object] = {"type": "about:blank", "title": error.title, "status": error.status}
    if route is not None and route.receives:
        return _whole(error, members, head_only=head_only, closes=closes, http10=http10)
    members |= {"detail": error.detail, "fault": error.fault.value}
    if isinstance(error, TokenError):
        members["cause"] = error.cause
        if error.identity is not None:
            members["identity"] = error.identity
        if error.login is not None:
            members["login"] = error.login
    if route is not None:
        members["route"] = route.name
        if route.scopes is not None:
            members["scopes"] = str(route.scopes)
        elif route.audience is not None:
            members["audience"] = route.audience
    if error.remedy is not None:
        members["remedy"] = error.remedy
    return _whole(error, members, head_only=head_only, closes=closes, readable_by=readable_by, http10=http10)


def _whole(
    error: ProxyError,
    members: dict[str, object],
    *,
    head_only: bool,
    closes: bool,
    readable_by: bytes = b"",
    http10: bool,
) -> bytes:
    # Indented by hand: json's own indenting is in Python, and a flood of refusals would cost twice as much.
    said = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in members.items())
    body = f"{{\n{said}\n}}\n".encode()
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"Date: {formatdate(usegmt=True)}",
        f"Proxy-Status: {PROXY_NAME}; error={error.proxy_status}; details={_quoted(error.title)}",
    ]
    if isinstance(error, TokenError):
        lines.append(f"Retry-After: {max(1, error.retry_after)}")
    elif error.status == 429:
        lines.append("Retry-After: 1")
    elif error.status == 503:
        lines.append(f"Retry-After: {_DRAINING_RETRY_SECONDS}")
    if isinstance(error, Unauthenticated):
        lines.append(_CHALLENGE)
    if isinstance(error, MethodNotAllowed):
        lines.append(f"Allow: {', '.join(error.allow)}")
    if closes or http10:  # HTTP/1.0 closes where it is not told otherwise
        lines.append("Connection: close" if closes else "Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n" + readable_by + b"\r\n"
    return head if head_only else head + body


@lru_cache(maxsize=64)
def _quoted(text: str) -> str:
    """An sf-string (RFC 8941 section 3.3.3)."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
