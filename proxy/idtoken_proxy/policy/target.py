"""Request targets: which are too clever where a path is a boundary, and where a target goes upstream.

A target is never decoded and encoded again (Perl Reverse::Proxy CVE-2026-75922): prefixes come off and base paths
go on as raw bytes, and what is left travels as it came. So where a path prefix or a base path is a boundary, anything
that the receiver may read as a way out of it is refused (Envoy CVE-2019-9901, CVE-2021-29492, CVE-2026-73551).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

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


# What some reader takes for something else: an encoded letter, digit, dot, slash or percent sign, path parameters, an
# empty or a dot segment, a backslash. `%20` and octets beyond ASCII are what they are to everybody.
_AMBIGUOUS = re.compile(
    rb"%(?:00|2[5d-f]|3[0-9b]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])|;|//|/\.{1,2}(?=[/;]|$)|\\",
    re.IGNORECASE,
)
_PARAMETERS = re.compile(rb";[^/]*")
_EMPTY = re.compile(rb"//+")


def is_ambiguous(path: bytes) -> bool:
    # The usual path has none of these octets, and is told so at a third of the search's price.
    if path.translate(None, b"%;.\\") == path and b"//" not in path:
        return False
    return _AMBIGUOUS.search(path) is not None


def readings(path: bytes) -> set[bytes]:
    """How receivers may read a path that is_ambiguous: each of their habits applied or not, up to twice, since some
    decode a second time what a front end has decoded.
    """
    found = {path}
    for habit in (*_HABITS, *_HABITS):
        found |= {habit(one) for one in found}
    return found


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4."""
    kept: list[bytes] = []
    for segment in path.split(b"/")[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(kept)


_HABITS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    unquote_to_bytes,
    lambda path: path.replace(b"\\", b"/"),
    lambda path: _PARAMETERS.sub(b"", path),
    lambda path: _EMPTY.sub(b"/", path),
    _without_dots,
)
