"""Addresses of the receiver become the proxy's on the way back, and the proxy's the receiver's on the way there, so
that a web app keeps working behind localhost: login redirects, cookies, CSRF checks.

Everything is a replacement of octets within one value. What is not plainly the receiver's (another host, a user name
before the host, another port) passes to the last octet: an app that logs in at accounts.google.com gets there.

`Secure` stays on cookies: browsers keep such ones on localhost without TLS (Chromium 156 on localhost, *.localhost and
127.0.0.1; curl 7.88 on the first and the last; Firefox since 75; Safari does not yet, WebKit bug 281149), and
SameSite=None, Partitioned, `__Host-` and `__Secure-` are worth nothing without it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from idtoken_proxy.policy.fields import LOCATION, SET_COOKIE, Field
from idtoken_proxy.policy.guard import Caller
from idtoken_proxy.settings.model import DEFAULT_PORTS, Rewrite, Route

# [scheme:]//host[:port] and what follows. No user name, nothing encoded, no backslash (which browsers take for a slash).
_URL: Final = re.compile(
    rb"(?:(https?):)?//([A-Za-z0-9._:\[\]-]+)([/?#].*)?", re.IGNORECASE | re.DOTALL
).fullmatch
# After the first slash these would make the next segment a host; a tab is what browsers drop (URL Standard section 4.4).
_HOST_FOLLOWS: Final = (b"/", b"\\", b"\t")
_PATH_ENDS: Final = (b"/", b"?", b"#")


class Rewriter:
    """A route's; made once. `origin_line`: the Origin that goes upstream for the proxy's own, None: as it came."""

    __slots__ = ("_authorities", "_base", "_cookies", "_host", "_location", "_prefix", "_same", "origin_line")

    def __init__(self, route: Route, rewrite: Rewrite) -> None:
        upstream = route.upstream
        self._location = rewrite.location
        self._cookies = rewrite.cookies
        self._host = _spelled(upstream.host).encode("ascii")
        self._authorities = _authorities(upstream.scheme, _spelled(upstream.host), upstream.port)
        self._base = upstream.base_path.encode()
        self._prefix = route.path.encode() if route.strip_prefix and route.path != "/" else b""
        self._same = not self._base and not self._prefix
        self.origin_line = b"Origin: " + upstream.origin.encode("ascii") + b"\r\n" if rewrite.origin else None

    # -- the way back ----------------------------------------------------------

    def back(self, field: Field, caller: Caller, target: bytes = b"") -> bytes:
        """The field line for the app: Location, Content-Location and Set-Cookie rewritten, any other as it came.
        `target`: what the app asked for.
        """
        value = field.value
        if field.kind == LOCATION:
            mine = self.location(value, caller) if self._location else value
        elif field.kind == SET_COOKIE:
            mine = self.cookie(value, caller, target) if self._cookies else value
        else:
            mine = value
        return field.wire if mine == value else field.wire[: -len(value) - 2] + mine + b"\r\n"

    def location(self, value: bytes, caller: Caller) -> bytes:
        """RFC 9110 section 10.2.2: a URI-reference. Relative ones but rooted paths mean the same on both sides."""
        if value[:1] == b"/" and value[1:2] not in (b"/", b"\\"):
            if self._same:
                return value
            path = self._path_back(value)
            if path is None:
                return value
            if path[1:2] in _HOST_FOLLOWS:  # left over when a base path was taken off
                return caller.origin + path if caller.origin else value
            return path
        match = _URL(value)
        if match is None:
            return value
        scheme, authority, rest = match.groups(b"")
        scheme, authority = scheme.lower(), authority.lower()
        path = rest if rest[:1] == b"/" else b"/" + rest
        if (scheme, authority) in self._authorities:
            mapped = self._path_back(path)
            if mapped is None:
                return value
        elif _is_proxys(scheme, authority, caller):
            # By an app that builds its URLs from X-Forwarded-Host and, on Cloud Run, from `X-Forwarded-Proto: https`.
            # It knows of no prefix, unless it has been told its address here.
            told = self._prefix and _is_under(path, self._prefix)
            mapped = (None if told else self._path_back(path)) or path
            if mapped == path and scheme in (b"", caller.origin.partition(b":")[0]):
                return value
        else:
            return value
        if not caller.origin and mapped[1:2] in _HOST_FOLLOWS:
            return value
        return caller.origin + mapped

    def cookie(self, value: bytes, caller: Caller, target: bytes = b"") -> bytes:
        """RFC 6265 section 5.2: name=value, then attributes. A cookie that the receiver's own address would not get
        passes as it is, and so does a `__Host-` one, whose Path must be / and whose Domain must not be.
        """
        if value[:7].lower() == b"__host-":
            return value
        first, *attributes = value.split(b";")
        kept = [first]
        anywhere = bool(self._prefix) and target.partition(b"?")[0] == self._prefix
        for attribute in attributes:
            name, _, given = attribute.partition(b"=")
            name, plain = name.strip(b" \t").lower(), given.strip(b" \t")
            if name == b"domain" and plain:
                domain = plain.lower().removeprefix(b".")
                if not _covers(domain, self._host):
                    return value
                if not _covers(domain, caller.name.encode("ascii")):
                    continue
            elif name == b"path" and plain[:1] == b"/":
                anywhere = False
                if not self._same:
                    attribute = attribute[: -len(given)] + given.replace(plain, self._cookie_path(plain), 1)  # noqa: PLW2901
            kept.append(attribute)
        if anywhere:
            # RFC 6265 section 5.1.4: without a Path it is for what stands before the last slash, which of a bare /prefix is
            # everything: the other routes' receivers would get it.
            kept.append(b" Path=" + self._prefix)
        return b";".join(kept)

    def _path_back(self, rest: bytes) -> bytes | None:
        """The path, with what follows it, as the app would ask for it: PathMap.map turned round. None: it cannot."""
        if self._base:
            if not _is_under(rest, self._base):
                return None
            rest = rest[len(self._base) :]
        if self._prefix:
            return self._prefix + rest
        return b"/" + rest if self._base and rest[:1] != b"/" else rest

    def _cookie_path(self, path: bytes) -> bytes:
        """A cookie for more than the base path is one for the whole route; one for elsewhere stays so."""
        base = self._base
        if base and path.startswith(base + b"/"):
            path = path[len(base) :]
        elif _is_under(base, path.rstrip(b"/")):
            path = b""
        elif base:
            return path
        return self._prefix + path or b"/"

    # -- the way there ---------------------------------------------------------

    def referer(self, line: bytes, value: bytes, caller: Caller) -> bytes:
        """`line`: the field as it came. A page of another route is none of this receiver's: its path is left out."""
        origin = caller.origin
        if self.origin_line is None or not origin or value[: len(origin)].lower() != origin:
            return line
        rest = value[len(origin) :]
        if rest and rest[:1] not in _PATH_ENDS:
            return line
        if rest[:1] != b"/":
            rest = b"/" + rest
        if self._prefix:
            rest = rest[len(self._prefix) :] if _is_under(rest, self._prefix) else b"/"
            if rest[:1] != b"/" and not self._base:
                rest = b"/" + rest
        return b"Referer: " + self.origin_line[8:-2] + self._base + rest + b"\r\n"


