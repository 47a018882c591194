"""Hostile answers: the receivers' counterparts. The app must see a well-formed answer, a 502 or a broken connection, and
never a clean success for what was malformed or cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.hostile.bodies import EXTENSIONS, SIZE_ENDS, SIZES, TRAILERS
from tests.hostile.case import octet_name, tabled
from tests.hostile.framings import CODINGS, LENGTH_LINES, LENGTHS, PROPER, SAME_TWICE, UNKNOWN, filled
from tests.hostile.lines import CONTROLS, FIELD_LINES, LINE_ENDS
from tests.hostile.strict import TCHAR

# An answer behind the answer: nobody asked for it, so nobody may ever get it.
POISON: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """`cut`: its head is in order and reaches the app; what is behind it breaks off."""

    name: str
    wire: bytes
    cut: bool = False


STATUS_LINES = {
    "nothing": b"",
    "a version alone": b"HTTP/1.1",
    "a version and a space": b"HTTP/1.1 ",
    "two digits": b"HTTP/1.1 20 OK",
    "four digits": b"HTTP/1.1 2000 OK",
    "a sign": b"HTTP/1.1 +200 OK",
    "a minus": b"HTTP/1.1 -200 OK",
    "a letter": b"HTTP/1.1 2oo OK",
    "hexadecimal": b"HTTP/1.1 0x2 OK",
    "a status under 100": b"HTTP/1.1 099 OK",
    "a status of noughts": b"HTTP/1.1 000 OK",
    "Arabic digits": "HTTP/1.1 \u0662\u0660\u0660 OK".encode(),
    "a dot": b"HTTP/1.1 200.1 OK",
    "two spaces": b"HTTP/1.1  200 OK",
    "a tab": b"HTTP/1.1\t200 OK",
    "a tab behind the status": b"HTTP/1.1 200\tOK",
    "a space first": b" HTTP/1.1 200 OK",
    "an empty line first": b"\r\nHTTP/1.1 200 OK",
    "HTTP/2": b"HTTP/2 200",
    "HTTP/2.0": b"HTTP/2.0 200 OK",
    "HTTP/1.2": b"HTTP/1.2 200 OK",
    "HTTP/0.9": b"HTTP/0.9 200 OK",
    "HTTP/1.10": b"HTTP/1.10 200 OK",
    "lower case": b"http/1.1 200 OK",
    "ICY": b"ICY 200 OK",
    "no version": b"200 OK",
    "a request": b"GET / HTTP/1.1",
    "a page": b"<html>",
    "NUL in the reason": b"HTTP/1.1 200 O\0K",
    "CR in the reason": b"HTTP/1.1 200 O\rK",
    "LF in the reason": b"HTTP/1.1 200 O\nK",
    "a field behind LF": b"HTTP/1.1 200 OK\nContent-Length: 0",
    "a field behind CR": b"HTTP/1.1 200 OK\rSet-Cookie: a=b",
    "an escape in the reason": b"HTTP/1.1 200 \x1b[31mOK",
    "DEL in the reason": b"HTTP/1.1 200 O\x7fK",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "SSH": b"SSH-2.0-OpenSSH_9.2",
}
HEAD_END: Final = b"Content-Length: 5\r\n\r\nhello"


def _heads() -> Iterator[Answer]:
    for name, line in STATUS_LINES.items():
        yield Answer(f"status line: {name}", line + b"\r\n" + HEAD_END)
    for octet in CONTROLS:
        octets = bytes([octet])
        yield Answer(
            f"status line with {octet_name(octet)}", b"HTTP/1.1 200" + octets + b" OK\r\n" + HEAD_END
        )
        yield Answer(f"reason with {octet_name(octet)}", b"HTTP/1.1 200 O" + octets + b"K\r\n" + HEAD_END)
        yield Answer(f"value with {octet_name(octet)}", OK + b"X-A: a" + octets + b"b\r\n" + HEAD_END)
        yield Answer(f"cookie with {octet_name(octet)}", OK + b"Set-Cookie: a=" + octets + b"\r\n" + HEAD_END)
    for octet in range(256):
        octets = bytes([octet])
        if octet not in TCHAR and octet not in b"\r\n:" and (octet < 128 or not octet % 32):
            yield Answer(f"name with {octet_name(octet)}", OK + b"X" + octets + b"A: a\r\n" + HEAD_END)
    for name, line in FIELD_LINES.items():
        yield Answer(f"field: {name}", OK + line + b"\r\n" + HEAD_END)
        yield Answer(f"field behind others: {name}", OK + b"X: y\r\n" + line + b"\r\n" + HEAD_END)
    for name, end in LINE_ENDS.items():
        if name not in ("NEL", "U+2028", "U+560A for LF"):
            yield Answer(f"{name} for the status line's end", b"HTTP/1.1 200 OK" + end + HEAD_END)
            yield Answer(f"{name} within a value", OK + b"X-A: a" + end + b"X-B: b\r\n" + HEAD_END)
            yield Answer(
                f"{name} before a cookie", OK + b"Location: /" + end + b"Set-Cookie: a=b\r\n" + HEAD_END
            )


def _framings() -> Iterator[Answer]:
    size = b"%x\r\n" % len(POISON)
    hidden = size + POISON + b"\r\n0\r\n\r\n"
    for name, line in (CODINGS | UNKNOWN).items():
        yield Answer(f"coding: {name}", OK + line + b"\r\n\r\n" + hidden)
    for name, line in (CODINGS | PROPER | UNKNOWN).items():
        yield Answer(
            f"CL.TE {name}", OK + b"Content-Length: %d\r\n" % len(hidden) + line + b"\r\n\r\n" + hidden
        )
        yield Answer(f"TE.CL {name}", OK + line + b"\r\nContent-Length: %d\r\n\r\n" % len(size) + hidden)
        yield Answer(f"HTTP/1.0 {name}", b"HTTP/1.0 200 OK\r\n" + line + b"\r\n\r\n" + hidden)
    for name, template in LENGTHS.items():
        yield Answer(f"length: {name}", OK + b"Content-Length: " + filled(template, 5) + b"\r\n\r\nhello")
    for name, template in (LENGTH_LINES | SAME_TWICE).items():
        yield Answer(f"length line: {name}", OK + filled(template, 5) + b"\r\n\r\nhello")
    for status in (b"100 Continue", b"103 Early Hints", b"199 X"):
        interim = b"HTTP/1.1 " + status + b"\r\n"
        yield Answer(f"{status.decode()} with a length", interim + b"Content-Length: 5\r\n\r\nhello" + POISON)
        yield Answer(
            f"{status.decode()} in chunks", interim + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON
        )
        yield Answer(
            f"{status.decode()} and a malformed one", interim + b"\r\nHTTP/1.1 200\0OK\r\n" + HEAD_END
        )
    yield Answer(
        "101 that nobody asked for",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + POISON,
    )
    yield Answer("101 to h2c", b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + POISON)
    yield Answer("a flood of 103", b"HTTP/1.1 103 X\r\n\r\n" * 50 + POISON)


def _bodies() -> Iterator[Answer]:
    for name, size in SIZES.items():
        yield Answer(f"size: {name}", CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n", cut=True)
        yield Answer(
            f"second size: {name}", CHUNKED + b"5\r\nhello\r\n" + size + b"\r\nhello\r\n0\r\n\r\n", cut=True
        )
    for name, size in EXTENSIONS.items():
        yield Answer(f"extension: {name}", CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n", cut=True)
    for octet in CONTROLS:
        octets = bytes([octet])
        yield Answer(
            f"size with {octet_name(octet)}", CHUNKED + b"5" + octets + b"\r\nhello\r\n0\r\n\r\n", cut=True
        )
        yield Answer(
            f"trailer with {octet_name(octet)}", CHUNKED + b"0\r\nX: " + octets + b"\r\n\r\n", cut=True
        )
    for name, end in SIZE_ENDS.items():
        yield Answer(f"{name} behind the size", CHUNKED + b"5" + end + b"hello\r\n0\r\n\r\n", cut=True)
        yield Answer(
            f"{name} behind the last size", CHUNKED + b"5\r\nhello\r\n0" + end + b"X\r\n\r\n", cut=True
        )
        if name != "nothing":
            yield Answer(f"{name} behind the data", CHUNKED + b"5\r\nhello" + end + b"0\r\n\r\n", cut=True)
    for name, trailers in TRAILERS.items():
        yield Answer(f"trailer: {name}", CHUNKED + b"5\r\nhello\r\n0\r\n" + trailers, cut=True)
    # Broken off: nothing behind, and the connection ends.
    for name, wire in {
        "a length of which nothing comes": OK + b"Content-Length: 5\r\n\r\n",
        "a length of which half comes": OK + b"Content-Length: 5\r\n\r\nhel",
        "a length of which one octet is missing": OK + b"Content-Length: 5\r\n\r\nhell",
        "chunks of which nothing comes": CHUNKED,
        "half a size": CHUNKED + b"5",
        "half a chunk": CHUNKED + b"5\r\nhel",
        "a chunk without its line end": CHUNKED + b"5\r\nhello",
        "chunks without the last one": CHUNKED + b"5\r\nhello\r\n",
        "the last chunk without its line end": CHUNKED + b"5\r\nhello\r\n0",
        "the last chunk without the empty line": CHUNKED + b"5\r\nhello\r\n0\r\n",
        "half the empty line": CHUNKED + b"5\r\nhello\r\n0\r\n\r",
        "half a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n",
    }.items():
        yield Answer(f"broken off: {name}", wire, cut=True)


HEADS = tabled(_heads())
FRAMINGS = tabled(_framings())
BODIES = tabled(_bodies())
