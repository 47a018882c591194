"""Well-formed requests that look strange: each must pass, and say upstream what it said here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.hostile.case import tabled


@dataclass(frozen=True)
class Oddity:
    """`fields`: what must be among the fields upstream, names in lower case."""

    name: str
    wire: bytes
    method: bytes = b"GET"
    target: bytes = b"/"
    body: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()


HOST = b"Host: localhost\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def _methods() -> Iterator[Oddity]:
    for method in (
        b"GET",
        b"PUT",
        b"DELETE",
        b"PROPFIND",
        b"get",
        b"X",
        b"M-SEARCH",
        b"!#$%&'*+-.^_`|~",
        b"A" * 60,
        b"0",
    ):
        yield Oddity(f"method {method.decode()}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n", method)


def _targets() -> Iterator[Oddity]:
    for target in (
        *(
            b"//",
            b"//a//b",
            b"/a;b=c;d",
            b"/:@!$&'()*+,;=-._~",
            b"/%00",
            b"/%2f%5c%2e%2e",
            b"/%zz%",
            b"/a\\b",
            b"/{a}|^`[]",
        ),
        *(
            b"/.",
            b"/..",
            b"/../../etc/passwd",
            b"/a/../b",
            b"/?",
            b"/??",
            b"/?a=b&&c=//d?e",
            b"/?http://evil/",
            b"/?%0d%0aHost:evil",
        ),
        *(
            b"/%0d%0aHost:%20evil",
            b"/" + b"a" * 8000,
            b"/a?" + b"b" * 8000,
            b"/GET%20/%20HTTP/1.1",
            b"/*",
            b"/http://evil/",
            b"/@",
        ),
    ):
        yield Oddity(
            f"target {target[:30].decode()} {len(target)}",
            b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            target=target,
        )
    for written, target in (
        (b"http://localhost/a", b"/a"),
        (b"HTTP://LocalHost/a", b"/a"),
        (b"http://localhost", b"/"),
        (b"http://localhost?a", b"/?a"),
    ):
        yield Oddity(
            f"target {written.decode()}", b"GET " + written + b" HTTP/1.1\r\n" + HOST + b"\r\n", target=target
        )
    yield Oddity("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", b"OPTIONS", b"*")
    yield Oddity(
        "OPTIONS of the host", b"OPTIONS http://localhost HTTP/1.1\r\n" + HOST + b"\r\n", b"OPTIONS", b"*"
    )


def _hosts() -> Iterator[Oddity]:
    for host in (
        *(
            b"localhost",
            b"LOCALHOST",
            b"localhost:1",
            b"localhost:65535",
            b"localhost:",
            b"127.0.0.1",
            b"127.0.0.1:8080",
            b"[::1]",
        ),
        *(b"[::1]:8080", b"a.localhost", b"a-b.c_d.localhost", b"\t localhost \t"),
    ):
        yield Oddity(f"host {host.decode()!r}", b"GET / HTTP/1.1\r\nHost:" + host + b"\r\n\r\n")
    yield Oddity("host in another case", b"GET / HTTP/1.1\r\nhOsT: localhost\r\n\r\n")
    yield Oddity(
        "host last", b"GET / HTTP/1.1\r\nX-A: a\r\nHost: localhost\r\n\r\n", fields=((b"x-a", b"a"),)
    )
    yield Oddity("HTTP/1.0 without a host", b"GET /a HTTP/1.0\r\n\r\n", target=b"/a")


def _fields() -> Iterator[Oddity]:
    for name, value in (
        *(
            (b"X-A", b""),
            (b"X-A", b"a\tb"),
            (b"X-A", b"a  b"),
            (b"X-A", bytes(range(0x80, 0x100))),
            (b"X-A", b"a:b::c"),
        ),
        *(
            (b"X-A", b'"a, \\"b\\""'),
            (b"X-A", b"GET / HTTP/1.1"),
            (b"X-A", b"%0d%0a"),
            (b"X-A", b"x" * 8000),
            (b"x", b"y"),
        ),
        *(
            (b"!#$%&'*+-.^_`|~09", b"a"),
            (b"A" * 200, b"a"),
            (b"Cookie", b"a=b; c=d"),
            (b"Content-Type", b"a/b;c=d"),
        ),
        *(
            (b"Contents-Length", b"5"),
            (b"Content-Lengths", b"x"),
            (b"Transfer-Encodings", b"chunked"),
            (b"X-Host", b"evil"),
        ),
    ):
        line = name + b": " + value + b"\r\n"
        yield Oddity(
            f"field {name[:20].decode()}: {value[:20].decode('latin-1')} {len(value)}",
            b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n",
            fields=((name.lower(), value.strip(b" \t")),),
        )
    yield Oddity(
        "no space behind the colon", b"GET / HTTP/1.1\r\n" + HOST + b"X-A:a\r\n\r\n", fields=((b"x-a", b"a"),)
    )
    yield Oddity(
        "blanks around", b"GET / HTTP/1.1\r\n" + HOST + b"X-A: \t a\t \r\n\r\n", fields=((b"x-a", b"a"),)
    )
    yield Oddity(
        "one name twice",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: a\r\nA: b\r\n\r\n",
        fields=((b"a", b"a"), (b"a", b"b")),
    )
    many = b"".join(b"A%d: %d\r\n" % (n, n) for n in range(250))
    yield Oddity("many fields", b"GET / HTTP/1.1\r\n" + HOST + many + b"\r\n", fields=((b"a249", b"249"),))
    yield Oddity("an empty line before", b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")
    yield Oddity("two empty lines before", b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")
    for line in (
        b"Connection:\r\n",
        b"Connection: ,,\r\n",
        b"Connection: keep-alive, ,\r\n",
        b"Connection: X-A\r\nX-A: a\r\n",
    ):
        yield Oddity(f"{line.decode()!r}", b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n")
    for line in (
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: TLS/1.3\r\n",
        b"TE: trailers\r\n",
        b"Expect: tea\r\n",
    ):
        yield Oddity(f"{line.decode()!r}", b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n")


def _bodies() -> Iterator[Oddity]:
    for length in (b"5", b"05", b"0000000005"):
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + length + b"\r\n\r\n"
        yield Oddity(f"length {length.decode()}", head + b"hello", b"POST", body=b"hello")
    yield Oddity(
        "GET with a body", b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", body=b"hello"
    )
    yield Oddity("GET with a body of nothing", b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    yield Oddity(
        "DELETE with chunks",
        CHUNKED.replace(b"POST", b"DELETE") + b"1\r\na\r\n0\r\n\r\n",
        b"DELETE",
        body=b"a",
    )
    yield Oddity(
        "a body that is a request",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 28\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST",
        body=b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    for name, chunks, body in (
        ("none", b"0\r\n\r\n", b""),
        ("noughts", b"000\r\n\r\n", b""),
        ("noughts before the size", b"00000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("upper case", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("lower case", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("of line ends", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        ("that look like chunks", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        ("of one octet", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        ("an extension", b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("an extension's value", b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n", b"hello"),
        ("blanks around an extension", b"5 ; a = b\t;c\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("a quoted extension", b'5;a="b;\\" \\\\c"\r\nhello\r\n0\r\n\r\n', b"hello"),
        ("a request in an extension", b'5;a="GET /x HTTP/1.1"\r\nhello\r\n0\r\n\r\n', b"hello"),
        ("trailers", b"5\r\nhello\r\n0\r\nX-A: a\r\nX-B:\r\n\r\n", b"hello"),
    ):
        yield Oddity(f"chunks: {name}", CHUNKED + chunks, b"POST", body=body)


ODDITIES = tabled([*_methods(), *_targets(), *_hosts(), *_fields(), *_bodies()])
