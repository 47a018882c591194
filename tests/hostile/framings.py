"""Hostile lengths and transfer codings, each with a second request where one reader or another would begin to read.

The layouts, after the classes of James Kettle's HTTP Desync Attacks: one reader goes by Content-Length, another by
Transfer-Encoding, whatever either makes of the other header.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import CANARY, POST, Case, tabled

N = len(CANARY)

# What no reader may take for `chunked`, or some do and others do not.
CODINGS = {
    "xchunked": b"Transfer-Encoding: xchunked",
    "chunkedx": b"Transfer-Encoding: chunkedx",
    "chunk": b"Transfer-Encoding: chunk",
    "cow": b"Transfer-Encoding: cow",
    "identity": b"Transfer-Encoding: identity",
    "nothing": b"Transfer-Encoding:",
    "a comma": b"Transfer-Encoding: ,",
    "chunked, identity": b"Transfer-Encoding: chunked, identity",
    "identity, chunked": b"Transfer-Encoding: identity, chunked",
    "chunked, chunked": b"Transfer-Encoding: chunked, chunked",
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip",
    "chunked and a comma": b"Transfer-Encoding: chunked,",
    "a comma and chunked": b"Transfer-Encoding: ,chunked",
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1",
    "chunked with a semicolon": b"Transfer-Encoding: chunked;",
    "chunked in quotes": b'Transfer-Encoding: "chunked"',
    "chunked in apostrophes": b"Transfer-Encoding: 'chunked'",
    "chunked with a backslash": b"Transfer-Encoding: \\chunked",
    "two words": b"Transfer-Encoding: chunked x",
    "two words, chunked last": b"Transfer-Encoding: x chunked",
    "VT before": b"Transfer-Encoding: \x0bchunked",
    "VT behind": b"Transfer-Encoding: chunked\x0b",
    "FF before": b"Transfer-Encoding: \x0cchunked",
    "NUL before": b"Transfer-Encoding: \0chunked",
    "NUL behind": b"Transfer-Encoding: chunked\0",
    "NUL within": b"Transfer-Encoding: chun\0ked",
    "DEL behind": b"Transfer-Encoding: chunked\x7f",
    "NEL before": b"Transfer-Encoding: \x85chunked",
    "a no-break space before": b"Transfer-Encoding: \xa0chunked",
    "a no-break space behind": b"Transfer-Encoding: chunked\xa0",
    "a byte order mark before": b"Transfer-Encoding: \xef\xbb\xbfchunked",
    "a Kelvin sign": "Transfer-Encoding: chun\u212aed".encode(),
    "a full-width letter": "Transfer-Encoding: \uff43hunked".encode(),
    "CR before": b"Transfer-Encoding: \rchunked",
    "CR behind": b"Transfer-Encoding: chunked\r",
    "LF before": b"Transfer-Encoding: \nchunked",
    "a space before the colon": b"Transfer-Encoding : chunked",
    "a tab before the colon": b"Transfer-Encoding\t: chunked",
    "VT before the colon": b"Transfer-Encoding\x0b: chunked",
    "NUL before the colon": b"Transfer-Encoding\0: chunked",
    "a space at the start": b" Transfer-Encoding: chunked",
    "a tab at the start": b"\tTransfer-Encoding: chunked",
    "VT at the start": b"\x0bTransfer-Encoding: chunked",
    "a fold": b"Transfer-Encoding:\r\n chunked",
    "a fold by tab": b"Transfer-Encoding:\r\n\tchunked",
    "a fold behind": b"Transfer-Encoding: chunked\r\n x",
    "a fold behind another": b"X: y\r\n Transfer-Encoding: chunked",
    "behind a bare LF": b"X: y\nTransfer-Encoding: chunked",
    "behind a bare CR": b"X: y\rTransfer-Encoding: chunked",
    "behind CR CR": b"X: y\r\rTransfer-Encoding: chunked",
    "behind NUL": b"X: y\0\r\nTransfer-Encoding: chunked",
    "no colon": b"Transfer-Encoding chunked",
    "an equals sign": b"Transfer-Encoding=chunked",
    "two colons": b"Transfer-Encoding:: chunked",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked and cow": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    "cow and chunked": b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "chunked and identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "identity and chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "chunked and nothing": b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "nothing and chunked": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "chunked and xchunked in another case": b"Transfer-Encoding: chunked\r\ntransfer-encoding: xchunked",
}
# Well-formed by themselves; beside a length they are what CL.TE and TE.CL are about.
PROPER = {
    "chunked": b"Transfer-Encoding: chunked",
    "Chunked": b"Transfer-Encoding: Chunked",
    "without a space": b"Transfer-Encoding:chunked",
    "with tabs": b"Transfer-Encoding:\t chunked\t",
    "in another case": b"tRANSFER-eNCODING: cHUNKED",
}
# Well-formed, and other codings than ours are answered 501 (RFC 9112 section 6.1) or 400.
UNKNOWN = {"gzip, chunked": b"Transfer-Encoding: gzip, chunked", "deflate": b"Transfer-Encoding: deflate"}
MENDABLE = {
    *(
        "a comma and chunked",
        "chunked and a comma",
        "chunked and nothing",
        "nothing and chunked",
    ),  # empty members
    *(
        "a fold",
        "a fold by tab",
        "a fold behind",
        "a fold behind another",
        "behind a bare LF",
        "behind a bare CR",
    ),
    *(
        "a space at the start",
        "a tab at the start",
        "CR before",
        "CR behind",
        "NUL before",
        "NUL behind",
        "behind NUL",
        "behind CR CR",
    ),
}

LENGTHS = {
    "a sign": b"+%d",
    "a minus": b"-%d",
    "a minus nought": b"-0",
    "a list": b"%d, 0",
    "a list, nought first": b"0, %d",
    "a list without a space": b"%d,0",
    "a comma": b"%d,",
    "a comma first": b",%d",
    "two words": b"%d 0",
    "two words, nought first": b"0 %d",
    "hexadecimal": b"0x%x",
    "octal by o": b"0o%o",
    "an exponent": b"%de0",
    "a fraction": b"%d.0",
    "an underscore": b"0_%d",
    "quotes": b'"%d"',
    "a semicolon": b"%d;",
    "a parameter": b"%d;q=1",
    "a letter": b"%dx",
    "a letter first": b"x%d",
    "a percent sign": b"%%%d",
    "NUL behind": b"%d\0",
    "NUL before": b"\0%d",
    "VT behind": b"%d\x0b",
    "FF behind": b"%d\x0c",
    "CR behind": b"%d\r",
    "LF behind": b"%d\n",
    "a no-break space": b"\xa0%d",
    "NEL": b"\x85%d",
    "nothing": b"",
    "a word": b"none",
    "2 to the 64th and more": b"184467440737095516%d",
    "more than 64 bits": b"9" * 40,
    "2 to the 63rd": b"9223372036854775808",
    "Arabic digits": "\u0660\u0661".encode(),
    "superscript": "\u00b2".encode(),
    "full-width digits": "\uff16".encode(),
    "a bracket": b"[%d]",
    "a fold": b"\r\n %d",
    "a fold behind": b"%d\r\n 0",
}
LENGTH_LINES = {
    "a space before the colon": b"Content-Length : %d",
    "a tab before the colon": b"Content-Length\t: %d",
    "NUL before the colon": b"Content-Length\0: %d",
    "a space at the start": b" Content-Length: %d",
    "a tab at the start": b"\tContent-Length: %d",
    "no colon": b"Content-Length %d",
    "two colons": b"Content-Length:: %d",
    "behind a bare LF": b"X: y\nContent-Length: %d",
    "behind a bare CR": b"X: y\rContent-Length: %d",
    "behind a fold": b"X: y\r\n Content-Length: %d",
    "and nought": b"Content-Length: %d\r\nContent-Length: 0",
    "behind nought": b"Content-Length: 0\r\nContent-Length: %d",
    "and nothing": b"Content-Length: %d\r\nContent-Length:",
    "in two cases": b"Content-Length: %d\r\ncontent-length: 0",
    "three times": b"Content-Length: %d\r\nContent-Length: %d\r\nContent-Length: 0",
    "and another apart": b"Content-Length: %d\r\nX: y\r\nContent-Length: 7",
}
SAME_TWICE = {
    "twice": b"Content-Length: %d\r\nContent-Length: %d",
    "a list of the same": b"Content-Length: %d, %d",
}

MENDABLE_LENGTHS = {
    *(
        "NUL behind",
        "NUL before",
        "CR behind",
        "LF behind",
        "behind a bare LF",
        "behind a bare CR",
        "behind a fold",
    ),
    *(
        "2 to the 64th and more",
        "more than 64 bits",
        "2 to the 63rd",
        "a space at the start",
        "a tab at the start",
    ),
}


def _coded() -> Iterator[Case]:
    for name, line in (CODINGS | UNKNOWN).items():
        mendable = name in MENDABLE or name in UNKNOWN
        yield Case(f"coding: {name}", POST + line + b"\r\n\r\n0\r\n\r\n", mendable=mendable)
        # A reader that sees no coding takes the chunks for the next request, or the canary for a body.
        hidden = b"%x\r\n" % N + CANARY + b"\r\n0\r\n\r\n"
        yield Case(
            f"coding: {name}, canary in a chunk", POST + line + b"\r\n\r\n" + hidden, mendable=mendable
        )
    for name, line in (CODINGS | PROPER | UNKNOWN).items():
        # RFC 9112 section 6.1: "MAY reject the request or process it in accordance with the Transfer-Encoding alone".
        mends = name in PROPER or name in MENDABLE
        behind = b"0\r\n\r\n" + CANARY
        length = b"Content-Length: %d" % len(behind)
        yield Case(f"CL.TE {name}", POST + length + b"\r\n" + line + b"\r\n\r\n" + behind, mendable=mends)
        yield Case(
            f"CL.TE {name}, coding first",
            POST + line + b"\r\n" + length + b"\r\n\r\n" + behind,
            mendable=mends,
        )
        size = b"%x\r\n" % N
        hidden = size + CANARY + b"\r\n0\r\n\r\n"
        length = b"Content-Length: %d" % len(size)
        yield Case(f"TE.CL {name}", POST + length + b"\r\n" + line + b"\r\n\r\n" + hidden, mendable=mends)
        yield Case(
            f"TE.CL {name}, coding first",
            POST + line + b"\r\n" + length + b"\r\n\r\n" + hidden,
            mendable=mends,
        )
    for name, line in PROPER.items():
        zero = POST.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n" + line + b"\r\n\r\n0\r\n\r\n"
        yield Case(f"HTTP/1.0 {name}", zero, mendable=True)
        yield Case(
            f"CL 0 and {name}", POST + b"Content-Length: 0\r\n" + line + b"\r\n\r\n0\r\n\r\n", mendable=True
        )


def filled(template: bytes, number: int) -> bytes:
    count = template.replace(b"%%", b"").count(b"%")
    return template % ((number,) * count) if count else template.replace(b"%%", b"%")


def _counted() -> Iterator[Case]:
    for name, template in LENGTHS.items():
        # A number of whatever size is well-formed; a bare LF may end a line.
        mends = "fold" in name or name in MENDABLE_LENGTHS
        line = b"Content-Length: " + filled(template, N)
        yield Case(f"length: {name}", POST + line + b"\r\n\r\n" + CANARY, mendable=mends)
        yield Case(
            f"length: {name}, with GET",
            POST.replace(b"POST", b"GET") + line + b"\r\n\r\n" + CANARY,
            mendable=mends,
        )
        yield Case(
            f"length: {name}, and a good one",
            POST + line + b"\r\nContent-Length: 0\r\n\r\n" + CANARY,
            mendable=mends,
        )
        yield Case(
            f"length: {name}, and chunked",
            POST + line + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            mendable=mends,
        )
    for name, template in (LENGTH_LINES | SAME_TWICE).items():
        line = filled(template, N)
        # RFC 9112 section 6.3 rule 5 lets a recipient mend the same length said twice.
        mendable = name in SAME_TWICE or name in MENDABLE_LENGTHS
        yield Case(f"length line: {name}", POST + line + b"\r\n\r\n" + CANARY, mendable=mendable)
        yield Case(
            f"length line: {name}, with GET",
            POST.replace(b"POST", b"GET") + line + b"\r\n\r\n" + CANARY,
            mendable=mendable,
        )
    noughts = (
        b"Content-Length: " + b"0" * 30 + b"%d\r\n\r\n" % N
    )  # 1*DIGIT is well-formed whatever its length
    yield Case("length: forty noughts", POST + noughts + CANARY, mendable=True)


CODED = tabled(_coded())
COUNTED = tabled(_counted())
