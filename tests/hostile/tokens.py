"""Ways to lose, double or replace the token. Each passes as a request, with exactly one token and that ours."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import Case, tabled

NAMES = ["Authorization", "X-Serverless-Authorization", "Proxy-Authorization"]
NOMINATED = [
    *(
        "authorization",
        "Authorization",
        "AUTHORIZATION",
        "x-serverless-authorization",
        "proxy-authorization",
        "host",
    ),
    *(
        "content-length",
        "transfer-encoding",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "connection",
    ),
    *(
        "close, authorization",
        "keep-alive, authorization",
        ", authorization",
        "authorization,,",
        "\tauthorization\t",
    ),
    *(
        "authorization, x-serverless-authorization, host, content-length",
        "te, authorization",
        "upgrade, authorization",
    ),
]
THEIRS = "Bearer theirs.theirs.theirs"


def _spellings(name: str) -> Iterator[str]:
    for spelled in (name, name.lower(), name.upper(), name.swapcase()):
        yield spelled
        for other in "_.~!#$%&'*+^`|":
            if "-" in spelled:
                yield spelled.replace("-", other)
                yield spelled.replace("-", other, 1)


def _tokens() -> Iterator[Case]:
    start = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    for options in NOMINATED:
        for own in ("", f"Authorization: {THEIRS}\r\n", f"X-Serverless-Authorization: {THEIRS}\r\n"):
            wire = f"{start}{own}Connection: {options}\r\n\r\nhello".encode()
            yield Case(f"Connection: {options!r} {own!r}", wire, status=200)
    split = f"{start}Connection: close\r\nX: y\r\nconnection: authorization\r\nCONNECTION:\r\n\r\nhello"
    yield Case("Connection in three lines", split.encode(), status=200)
    seen = set()
    for name in NAMES:
        for spelled in _spellings(name):
            if spelled not in seen:
                seen.add(spelled)
                yield Case(f"own {spelled}", f"{start}{spelled}: {THEIRS}\r\n\r\nhello".encode(), status=200)
        twice = f"{start}{name}: {THEIRS}\r\n{name.upper()}: {THEIRS}\r\n\r\nhello"
        yield Case(f"two {name}", twice.encode(), status=200)
        trailer = (
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            f"Trailer: {name}, Host\r\n\r\n5\r\nhello\r\n0\r\n{name}: {THEIRS}\r\nHost: evil.example\r\n"
            "Content-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\n"
        )
        yield Case(f"{name} in a trailer", trailer.encode(), status=200)
    everything = "".join(f"{name}: {THEIRS}\r\n" for name in NAMES)
    yield Case("all of them", f"{start}{everything}\r\nhello".encode(), status=200)


TOKENS = tabled(_tokens())
