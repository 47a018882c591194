"""How else a receiver may read a path segment: the spellings by which a route's rules could be got around.

A route's path is compared octet by octet, but receivers decode, fold and tidy before they look: Envoy CVE-2019-9901,
CVE-2021-29492 and CVE-2021-32779 are proxies that compared one spelling and receivers that served another. What is
undone here is what common receivers undo: percent-escapes of any octet, up to three deep, `%uXXXX` (IIS), overlong UTF-8
(CVE-2008-2938 in Tomcat), path parameters (Tomcat, Spring), backslashes (IIS, Node), NUL as an end, dots and blanks at a
name's end (Windows), letter case and compatibility forms (case-insensitive file systems, NFKC).

Whoever needs another habit adds it to `_decoded_once`, `folded` or `spellings`, and everything follows from that.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

# A front end decodes once, the app again, and now and then a framework in between.
_TIMES_DECODED: Final = 3
# The most octets that one octet of a name takes in any of these spellings: `%2525u0061` for an `a`, with room.
LONGEST_SPELLING: Final = 24

_WIDE: Final = re.compile(rb"%u([0-9a-f]{4})", re.IGNORECASE)
# What RFC 3629 section 3 forbids, and careless decoders take: ASCII in two, three or four octets. Their continuation is
# whatever follows (CVE-2000-0884 was `%c0%2f` as well as `%c0%af`).
_OVERLONG: Final = re.compile(rb"[\xc0\xc1].|\xe0[\x80-\x9f].|\xf0[\x80-\x8f]..", re.DOTALL)
# A slash and a backslash, and what best-fit tables take for one: U+FF0F, U+FF3C, U+2044, U+2215, U+2216.
_SEPARATORS: Final = re.compile(rb"[/\\]|\xef\xbc[\x8f\xbc]|\xe2\x81\x84|\xe2\x88[\x95\x96]")
# A dot segment of a path that is decoded: with blanks around it, or with a parameter or a NUL behind it.
_BLANKS: Final = rb"[ \t\n\r\x0b\x0c]*"
_DOTS: Final = re.compile(
    rb"(?:^|%s)%s\.{1,2}%s(?=[;\0]|%s|$)" % (_SEPARATORS.pattern, _BLANKS, _BLANKS, _SEPARATORS.pattern)
).search
_TAIL: Final = b". \t\n\r\x0b\x0c"

# Makes other octets of what the usual path has none of, and nothing else: an escape, a parameter, a backslash, a dot, an
# upper-case letter. Empty segments are looked for beside it.
_UNUSUAL: Final = bytes.maketrans(b"%;\\.ABCDEFGHIJKLMNOPQRSTUVWXYZ", b" " * 30)
# Dots in the middle of a name are what they are to everybody.
_AMBIGUOUS: Final = re.compile(rb"[%;\\A-Z]|\.(?:/|$)|/\.|//").search
# From these a dot segment, or something that splits a segment, can be made.
_HIDES_SEGMENTS: Final = re.compile(
    rb"\\|[/;]\.{1,2}(?:[/;%]|$)|%(?:25|2e|2f|5c|u|c[01]|e[02f]|f0|3[0-9]|[46][1-6])", re.IGNORECASE
).search


def is_plain(path: bytes) -> bool:
    """Whether every receiver reads `path` as it stands. The usual one is told at a third of the search's price."""
    if path.translate(_UNUSUAL) == path and path.find(b"//") < 0:  # `in` costs six times as much (target.py)
        return True
    return _AMBIGUOUS(path) is None


def hides_segments(path: bytes) -> bool:
    """Whether some reader may find dot segments or more segments in `path`. It may say so where none is."""
    if not any(hint in path for hint in (b"%", b"\\", b"/.", b";.")):  # a tenth of the search's price
        return False
    return _HIDES_SEGMENTS(path) is not None


def hides_dot_segments(path: bytes) -> bool:
    """Whether some reader finds a dot segment in `path` once it has decoded that, however often readers do. The whole path is
    decoded at once, so that it costs what the path is long.
    """
    form = path
    for _ in range(_TIMES_DECODED):
        decoded = unquote_to_bytes(_widened(form)) if b"%" in form else form
        if decoded == form:
            return False
        form = decoded
        if not form.isascii():
            # By segments: what continues an overlong form may be any octet, and a slash is none for everybody.
            form = b"/".join(_OVERLONG.sub(_shortened, segment) for segment in form.split(b"/"))
        if _DOTS(form if form.isascii() else _compatible(form)) is not None:
            return True
    return False


def spellings(segment: bytes) -> set[tuple[bytes, ...]]:
    """What stands between two slashes, as the segments that receivers may make of it, each reading a tuple. The names
    are decoded as far as that reader did; `folded` takes them the rest of the way.
    """
    readings: set[tuple[bytes, ...]] = {(segment,)}
    if is_plain(segment):
        return readings
    form = segment
    for _ in range(_TIMES_DECODED + 1):
        readings.add(tuple(_SEPARATORS.split(form)))
        # Parameters go before anything else is looked at: `a;%2f..` is `a`.
        readings.add(tuple(_SEPARATORS.split(form.partition(b";")[0])))
        decoded = _decoded_once(form)
        if decoded == form:
            break
        form = decoded
    return readings


def folded(name: bytes) -> bytes:
    """A segment's name as the most careless receiver compares it. Two names with one folded form may be the same."""
    for _ in range(_TIMES_DECODED):
        decoded = _decoded_once(name)
        if decoded == name:
            break
        name = decoded
    if not name.isascii():
        text = _compatible(name).decode("utf-8", "surrogateescape").casefold()
        name = text.encode("utf-8", "surrogateescape")
    name = name.partition(b";")[0].partition(b"\0")[0].strip(b" \t")
    return name if name in {b".", b".."} else name.rstrip(_TAIL).lower()


def _decoded_once(text: bytes) -> bytes:
    if b"%" not in text:
        return text
    return _OVERLONG.sub(_shortened, unquote_to_bytes(_widened(text)))


def _widened(text: bytes) -> bytes:
    return _WIDE.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "surrogatepass"), text)


def _compatible(text: bytes) -> bytes:
    decoded = text.decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFKC", decoded).encode("utf-8", "surrogateescape")


def _shortened(found: re.Match[bytes]) -> bytes:
    octets = found[0]
    last, before = octets[-1] & 0x3F, octets[-2] & 0x3F if len(octets) > 2 else octets[0] & 0x1F
    value = before << 6 | last
    return bytes((value,)) if value < 0x80 else octets