@lru_cache(maxsize=4096)  # a route has several Rewriters, and often its receiver with others
def _authorities(own_scheme: str, host: str, own_port: int) -> frozenset[tuple[bytes, bytes]]:
    """(scheme, authority) as a receiver may say its own: by either scheme, with its default port or without."""
    own = set()
    for scheme, default in DEFAULT_PORTS.items():
        port = default if own_port == DEFAULT_PORTS[own_scheme] else own_port
        spelled = [f"{host}:{port}", host, f"{host}:"] if port == default else [f"{host}:{port}"]
        own |= {(said, one.encode("ascii")) for one in spelled for said in (scheme.encode(), b"")}
    return frozenset(own)


def _spelled(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_proxys(scheme: bytes, authority: bytes, caller: Caller) -> bool:
    own, _, rest = caller.origin.partition(b"://")
    if own == b"https":  # TLS ends in front: http is the word of an app that was not told so
        return rest in (authority, authority.removesuffix(b":443" if scheme != b"http" else b":80"))
    # https without a port is port 443: somebody else.
    return rest == authority and (scheme != b"https" or authority.rpartition(b":")[2].isdigit())


def _is_under(path: bytes, prefix: bytes) -> bool:
    """Of whole segments; `path` with or without a query."""
    return path.startswith(prefix) and (
        len(path) == len(prefix) or path[len(prefix) : len(prefix) + 1] in _PATH_ENDS
    )


def _covers(domain: bytes, host: bytes) -> bool:
    """RFC 6265 section 5.1.3. A single label is no domain of anybody's but its own."""
    return host == domain or (b"." in domain and host.endswith(b"." + domain) and not _is_address(host))


def _is_address(host: bytes) -> bool:
    return b":" in host or host.replace(b".", b"").isdigit()
