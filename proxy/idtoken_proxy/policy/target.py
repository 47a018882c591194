"""Request targets: which are too clever where a path is a boundary, and where a target goes upstream.

A target is never decoded and encoded again (Perl Reverse::Proxy CVE-2026-75922): prefixes come off and base paths
go on as raw bytes, and what is left travels as it came. So where a path prefix or a base path is a boundary, anything
that the receiver may read as a way out of it is refused (Envoy CVE-2019-9901, CVE-2021-29492, CVE-2026-73551).
"""

from __future__ import annotations

import re

from idtoken_proxy.errors import MalformedRequest

# A dot segment in any spelling, with path parameters too (`..;x`, `..%3bx`); an encoded slash, backslash or NUL; a backslash.
_ESCAPES = re.compile(rb"(?:^|/)(?:\.|%2e){1,2}(?:(?:;|%3b)[^/]*)?(?=/|$)|%2f|%5c|%00|\\", re.IGNORECASE)


class PathMap:
    """Maps the path of a route's requests to the receiver's; one for HTTP and WebSocket alike.

    `prefix`: "/" or "/a"; `base`: "" or "/b".
    """

    __slots__ = ("_base", "_bounded", "_cut", "_same")

    def __init__(self, prefix: str, base: str, *, strip_prefix: bool) -> None:
        self._base = base.encode()
        self._cut = len(prefix) if strip_prefix and prefix != "/" else 0
        self._bounded = prefix != "/" or bool(base)
        self._same = not self._base and not self._cut

    def map(self, target: bytes, path: bytes) -> bytes:
        """The outbound target; `path` is the target's without its query. Raises MalformedRequest."""
        if self._bounded:
            if target == b"*":
                raise MalformedRequest("OPTIONS * has no path that this route could map")
            if (b"." in path or b"%" in path or b"\\" in path) and _ESCAPES.search(path) is not None:
                raise MalformedRequest(
                    "the path holds a dot segment, a backslash or an encoded slash, which could lead out of the route",
                    remedy="send the path in its normal form",
                )
        if self._same:
            return target
        rest = self._base + target[self._cut :]
        return rest if rest.startswith(b"/") else b"/" + rest
