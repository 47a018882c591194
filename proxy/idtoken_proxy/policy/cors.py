"""Pages of the listed origins (guard.allowed_origins) may read what comes back: the answers to their preflights and
the header lines that tell a browser so (https://fetch.spec.whatwg.org/#http-cors-protocol).

The proxy alone decides: the receiver's own Access-Control lines know nothing of who may use the proxy. An origin is
named, never `*`, which a browser would take for anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from idtoken_proxy.policy.request import Request

# Whose answers depend on Origin; those to requests without one too, or a cache would give them to a listed page.
VARY: Final = b"Vary: Origin\r\n"
# Seconds that a browser may remember a preflight: as long as a route's changed methods may go unnoticed.
MAX_AGE: Final = 600

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch  # RFC 9110 section 5.6.2
_NEVER: Final = frozenset({b"*", b"CONNECT", b"TRACE"})
_ASKED_METHOD: Final = b"access-control-request-method"
_ASKED_HEADERS: Final = b"access-control-request-headers"
_ASKED_PRIVATE: Final = b"access-control-request-private-network"
# Readable without being named (CORS-safelisted response-header names), or by no page at all.
_NEED_NO_NAMING: Final = frozenset(
    {
        b"cache-control", b"content-language", b"content-length", b"content-type", b"expires", b"last-modified",
        b"pragma", b"set-cookie",
    }
)  # fmt: skip


def is_preflight(request: Request) -> bool:
    """https://fetch.spec.whatwg.org/#cors-preflight-request; `request` is of a listed origin."""
    return request.method == b"OPTIONS" and bool(_values(request.passing, _ASKED_METHOD))


def preflight_lines(request: Request, methods: Sequence[str], *, any_method: bool) -> bytes:
    """What a preflight is answered with. `methods`: the route's; `any_method`: they are but the usual ones."""
    allowed = [method.encode("ascii") for method in methods]
    if any_method:
        allowed += [
            asked
            for asked in _values(request.passing, _ASKED_METHOD)
            if _TOKEN(asked) and asked.upper() not in _NEVER and asked not in allowed
        ]
    lines = [origin_lines(request), b"Access-Control-Allow-Methods: " + b", ".join(allowed) + b"\r\n"]
    asked = b",".join(_values(request.passing, _ASKED_HEADERS))
    headers = [name for name in (member.strip(b" \t") for member in asked.split(b",")) if _TOKEN(name)]
    if named := [name for name in headers if name != b"*"]:
        lines.append(b"Access-Control-Allow-Headers: " + b", ".join(named) + b"\r\n")
    # https://wicg.github.io/private-network-access/: asked before a page of the internet may reach this machine.
    if _values(request.passing, _ASKED_PRIVATE) == [b"true"]:
        lines.append(b"Access-Control-Allow-Private-Network: true\r\n")
    lines.append(b"Access-Control-Max-Age: %d\r\n" % MAX_AGE)
    return b"".join(lines)


def answer_lines(request: Request, passing: Iterable[bytes]) -> bytes:
    """For an answer with the field lines `passing`, all of which the page may read."""
    names: dict[bytes, bytes] = {}
    for line in passing:
        name = line[: line.index(b":")]
        names.setdefault(name.lower(), name)
    exposed = [name for lower, name in names.items() if lower not in _NEED_NO_NAMING]
    if not exposed:
        return origin_lines(request)
    return origin_lines(request) + b"Access-Control-Expose-Headers: " + b", ".join(exposed) + b"\r\n"


def problem_lines(request: Request | None) -> bytes:
    """For an answer of the proxy's own to whatever came."""
    if request is None or not request.listed:
        return b""
    return origin_lines(request) + b"Access-Control-Expose-Headers: Allow, Proxy-Status, Retry-After\r\n"


def origin_lines(request: Request) -> bytes:
    origin = request.origin
    assert origin is not None
    return (
        b"Access-Control-Allow-Origin: " + origin + b"\r\nAccess-Control-Allow-Credentials: true\r\n" + VARY
    )


def _values(lines: Iterable[bytes], name: bytes) -> list[bytes]:
    found = (line.partition(b":") for line in lines)
    return [value.strip() for spelled, _, value in found if spelled.lower() == name]
