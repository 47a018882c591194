"""Hostile chunks, extensions and trailers: the head is in order, its body turns out not to be."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import CANARY, CHUNKS, Case, octet_name, tabled
from tests.hostile.lines import CONTROLS

N = len(CANARY)

SIZES = {
    "a sign": b"+5",
    "a minus": b"-5",
    "0x": b"0x5",
    "0X": b"0X5",
    "an underscore": b"0_5",
    "a space before": b" 5",
    "a tab before": b"\t5",
    "a space behind": b"5 ",
    "a tab behind": b"5\t",
    "nothing": b"",
    "a letter": b"g",
    "a letter behind": b"5g",
    "a comma": b"5,",
    "a dot": b"5.0",
    "a quote": b'"5"',
    "two": b"5 5",
    "over 64 bits": b"10000000000000005",
    "all bits": b"ffffffffffffffff",
    "the sign's bit": b"8000000000000005",
    "sixteen noughts and a size": b"00000000000000005",
    "Arabic": "\u0665".encode(),
    "full-width": "\uff15".encode(),
    "a minus nought": b"-0",
    "NUL": b"5\0",
    "VT": b"5\x0b",
    "a no-break space": b"5\xa0",
}
MENDABLE_SIZES = {"sixteen noughts and a size"}

EXTENSIONS = {
    "no name": b"5;",
    "no name but a value": b"5;=b",
    "no value": b"5;a=",
    "two equals signs": b"5;a==b",
    "a space in the name": b"5;a b",
    "a space in the value": b"5;a=b c",
    "an open quote": b'5;a="b',
    "a quote in the middle": b'5;a=b"c"',
    "something behind a quote": b'5;a="b"c',
    "an escape at the end": b'5;a="b\\',
    "a delimiter": b"5;a(b",
    "a comma": b"5;a,b",
    "two semicolons": b"5;;a",
    "UTF-8 in the name": "5;\u00e9".encode(),
    "UTF-8 in the value": "5;a=\u00e9".encode(),
    "too long": b"5;" + b"a" * 2000,
    "too many": b"5" + b";a" * 600,
}
MENDABLE_EXTENSIONS = {"too long", "too many"}

SIZE_ENDS = {
    "LF": b"\n",
    "CR": b"\r",
    "LF CR": b"\n\r",
    "CR CR LF": b"\r\r\n",
    "CR SP LF": b"\r \n",
    "SP LF": b" \n",
    "VT LF": b"\x0b\n",
    "nothing": b"",
    "NUL": b"\0\r\n",
    "CR X": b"\rX",
    "NEL": b"\x85",
}
TRAILERS = {
    "LF": b"X: y\n\r\n",
    "LF for the empty line": b"X: y\r\n\n",
    "CR": b"X: y\rZ: z\r\n\r\n",
    "no colon": b"X\r\n\r\n",
    "no name": b": y\r\n\r\n",
    "a request line": b"GET /x HTTP/1.1\r\n\r\n",
    "a space before the colon": b"X : y\r\n\r\n",
    "a space at the start": b" X: y\r\n\r\n",
    "a fold": b"X: y\r\n z\r\n\r\n",
    "NUL": b"X: \0\r\n\r\n",
    "NUL in the name": b"X\0: y\r\n\r\n",
    "DEL": b"X: \x7f\r\n\r\n",
    "a quoted name": b'"X": y\r\n\r\n',
    "UTF-8 in the name": "\u00e9: y\r\n\r\n".encode(),
    "LF LF": b"\n\n",
    "a length with a space before its colon": b"Content-Length : 5\r\n\r\n",
}
# A trailer's line is a field line, whose end may be mended, and whose value.
MENDABLE_TRAILERS = {"LF", "LF for the empty line", "LF LF", "CR", "a fold", "NUL", "DEL"}


def _bodies() -> Iterator[Case]:
    for name, size in SIZES.items():
        mendable = name in MENDABLE_SIZES
        yield Case(f"size: {name}", CHUNKS + size + b"\r\nhello\r\n0\r\n\r\n", cut=True, mendable=mendable)
        yield Case(
            f"second size: {name}",
            CHUNKS + b"5\r\nhello\r\n" + size + b"\r\nhello\r\n0\r\n\r\n",
            cut=True,
            mendable=mendable,
        )
    for name, size in EXTENSIONS.items():
        mendable = name in MENDABLE_EXTENSIONS
        last = b"0" + size[1:]
        yield Case(
            f"extension: {name}", CHUNKS + size + b"\r\nhello\r\n0\r\n\r\n", cut=True, mendable=mendable
        )
        yield Case(
            f"extension of the last chunk: {name}",
            CHUNKS + b"5\r\nhello\r\n" + last + b"\r\n\r\n",
            cut=True,
            mendable=mendable,
        )
    for octet in CONTROLS:
        octets = bytes([octet])
        yield Case(
            f"size with {octet_name(octet)}", CHUNKS + b"5" + octets + b"\r\nhello\r\n0\r\n\r\n", cut=True
        )
        yield Case(
            f"extension with {octet_name(octet)}",
            CHUNKS + b"5;a" + octets + b"\r\nhello\r\n0\r\n\r\n",
            cut=True,
        )
        yield Case(
            f"quoted extension with {octet_name(octet)}",
            CHUNKS + b'5;a="' + octets + b'"\r\nhello\r\n0\r\n\r\n',
            cut=True,
        )
        yield Case(
            f"trailer with {octet_name(octet)}",
            CHUNKS + b"5\r\nhello\r\n0\r\nX: " + octets + b"\r\n\r\n",
            cut=True,
            mendable=True,
        )
    # Behind each end of a line that is none, one reader sees a chunk where another sees an extension and a request
    # (TERM.EXT and EXT.TERM of the chunk extension papers; Go CVE-2025-22871).
    hidden = b"%x\r\n" % (N + 7) + CANARY + b"\r\n0\r\n\r\n"
    for name, end in SIZE_ENDS.items():
        yield Case(f"{name} behind the size", CHUNKS + b"5" + end + b"hello\r\n0\r\n\r\n", cut=True)
        yield Case(f"{name} in an extension", CHUNKS + b"2;" + end + b"xx\r\n" + hidden, cut=True)
        yield Case(f"{name} in an extension's value", CHUNKS + b"2;a=" + end + b"xx\r\n" + hidden, cut=True)
        yield Case(f"{name} behind the last size", CHUNKS + b"5\r\nhello\r\n0" + end + b"X\r\n\r\n", cut=True)
        if name != "nothing":
            yield Case(f"{name} behind the data", CHUNKS + b"5\r\nhello" + end + b"0\r\n\r\n", cut=True)
    for name, data in {
        "longer": b"5\r\nhelloworld\r\n",
        "longer by two": b"5\r\nhelloXX",
        "longer by one": b"5\r\nhelloX\r\n",
        "shorter by one": b"6\r\nhello\r\n",
        "shorter by two": b"7\r\nhello\r\n",
        "a size behind it at once": b"5\r\nhello5\r\nhello\r\n",
    }.items():
        yield Case(f"data: {name}", CHUNKS + data + b"0\r\n\r\n", cut=True)
    for name, trailers in TRAILERS.items():
        mends = name in MENDABLE_TRAILERS
        yield Case(f"trailer: {name}", CHUNKS + b"5\r\nhello\r\n0\r\n" + trailers, cut=True, mendable=mends)
        yield Case(f"trailer of nothing: {name}", CHUNKS + b"0\r\n" + trailers, cut=True, mendable=mends)


BODIES = tabled(_bodies())
