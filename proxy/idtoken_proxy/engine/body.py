"""Bodies off the wire: by length, chunked (RFC 9112 section 7.1), or until the connection closes.

A reader takes what arrived and gives the payload in it. `done` once the body has ended; `rest` is then what came
after it, which belongs to the next message. Malformed framing raises ValueError; which side's fault it is the
caller knows.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from idtoken_proxy.engine.http1 import parse_trailers

# chunk-size [ chunk-ext ]; sizes stop at 15 hex digits, far from any integer's edge (h11 CVE-2025-43859 and Go
# CVE-2025-22871 are about what follows the size). Extensions are checked and dropped.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION: Final = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*").fullmatch
MAX_CHUNK_LINE: Final = 1024  # no known sender comes near; a chunk line is overhead that nobody pays for
MAX_TRAILER_OCTETS: Final = 16 * 1024


class TooMuchOverhead(ValueError):
    """Framing beyond the limits above."""


class LengthReader:
    __slots__ = ("_left", "done", "rest")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        left = self._left
        size = len(data)
        if size < left:
            self._left = left - size
            return data
        self._left = 0
        self.done = True
        if size == left:
            return data
        self.rest = data[left:]
        return data[:left]


class UntilCloseReader:
    """Ends with the connection, which its owner sees."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        return data


_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILER: Final = 3


class ChunkedReader:
    """`trailers`: field lines that may be passed on; all of them once `done`."""

    __slots__ = (
        "_left",
        "_partial",
        "_state",
        "_trailer_octets",
        "done",
        "rest",
        "trailers",
    )

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._partial = b""  # of a line, or of the CRLF behind a chunk
        self._trailer_octets = 0
        self.trailers: list[bytes] = []
        self.done = False
        self.rest = b""

    @property
    def kept(self) -> int:
        """Octets of a line whose end is still to come."""
        return len(self._partial)

    def feed(self, data: bytes) -> bytes:
        if self._partial:
            data = self._partial + data
            self._partial = b""
        payload: list[bytes] = []
        at = 0
        size = len(data)
        while at < size:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                payload.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _DATA_END
            elif self._state == _DATA_END:
                if size - at < 2:
                    if data[at:] != b"\r":
                        raise ValueError("a chunk is longer than its size says")
                    self._partial = data[at:]
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ValueError("a chunk is longer than its size says")
                at += 2
                self._state = _SIZE
            else:
                end = data.find(b"\r\n", at)
                limit = MAX_CHUNK_LINE if self._state == _SIZE else MAX_TRAILER_OCTETS
                # A line that has yet to end may already hold its CR, which does not count.
                if (end if end >= 0 else size - data.endswith(b"\r")) - at > limit:
                    raise TooMuchOverhead("a chunk's line is too long")
                if end < 0:
                    self._partial = data[at:]
                    # A bare LF never becomes a line; say so now and not a deadline later.
                    if b"\n" in self._partial:
                        raise ValueError("a chunk's line ends without CR")
                    break
                line = data[at:end]
                at = end + 2
                if self._state == _SIZE:
                    self._chunk_line(line)
                elif line:
                    self._trailer_octets += len(line) + 2
                    if self._trailer_octets > MAX_TRAILER_OCTETS:
                        raise TooMuchOverhead("the trailer section is too long")
                    self.trailers += parse_trailers((line,))
                else:
                    self.done = True
                    self.rest = data[at:]
                    break
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _chunk_line(self, line: bytes) -> None:
        match = _CHUNK_LINE(line)
        if match is None:
            raise ValueError("a chunk's size is malformed")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILER


BodyReader: TypeAlias = LengthReader | ChunkedReader | UntilCloseReader


def chunk(payload: bytes) -> bytes:
    """One chunk; `payload` is not empty (an empty one would end the body)."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


LAST_CHUNK: Final = b"0\r\n\r\n"
