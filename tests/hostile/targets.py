"""Targets that lead out of a route's path, or name a host that nobody checked. What is refused, and with which status."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import Case, tabled

HOST = b"Host: localhost\r\n\r\n"

ABSOLUTE = {
    "another host": b"http://evil.example/",
    "another port": b"http://localhost:81/",
    "a default port": b"http://localhost:80/",
    "a user": b"http://user@localhost/",
    "this host as a user": b"http://localhost@evil.example/",
    "this host and a backslash": b"http://localhost\\@evil.example/",
    "this host and a semicolon": b"http://localhost;@evil.example/",
    "no host": b"http:///",
    "one slash": b"http:/localhost/",
    "no slash": b"http:localhost/",
    "three slashes": b"http:///localhost/",
    "https": b"https://localhost/",
    "ftp": b"ftp://localhost/",
    "ws": b"ws://localhost/",
    "file": b"file:///etc/passwd",
    "javascript": b"javascript:alert(1)",
    "gopher": b"gopher://localhost/_GET",
    "a scheme alone": b"http://",
    "an encoded host": b"http://%6cocalhost/",
    "a trailing dot": b"http://localhost./",
    "a fragment": b"http://localhost/#a",
    "the metadata server": b"http://metadata.google.internal/computeMetadata/v1/",
    "its address": b"http://169.254.169.254/computeMetadata/v1/",
    "an at sign at the start": b"@evil.example/",
    "a colon at the start": b":80/",
    "a dot at the start": b".evil.example/",
    "a word": b"evil.example",
    "authority form": b"localhost:80",
    "an asterisk": b"*",
    "an asterisk and a path": b"*/a",
    "a query": b"?a",
    "a backslash": b"\\",
    "two backslashes": b"\\\\evil.example\\a",
}
HOSTS = {
    "none": b"",
    "two": b"Host: localhost\r\nHost: localhost\r\n",
    "two that differ": b"Host: localhost\r\nHost: evil.example\r\n",
    "two in two cases": b"Host: localhost\r\nhOST: evil.example\r\n",
    "two apart": b"Host: localhost\r\nX: y\r\nHost: evil.example\r\n",
    "a list": b"Host: localhost, evil.example\r\n",
    "two words": b"Host: localhost evil.example\r\n",
    "a path": b"Host: localhost/a\r\n",
    "a query": b"Host: localhost?a\r\n",
    "a fragment": b"Host: localhost#a\r\n",
    "a user": b"Host: user@localhost\r\n",
    "this host as a user": b"Host: localhost@evil.example\r\n",
    "a URL": b"Host: http://localhost\r\n",
    "a word for a port": b"Host: localhost:a\r\n",
    "a port with a sign": b"Host: localhost:+80\r\n",
    "a long port": b"Host: localhost:000000080\r\n",
    "two ports": b"Host: localhost:80:80\r\n",
    "an open bracket": b"Host: [::1\r\n",
    "a zone": b"Host: [::1%25lo]\r\n",
    "a backslash": b"Host: localhost\\\r\n",
    "an encoded letter": b"Host: %6cocalhost\r\n",
    "octets outside ASCII": b"Host: localhost\xe9\r\n",
    "a semicolon": b"Host: localhost;a\r\n",
    "quotes": b'Host: "localhost"\r\n',
    "nothing": b"Host:\r\n",
    "blanks": b"Host: \t \r\n",
    "a comma": b"Host: localhost,\r\n",
}
# RFC 3986 section 3.2.2 knows these as names, if only just.
REGISTERED_NAMES = {"a semicolon", "a comma", "an encoded letter", "nothing", "blanks", "a long port"}

# Behind a path that is a boundary: /bounded is stripped, and /base stands before what is left.
DOTS = [
    b".",
    b"..",
    b"%2e",
    b"%2E%2e",
    b".%2e",
    b"%2e.",
    b"..;",
    b"..;x",
    b"..;x=y",
    b".;",
    b"%2e%2e;x",
    b"..%3bx",
    b"..%3B",
]
SEPARATORS = [b"%2f", b"%2F", b"%5c", b"%5C", b"\\", b"%00"]


def _absolute() -> Iterator[Case]:
    for name, target in ABSOLUTE.items():
        # Most are well-formed for a forward proxy; this one is none.
        yield Case(f"target: {name}", b"GET " + target + b" HTTP/1.1\r\n" + HOST, mendable=True)
        yield Case(
            f"target of OPTIONS: {name}", b"OPTIONS " + target + b"x HTTP/1.1\r\n" + HOST, mendable=True
        )
    for name, host in HOSTS.items():
        mends = name in REGISTERED_NAMES
        yield Case(f"host: {name}", b"GET / HTTP/1.1\r\n" + host + b"\r\n", mendable=mends)
        wire = b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n"
        yield Case(f"host and a body: {name}", wire, mendable=mends)
    for number, (method, target) in enumerate(
        (
            *(
                (b"CONNECT", b"localhost:443"),
                (b"CONNECT", b"evil.example:443"),
                (b"CONNECT", b"/"),
                (b"connect", b"/"),
            ),
            *(
                (b"CONNECT", b"http://localhost/"),
                (b"Connect", b"localhost:443"),
                (b"TRACE", b"/"),
                (b"trace", b"/"),
            ),
            *((b"TRACE", b"http://localhost/"), (b"TrAcE", b"/a")),
        )
    ):
        for suffix, body in ((b"", b"\r\n"), (b" with a body", b"Content-Length: 5\r\n\r\nhello")):
            wire = method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + body
            yield Case(f"{number} {(method + suffix).decode()}", wire, status=405)


def _ways_out() -> Iterator[Case]:
    for dots in DOTS:
        for name, path in (
            ("last", b"/bounded/" + dots),
            ("first", b"/bounded/" + dots + b"/admin"),
            ("within", b"/bounded/a/" + dots + b"/" + dots + b"/" + dots + b"/admin"),
            ("before a query", b"/bounded/" + dots + b"?a"),
            ("behind an empty segment", b"/bounded//" + dots + b"/admin"),
        ):
            yield Case(f"{dots.decode()} {name}", b"GET " + path + b" HTTP/1.1\r\n" + HOST)
        yield Case(
            f"{dots.decode()} in absolute form",
            b"GET http://localhost/bounded/" + dots + b"/a HTTP/1.1\r\n" + HOST,
        )
        upgrade = b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        yield Case(
            f"{dots.decode()} in a WebSocket handshake",
            b"GET /bounded/" + dots + b"/a HTTP/1.1\r\n" + upgrade,
        )
    for separator in SEPARATORS:
        for name, path in (
            ("last", b"/bounded/a" + separator),
            ("first", b"/bounded/" + separator + b"admin"),
            ("with dots", b"/bounded/.." + separator + b"admin"),
            ("with dots on both sides", b"/bounded/a" + separator + b".." + separator + b"admin"),
            ("before a query", b"/bounded/" + separator + b"?a"),
        ):
            yield Case(f"{separator.decode()} {name}", b"GET " + path + b" HTTP/1.1\r\n" + HOST)


ABSOLUTES = tabled(_absolute())
WAYS_OUT = tabled(_ways_out())
