"""Where a browser is led from, and comes back to; another HTTP client stands in for it."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from idtoken_proxy.doorstep import Doorstep
from idtoken_proxy.errors import Fault, TokenError
from tests.cases import for_each

CONSENT = "https://accounts.google.com/o/oauth2/v2/auth?state=s3cret&code_challenge=c"


def code_of(target: str) -> str:
    if "state=s3cret" not in target:
        raise ValueError("no answer")
    if "code=" not in target:
        raise TokenError("refused", cause="login_refused", fault=Fault.OPERATOR)
    return "the-code"


class Answer:
    def __init__(self, url: str, method: str = "GET") -> None:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read().decode()
        connection.close()


@pytest.fixture
def doorstep() -> Iterator[Doorstep]:
    with Doorstep() as open_:
        yield open_


def test_what_stands_on_a_command_line_leads_to_the_login_and_tells_nothing_of_it(doorstep: Doorstep) -> None:
    page = doorstep.lead(CONSENT, code_of)
    assert page.startswith("http://127.0.0.1:")
    assert "s3cret" not in page
    led = Answer(page)
    assert (led.status, led.headers["Location"]) == (302, CONSENT)
    assert (led.headers["Cache-Control"], led.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert Answer(f"{doorstep.uri}?state=s3cret&code=x").status == 200
    assert doorstep.wait() == "the-code"


@for_each("said", [b"", b"GET /", b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000, b"\xff" * 70_000], ids=range(4))
def test_who_hangs_up_leaves_no_trace_on_the_terminal(capfd: pytest.CaptureFixture[str], said: bytes) -> None:
    reset = struct.pack("ii", 1, 0)
    with Doorstep() as doorstep:
        doorstep.lead(CONSENT, code_of)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", urlsplit(doorstep.uri).port or 0)) as stranger:
                stranger.sendall(said)
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        assert Answer(f"{doorstep.uri}?state=s3cret&code=x").status == 200
        assert doorstep.wait() == "the-code"
        for thread in threading.enumerate():
            if "process_request_thread" in thread.name:
                thread.join(10)
    assert capfd.readouterr() == ("", "")


def test_who_asks_a_second_time_ends_the_login(doorstep: Doorstep) -> None:
    """One of the two was not the person, and whoever was first knows the state by now."""
    page = doorstep.lead(CONSENT, code_of)
    Answer(page)
    again = Answer(page)
    assert (again.status, again.headers["Location"]) == (410, None)
    assert "s3cret" not in again.body
    Answer(f"{doorstep.uri}?state=s3cret&code=x")  # comes too late
    with pytest.raises(TokenError) as caught:
        doorstep.wait()
    assert "opened twice" in caught.value.detail
    assert "--no-browser" in str(caught.value.remedy)


@for_each("path", ["", "?state=guessed&code=x", "login/guessed", "favicon.ico"])
def test_what_is_no_answer_is_waited_through(path: str) -> None:
    with Doorstep(0.01) as doorstep:
        doorstep.lead(CONSENT, code_of)
        assert Answer(doorstep.uri + path).status == 400
        with pytest.raises(TokenError) as caught:
            doorstep.wait()
    assert "did not come back" in caught.value.detail


def test_a_refusal(doorstep: Doorstep) -> None:
    doorstep.lead(CONSENT, code_of)
    assert Answer(f"{doorstep.uri}?state=s3cret&error=access_denied").status == 403
    with pytest.raises(TokenError, match="refused"):
        doorstep.wait()


def test_no_answer_names_a_library_or_a_version(doorstep: Doorstep) -> None:
    page = doorstep.lead(CONSENT, code_of)
    for answer in (Answer(page), Answer(doorstep.uri), Answer(doorstep.uri, "POST")):
        assert answer.headers["Server"] is None
        assert "ython" not in f"{answer.headers}{answer.body}"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    with socket.create_connection(("127.0.0.1", urlsplit(page).port or 0), timeout=10) as raw:
        raw.sendall(b"SENTINEL\x00 no HTTP\r\n\r\n")
        said = raw.makefile("rb").read()
    assert b"SENTINEL" not in said
    assert b"ython" not in said


def test_one_that_says_nothing_keeps_nobody_waiting(doorstep: Doorstep) -> None:
    """Browsers open connections ahead."""
    page = doorstep.lead(CONSENT, code_of)
    with socket.create_connection(("127.0.0.1", urlsplit(page).port or 0), timeout=10):
        assert Answer(page).status == 302
