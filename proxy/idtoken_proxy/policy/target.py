"""Request targets: which are too clever where a path is a boundary, and where a target goes upstream.

A target is never decoded and encoded again (Perl Reverse::Proxy CVE-2026-75922): prefixes come off and base paths
go on as raw bytes, and what is left travels as it came. So where a path prefix or a base path is a boundary, anything
that the receiver may read as a way out of it is refused (Envoy CVE-2019-9901, CVE-2021-29492, CVE-2026-73551).
"""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.spelling import hides_dot_segments

# As numbers: to look for octets in octets, CPython first takes them for a number, and raises and catches a TypeError for each.
_DOT: Final = 0x2E
_PERCENT: Final = 0x25
_BACKSLASH: Final = 0x5C

# A dot segment in any spelling, with path parameters too (`..;x`, `..%3bx`); an encoded slash, backslash or NUL; a backslash.
_ESCAPES: Final = re.compile(
    rb"(?:^|/)(?:\.|%2e){1,2}(?:(?:;|%3b)[^/]*)?(?=/|$)|%2f|%5c|%00|\\", re.IGNORECASE
)


# A client builds its paths as its author wrote it, so the way out is the operator's: without a prefix and a base path, no
# path is a boundary, and every path goes on as it came.
_BOUNDED: Final = (
    "send the path without them; or, where the receiver needs such paths, give it a name of its own and no prefix: match: "
    "{host: NAME.localhost}, without match.path, strip_prefix and a path in upstream"
)
# Of routes that share a receiver or differ in what they may do. A name that has one route has no other to be mistaken for.
AMBIGUOUS: Final = (
    "send the path as the route spells it: in its letter case, without percent-escapes, dot segments and empty ones; or, where "
    "the receiver needs such paths, give each of these routes a name of its own: match: {host: NAME.localhost}, without match.path"
)


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
                raise MalformedRequest(
                    "OPTIONS * has no path that this route could map",
                    remedy="send OPTIONS with a path; or give the receiver a name of its own and no prefix: match: "
                    "{host: NAME.localhost}",
                )
            if (_DOT in path or _PERCENT in path or _BACKSLASH in path) and (
                _ESCAPES.search(path) is not None or hides_dot_segments(path)
            ):
                raise MalformedRequest(
                    "the path holds a dot segment, a backslash or an encoded slash, which could lead out of the route",
                    remedy=_BOUNDED,
                )
        if self._same:
            return target
        rest = self._base + target[self._cut :]
        return rest if rest.startswith(b"/") else b"/" + rest
