"""The loopback port that a browser comes back to after a login, and that may send it there (RFC 8252 section 7.3).

A program gets what it shall open on its command line, which all users of the machine may read. So the command line
holds an address of this listener, good once. Whoever asks for it first is sent to the login's own URL, which holds the
state that makes an answer believed. If somebody asks again, one of the two was not the person, and the login ends.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.login_store import COMMAND

PATIENCE: Final = 300.0  # seconds for the person at the browser
_POLL: Final = 0.1  # seconds until the listener notices that it shall end
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>idtoken-proxy</title><link rel="icon" href="data:,">
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 4rem auto; max-width: 36rem; padding: 0 1rem }}</style>
<h1>{title}</h1><p>{sentence}</p></html>
"""
_CSP: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
_NOT_THIS_ONE: Final = (400, "Not this one", "This is no answer to the login that is under way.")
_ANSWERS: Final = {
    True: (200, "Logged in", "You can close this window, and go back to the terminal."),
    False: (403, "Not logged in", "The login was refused. The terminal says more."),
}
_TWICE: Final = (
    410,
    "Opened twice",
    "Another browser, or another user of this machine, has opened this login. The terminal says what to do.",
)


class Doorstep:
    def __init__(self, patience: float = PATIENCE) -> None:
        doorstep = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                doorstep._came(self)

        # Browsers open connections ahead and send nothing on them. None of these may delay the answer.
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._patience = patience
        self._thread: threading.Thread | None = None
        self._once = f"/login/{secrets.token_urlsafe(32)}"
        self._lock = threading.Lock()
        self._led = False
        self._leads_to = ""
        self._code_of: Callable[[str], str]
        self._outcome: str | TokenError | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def lead(self, url: str, code_of: Callable[[str], str]) -> str:
        """Returns an address. Whoever asks for it is sent to `url`, once. `code_of` takes the target with which
        somebody comes back; it raises ValueError if that does not answer this login, TokenError if the login is
        refused.
        """
        self._leads_to, self._code_of = url, code_of
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True)
        self._thread.start()
        return f"{self.uri.rstrip('/')}{self._once}"

    def wait(self) -> str:
        """Waits for the code. Other visitors get an answer and change nothing. Raises TokenError."""
        if not self._over.wait(self._patience):
            raise no_answer(f"the browser did not come back within {self._patience:.0f} s")
        outcome = self._outcome
        if not isinstance(outcome, str):
            assert outcome is not None
            raise outcome
        return outcome

    def _came(self, handler: _Handler) -> None:
        if handler.path == self._once:
            with self._lock:
                again, self._led = self._led, True
            if not again:
                handler.lead(self._leads_to)
                return
            self._end(_opened_twice(), handler, _TWICE)
            return
        outcome: str | TokenError
        try:
            outcome = self._code_of(handler.path)
        except ValueError:
            handler.show(*_NOT_THIS_ONE)
            return
        except TokenError as error:
            outcome = error
        self._end(outcome, handler, _ANSWERS[isinstance(outcome, str)])

    def _end(self, outcome: str | TokenError, handler: _Handler, page: tuple[int, str, str]) -> None:
        """The first outcome counts, and is stored before any page is sent: whoever reads the page may be quicker than
        this thread. `wait` goes on once the page is sent, or nobody is there to read it.
        """
        with self._lock:
            self._outcome = self._outcome or outcome
        try:
            handler.show(*page)
        finally:
            self._over.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent about visitors who hang up, as browsers do and anybody on this machine may: the person need not read
        of it.
        """
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Names neither a library nor a version. Logs nothing, because the target holds the code."""

    timeout = 10

    def show(self, status: int, title: str, sentence: str) -> None:
        self._send(status, _PAGE.format(title=title, sentence=sentence).encode())

    def lead(self, url: str) -> None:
        self._send(302, b"", ("Location", url))

    def _send(self, status: int, page: bytes, *more: tuple[str, str]) -> None:
        self.send_response_only(status)
        for name, value in (
            *more,
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page))),
            ("Content-Security-Policy", _CSP),
            ("Referrer-Policy", "no-referrer"),  # the address holds the code
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 -- its words
        """Replaces http.server's answer to malformed requests, which would repeat them and name Python."""
        self.close_connection = True
        self.show(code, *_NOT_THIS_ONE[1:])

    def log_message(self, *_: Any) -> None: ...


def no_answer(detail: str) -> TokenError:
    return TokenError(detail, cause="login_refused", fault=Fault.OPERATOR, remedy=COMMAND)


def _opened_twice() -> TokenError:
    return TokenError(
        "the login's page was opened twice: by two browsers, or by another user of this machine, who could answer in your place",
        cause="login_refused",
        fault=Fault.OPERATOR,
        remedy=f"{COMMAND}; for a browser of your choice, with --no-browser",
    )
