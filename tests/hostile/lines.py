"""Hostile request lines and field lines: each octet where it may not stand, and each end of a line that is none."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import GET, POST, Case, octet_name, tabled
from tests.hostile.strict import TCHAR

BLANKS = b"\t\x0b\x0c\r "  # RFC 9112 section 3: may be taken for the spaces of a request line
# RFC 9112 section 2.2: "MAY recognize a single LF as a line terminator", "replace each bare CR with SP".
MENDABLE_ENDS = {"LF", "LF LF", "SP LF", "CR", "NUL CR LF", "CR CR LF", "CR SP LF"}
MENDABLE_VERSIONS = {b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 ", b"HTTP/1.1\t"}
CONTROLS = [*range(9), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F]  # neither HTAB nor what ends lines
LINE_ENDS = {
    "LF": b"\n",
    "CR": b"\r",
    "LF CR": b"\n\r",
    "CR CR LF": b"\r\r\n",
    "NUL CR LF": b"\0\r\n",
    "VT": b"\x0b",
    "FF": b"\x0c",
    "NEL": b"\x85",
    "U+2028": "\u2028".encode(),
    "U+560A for LF": "\u560a".encode(),  # whose last octet some take for a line end (Node CVE-2016-2216)
    "LF LF": b"\n\n",
    "SP LF": b" \n",
    "CR SP LF": b"\r \n",
}
METHODS = {
    "none": b"",
    "a space": b" GET",
    "a tab": b"\tGET",
    "two": b"GET GET",
    "a byte order mark": b"\xef\xbb\xbfGET",
    "a version": b"HTTP/1.1",
}
VERSIONS = [
    *(
        b"HTTP/0.9",
        b"HTTP/1.2",
        b"HTTP/1.9",
        b"HTTP/2.0",
        b"HTTP/2",
        b"HTTP/3",
        b"HTTP/1",
        b"HTTP/1.",
        b"HTTP/.1",
    ),
    *(
        b"HTTP/1.10",
        b"HTTP/1.01",
        b"HTTP/01.1",
        b"HTTP/1.1.1",
        b"HTTP/1,1",
        b"HTTP/+1.1",
        b"HTTP/1.+1",
        b"HTTP/1.-1",
    ),
    *(
        b"http/1.1",
        b"Http/1.1",
        b"HTTPS/1.1",
        b"HTP/1.1",
        b"HTTP 1.1",
        b"HTTP/ 1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1\t",
    ),
    *(
        b"HTTP/1 .1",
        b"HTTP\\1.1",
        b"HTTP1.1",
        b"ICAP/1.0",
        b"RTSP/1.0",
        b"HTTP/1.1 HTTP/1.1",
        b"HTTP/1.1\0",
        b"HTTP/A.B",
    ),
    *(
        b"HTTP/4294967297.1",
        b"HTTP/1.4294967297",
        "HTTP/1.\u0661".encode(),
        b"HTTP/0x1.1",
        b"HTTP/1.1;x",
        b"HTTP/11",
    ),
]
FIELD_LINES = {
    "no colon": b"X-A",
    "no name": b": a",
    "nothing but a colon": b":",
    "a space before the colon": b"X-A : a",
    "a tab before the colon": b"X-A\t: a",
    "a space at the start": b" X-A: a",
    "a tab at the start": b"\tX-A: a",
    "a fold": b"X-A: a\r\n b",
    "a fold by tab": b"X-A: a\r\n\tb",
    "a fold of a length": b"X-A: a\r\n Content-Length: 60",
    "a fold of a coding": b"X-A: a\r\n Transfer-Encoding: chunked",
    "a fold of nothing": b"X-A: a\r\n ",
    "a fold before the value": b"X-A:\r\n a",
    "a request line": b"GET /x HTTP/1.1",
    "a quoted name": b'"X-A": a',
    "a name in brackets": b"[X-A]: a",
    "a name and a parameter": b"X-A;b: a",
    "a name in UTF-8": "X-\u00e9: a".encode(),
    "a dotless i in the name": "X-\u0131: a".encode(),
    "a Kelvin sign in the name": "X-\u212a: a".encode(),
    "a host with a space before its colon": b"Host : evil.example",
    "a second host in a fold": b"X-A: a\r\n Host: evil.example",
    "a host without its colon": b"Host evil.example",
}


def _request_lines() -> Iterator[Case]:
    rest = b"\r\nHost: localhost\r\n\r\n"
    for octet in (*CONTROLS, 0x20, 0x80, 0xA0, 0xFF):
        octets = bytes([octet])
        blank = octet in BLANKS
        yield Case(f"method with {octet_name(octet)}", b"G" + octets + b"ET / HTTP/1.1" + rest)
        yield Case(f"target with {octet_name(octet)}", b"GET /a" + octets + b"b HTTP/1.1" + rest)
        yield Case(f"query with {octet_name(octet)}", b"GET /?a" + octets + b"b HTTP/1.1" + rest)
        if octet != 0x20:
            yield Case(
                f"{octet_name(octet)} for the first space",
                b"GET" + octets + b"/ HTTP/1.1" + rest,
                mendable=blank,
            )
            yield Case(
                f"{octet_name(octet)} for the second space",
                b"GET /" + octets + b"HTTP/1.1" + rest,
                mendable=blank,
            )
        yield Case(
            f"{octet_name(octet)} behind the version", b"GET / HTTP/1.1" + octets + rest, mendable=blank
        )
    for octet in b'"(),/:;<=>?@[\\]{}':
        yield Case(f"method with {chr(octet)}", b"G" + bytes([octet]) + b"T / HTTP/1.1" + rest)
    for octet in b'"#<>':
        yield Case(f"target with {chr(octet)}", b"GET /a" + bytes([octet]) + b"b HTTP/1.1" + rest)
    yield Case("two spaces behind the method", b"GET  / HTTP/1.1" + rest, mendable=True)
    yield Case("two spaces behind the target", b"GET /  HTTP/1.1" + rest, mendable=True)
    yield Case("no version", b"GET /" + rest)
    yield Case("no version but its space", b"GET / " + rest)
    yield Case("nothing but a method", b"GET" + rest)
    for name, method in METHODS.items():
        yield Case(f"method: {name}", method + b" / HTTP/1.1" + rest, mendable=method[:1] in (b" ", b"\t"))
    for version in VERSIONS:
        yield Case(
            f"version {version.decode('latin-1')!r}",
            b"GET / " + version + rest,
            mendable=version in MENDABLE_VERSIONS,
        )


def _line_ends() -> Iterator[Case]:
    for name, end in LINE_ENDS.items():
        mends = name in MENDABLE_ENDS
        yield Case(
            f"{name} for the request line's end",
            b"GET / HTTP/1.1" + end + b"Host: localhost\r\n\r\n",
            mendable=mends,
        )
        yield Case(f"{name} for a field's end", GET + b"X-A" + end + b"X-B: b\r\n\r\n")  # and no colon, too
        if name not in ("NEL", "U+2028", "U+560A for LF"):  # within a value they are octets like others
            mends = mends or name in ("VT", "FF")  # RFC 9110 section 5.5: within a value they may stay
            yield Case(f"{name} within a value", GET + b"X-A: a" + end + b"X-B: b\r\n\r\n", mendable=mends)
            yield Case(
                f"{name} before a length",
                POST + b"X-A: a" + end + b"Content-Length: 60\r\n\r\n",
                mendable=mends,
            )
            yield Case(
                f"{name} before a coding",
                POST + b"X-A: a" + end + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                mendable=mends,
            )
        mends = name in MENDABLE_ENDS
        yield Case(f"{name} for the empty line", GET + end + b"X-A: a\r\n\r\n", mendable=mends)
        if name not in ("NEL", "VT", "FF", "U+2028", "U+560A for LF"):
            yield Case(f"{name} before the request line", end + GET + b"\r\n", mendable=mends)


def _fields() -> Iterator[Case]:
    for octet in range(256):
        octets = bytes([octet])
        if octet not in TCHAR and octet not in b"\r\n:" and (octet < 128 or not octet % 16):
            yield Case(f"name with {octet_name(octet)}", GET + b"X" + octets + b"A: a\r\n\r\n")
            folds = octet in b" \t"
            yield Case(
                f"name beginning with {octet_name(octet)}", GET + octets + b"XA: a\r\n\r\n", mendable=folds
            )
            yield Case(f"name ending in {octet_name(octet)}", GET + b"XA" + octets + b": a\r\n\r\n")
    for octet in CONTROLS:
        octets = bytes([octet])
        yield Case(f"value with {octet_name(octet)}", GET + b"X-A: a" + octets + b"b\r\n\r\n", mendable=True)
        yield Case(
            f"value beginning with {octet_name(octet)}", GET + b"X-A:" + octets + b"b\r\n\r\n", mendable=True
        )
        yield Case(
            f"value ending in {octet_name(octet)}", GET + b"X-A: b" + octets + b"\r\n\r\n", mendable=True
        )
        yield Case(
            f"cookie with {octet_name(octet)}", GET + b"Cookie: a=" + octets + b"b\r\n\r\n", mendable=True
        )
    for name, line in FIELD_LINES.items():
        mends = (
            "fold" in name or "at the start" in name
        )  # RFC 9112 section 5.2: refuse it, or put a space in its place
        yield Case(f"{name}, last", GET + line + b"\r\n\r\n", mendable=mends)
        yield Case(
            f"{name}, first",
            b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: localhost\r\n\r\n",
            mendable=mends or line[:1] in (b" ", b"\t"),
        )
        yield Case(f"{name}, before a body", POST + line + b"\r\nContent-Length: 0\r\n\r\n", mendable=mends)


REQUEST_LINES = tabled(_request_lines())
LINE_END_CASES = tabled(_line_ends())
FIELDS = tabled(_fields())
