"""The metadata server of the runs: a long-lived ID token for any audience, of the size that Google's have."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bench import issuer
from bench.issuer import EMAIL, LIFETIME


def mint(audience: str) -> str:
    """A JWT that nobody can verify, but that parses: the receiver here looks only for its presence."""

    def part(value: object) -> str:
        return _base64(json.dumps(value, separators=(",", ":")).encode())

    now = int(time.time())
    head = {"alg": "RS256", "kid": "6f72617b1e7d2c4d9b8a5e3f0c1d2e3f4a5b6c7d", "typ": "JWT"}
    claims = {
        "aud": audience,
        "azp": "108912345678901234567",
        "email": EMAIL,
        "email_verified": True,
        "exp": now + LIFETIME,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": "108912345678901234567",
    }
    return f"{part(head)}.{part(claims)}.{_base64(os.urandom(256))}"


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        last = url.path.rstrip("/").rpartition("/")[2]
        if url.path == "/":
            self._answer("computeMetadata/\n")
        elif url.path == "/certs":
            self._answer(issuer.jwks(), kind="application/json")
        elif self.headers.get("Metadata-Flavor") != "Google":
            self._answer("Metadata-Flavor: Google is missing\n", status=403)
        elif last == "identity":
            self._answer(mint(parse_qs(url.query).get("audience", [""])[0]))
        elif last == "universe-domain":
            self._answer("googleapis.com")
        elif last == "project-id":
            self._answer("bench-project")
        elif last == "email":
            self._answer(EMAIL)
        elif "/service-accounts/" in url.path:
            self._answer(
                json.dumps({"aliases": ["default"], "email": EMAIL, "scopes": []}), kind="application/json"
            )
        else:
            self._answer("no such entry\n", status=404)

    def _answer(self, text: str, *, status: int = 200, kind: str = "text/html") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing: a thousand routes ask a thousand times."""


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Serves in threads of this process; yields the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
