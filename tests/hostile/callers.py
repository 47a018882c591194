"""Web pages and rebound names: well-formed requests whose sender may not use this proxy. 403, and no token is fetched."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import Case, tabled

REBOUND = [
    *(
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "evil-localhost",
        "localhost.",
        "localhost.:80",
    ),
    *(
        "127a0b0c1",
        "127.0.0.1.",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "127.1",
        "0.0.0.0",
        "0",
        "2130706433",
    ),
    *("0x7f000001", "[::]", "[::2]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", ".localhost", "a..localhost"),
    *(
        "-.localhost",
        "localhost.localdomain",
        "metadata.google.internal",
        "169.254.169.254",
        "localhosts",
        "xlocalhost",
    ),
]
ORIGINS = [
    *(
        "http://evil.example",
        "https://evil.example",
        "null",
        "http://localhost:1",
        "https://localhost",
        "http://127.0.0.1",
    ),
    *(
        "http://[::1]",
        "http://localhost.evil.example",
        "http://evil.localhost",
        "chrome-extension://abcdef",
        "file://",
    ),
    *(
        "http://localhost/",
        "http://localhost@evil.example",
        "localhost",
        "",
        "*",
        "http://localhost http://evil.example",
    ),
    *("http://localhost, http://evil.example", "HTTP://LOCALHOST.", "about:blank", "moz-extension://a"),
]
# What a browser says of a request that a page of another site makes, without an Origin.
SITES = {
    "an image": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
    "a script": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n",
    "a style": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: style\r\n",
    "a frame": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
    "an object": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: object\r\n",
    "a fetch": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n",
    "another port": "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n",
    "no mode": "Sec-Fetch-Site: cross-site\r\n",
    "an unknown site": "Sec-Fetch-Site: anywhere\r\n",
    "nothing": "Sec-Fetch-Site:\r\n",
    "two modes": "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
}
KINDS = {
    "GET": "GET / HTTP/1.1\r\n{}\r\n",
    "form": "POST / HTTP/1.1\r\n{}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b",
    "text": "POST / HTTP/1.1\r\n{}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}",
    "preflight": "OPTIONS / HTTP/1.1\r\n{}Access-Control-Request-Method: DELETE\r\n\r\n",
    "WebSocket": "GET / HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "EventSource": "GET / HTTP/1.1\r\n{}Accept: text/event-stream\r\n\r\n",
}


def _callers() -> Iterator[Case]:
    for kind, template in KINDS.items():
        for host in REBOUND:
            wire = template.format(f"Host: {host}\r\n").encode()
            yield Case(f"{kind} to {host}", wire, status=403)
        # The page that was rebound says that it is at home: Origin equal to Host is not enough.
        wire = template.format(
            "Host: evil.example\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n"
        ).encode()
        yield Case(f"{kind} of a rebound page", wire, status=403)
        for origin in ORIGINS:
            wire = template.format(f"Host: localhost\r\nOrigin: {origin}\r\n").encode()
            yield Case(f"{kind} from {origin}", wire, status=403)
        for name, fields in SITES.items():
            yield Case(
                f"{kind}, {name}", template.format(f"Host: localhost\r\n{fields}").encode(), status=403
            )


CALLERS = tabled(_callers())
