"""A strict reader of HTTP/1.1 messages (RFC 9112), the judge of what the proxy writes, and of HTTP/2's frames as far as
their bounds. It shares no line and no approach with the proxy's: it goes through the octets one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
VALUE = frozenset({9, *range(32, 127), *range(128, 256)})
TARGET = frozenset(range(33, 127)) - frozenset(b'"#<>')
HEX = b"0123456789abcdefABCDEF"


class Malformed(Exception):
    """What the proxy must never write."""


class Incomplete(Exception):
    """The octets end within a message. `head`: where that is there in whole."""

    def __init__(self, head: Head | None = None) -> None:
        self.head = head


@dataclass
class Head:
    start: list[bytes]
    fields: list[tuple[bytes, bytes]]  # names in lower case
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for known, value in self.fields if known == name]

    def one(self, name: bytes) -> bytes | None:
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name!r} stands there {len(values)} times")
        return values[0] if values else None

    @property
    def target(self) -> bytes:
        return self.start[1]

    @property
    def status(self) -> int:
        return int(self.start[1])


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> bytes:
        return self.data[self.at :]

    def line(self) -> bytes:
        for at in range(self.at, len(self.data)):
            octet = self.data[at]
            if octet == 10:
                raise Malformed("a bare LF")
            if octet == 13:
                if at + 1 == len(self.data):
                    raise Incomplete
                if self.data[at + 1] != 10:
                    raise Malformed("a bare CR")
                line = self.data[self.at : at]
                self.at = at + 2
                return line
        raise Incomplete

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Incomplete
        self.at += count
        return self.data[self.at - count : self.at]

    def fields(self) -> list[tuple[bytes, bytes]]:
        found = []
        while line := self.line():
            name, colon, value = line.partition(b":")
            if not colon or not name or not TCHAR.issuperset(name) or not VALUE.issuperset(value):
                raise Malformed(f"a field line: {line!r}")
            found.append((name.lower(), value.strip(b" \t")))
        return found

    # -- messages --------------------------------------------------------------

    def request(self) -> Head:
        """Raises Malformed, Incomplete."""
        parts = self.line().split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":
            raise Malformed(f"a request line: {parts!r}")
        method, target, _ = parts
        if not method or not TCHAR.issuperset(method) or not target or not TARGET.issuperset(target):
            raise Malformed(f"a request line: {parts!r}")
        if not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
            raise Malformed(f"a target that is no path: {target!r}")
        head = Head(parts, self.fields())
        if head.one(b"host") is None:
            raise Malformed("no host")
        self._body(head, until_close=None)
        return head

    def response(self, method: bytes = b"GET", *, ended: bool = False) -> Head:
        """`ended`: the connection was closed in order. Raises Malformed, Incomplete."""
        version, space, rest = self.line().partition(b" ")
        code, space_too, reason = rest.partition(b" ")
        if version != b"HTTP/1.1" or not space or not space_too or not VALUE.issuperset(reason):
            raise Malformed(f"a status line: {version!r} {rest!r}")
        if len(code) != 3 or not code.isdigit() or code < b"100":
            raise Malformed(f"a status: {code!r}")
        head = Head([version, code, reason], self.fields())
        if head.status < 200 or head.status == 204:
            if head.one(b"content-length") is not None or head.one(b"transfer-encoding") is not None:
                raise Malformed(f"a {head.status} with framing")
        elif head.status != 304 and method != b"HEAD":
            self._body(head, until_close=ended)
        else:
            _framing(head)
        return head

    def _body(self, head: Head, *, until_close: bool | None) -> None:
        length = _framing(head)
        try:
            if length is None:
                if head.all(b"transfer-encoding"):
                    self._chunks(head)
                elif until_close is not None:
                    # Without its end, an octet is always missing.
                    head.body = self.take(len(self.left) + (not until_close))
            else:
                head.body = self.take(length)
        except Incomplete:
            raise Incomplete(head) from None

    def _chunks(self, head: Head) -> None:
        while True:
            size = self.line()
            if not size or len(size) > 15 or any(octet not in HEX for octet in size):
                raise Malformed(f"a chunk's size: {size!r}")  # the proxy writes no extensions
            if not int(size, 16):
                break
            head.body += self.take(int(size, 16))
            if self.take(2) != b"\r\n":
                raise Malformed("a chunk that is longer than its size says")
        head.trailers = self.fields()


def _framing(head: Head) -> int | None:
    """The length, where one is said."""
    length, coding = head.one(b"content-length"), head.one(b"transfer-encoding")
    if coding is not None and (coding != b"chunked" or length is not None):
        raise Malformed("framing that can be read in two ways")
    if length is None:
        return None
    if not length or any(octet not in b"0123456789" for octet in length):
        raise Malformed(f"a length: {length!r}")
    if len(length) > 1 and length.startswith(b"0"):
        raise Malformed(f"a length that may be octal: {length!r}")
    return int(length)


def check_frames(written: bytes) -> None:
    """A server's side of HTTP/2: SETTINGS first (RFC 9113 section 3.4), frames of kinds that are known, and each of them
    whole. Raises Malformed, Incomplete.
    """
    reader = Reader(written)
    first = True
    while reader.left:
        head = reader.take(9)
        if first and head[3:] != b"\x04\x00\x00\x00\x00\x00":
            raise Malformed(f"no SETTINGS at the beginning: {head!r}")
        if head[3] > 9 or head[5] > 127:
            raise Malformed(f"a frame: {head!r}")
        reader.take(int.from_bytes(head[:3]))
        first = False
