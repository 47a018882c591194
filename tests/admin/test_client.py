"""`wait` and `probe`, against admin listeners that say all kinds of things."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from idtoken_proxy.admin.client import PATIENCE, _connected, ask, missing, probe, wait
from idtoken_proxy.settings.model import TcpAddress, UnixAddress
from tests.cases import for_each

Say = Callable[[int, str], None]


class Operator:
    """An admin listener: each question gets the next answer, and the last one is for all that follow."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = [(200, "ok\n")]
        self.asked: list[str] = []
        operator = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                operator.asked.append(f"{self.headers['Host']}{self.path}")
                status, body = operator.answers.pop(0) if len(operator.answers) > 1 else operator.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = TcpAddress("127.0.0.1", self.server.server_port)


@pytest.fixture
def operator() -> Iterator[Operator]:
    made = Operator()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def dead() -> Iterator[TcpAddress]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield TcpAddress("127.0.0.1", taken.getsockname()[1])


class Time:
    """Goes on while somebody pauses, and a little with each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.paused: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now += seconds


def status(*, ready: bool = False, state: str = "serving", **tokens: Any) -> str:
    routes = [{"name": name, "token": token} for name, token in tokens.items()]
    return json.dumps({"ready": ready, "state": state, "routes": [{"name": "public"}, *routes]})


FETCHING = {"valid": False, "source": "metadata server", "error": None}
FAILED = {"valid": False, "source": "file", "error": {"detail": "it is not there", "remedy": "write it"}}
HELPLESS = {"valid": False, "source": "file", "error": {"detail": "it is not there", "remedy": None}}
VALID = {"valid": True, "source": "file", "error": {"detail": "a refresh failed", "remedy": None}}


# -- probe ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["startup", "readiness", "liveness"])
def test_a_probe(operator: Operator, what: str) -> None:
    assert probe(operator.address, what) is None
    assert operator.asked == [f"localhost/{what}"]  # by a name that is always the listener's own
    operator.answers = [(503, "not ready: see /api/status\n")]
    assert probe(operator.address, what) == f"{operator.address}: 503: not ready: see /api/status"


def test_nobody_there(dead: TcpAddress, tmp_path: Path) -> None:
    assert probe(dead, "liveness") == f"nobody answers at {dead}: Connection refused"
    gone = UnixAddress(str(tmp_path / "s"))
    assert probe(gone, "liveness") == f"nobody answers at {gone}: No such file or directory"


def test_a_squatter_s_words_are_no_orders_to_a_terminal(operator: Operator) -> None:
    operator.answers = [(503, "\x1b]0;owned\x07 \u202e" + "x" * 5_000)]
    wrong = str(probe(operator.address, "readiness"))
    assert wrong.startswith(f"{operator.address}: 503: \\x1b]0;owned\\x07 \\u202exxx")
    assert len(wrong) < 2_100
    broken = {"valid": False, "source": "\x1b[2J", "error": None}
    operator.answers = [(200, status(state="draining\n", a=broken))]
    assert not any("\x1b" in line or "\n" in line for line in wait(operator.address, 0))


@contextlib.contextmanager
def squatter(pieces: Iterable[bytes]) -> Iterator[TcpAddress]:
    """Has the port, and sends for as long as somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.recv(4096)
                for piece in pieces:
                    connection.sendall(piece)

        thread = threading.Thread(target=send)
        thread.start()
        yield TcpAddress("127.0.0.1", listener.getsockname()[1])
        thread.join()


DRIPS = {
    "a status line": itertools.repeat(b"H"),
    "fields": itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X-A: b\r\n")),
    "a body": itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b"x")),
    "chunks": itertools.chain(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\nx\r\n")
    ),
    "interim answers": itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@for_each("what", DRIPS)
def test_a_drip_does_not_outlast_the_deadline(what: str) -> None:
    def dripping() -> Iterator[bytes]:
        for piece in itertools.islice(DRIPS[what], 2_000):
            yield piece
            sleep(0.01)

    with squatter(dripping()) as address:
        wrong = probe(address, "readiness", patience=0.2)
    assert wrong is not None
    assert "nobody answers" in wrong


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(400):
            sent += 1
            yield b"x" * 1024 * 1024

    with squatter(flood()) as address:
        assert "more than 32 MiB" in str(probe(address, "readiness", patience=60))
    assert sent < 100


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nok\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\nok\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_answer_that_claims_more_than_it_says_is_none(answer: bytes) -> None:
    with squatter([answer]) as address:
        assert str(probe(address, "readiness")).startswith(f"nobody answers at {address}: ")


def test_a_name_s_addresses_have_one_deadline_and_its_look_up_has_it_too() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        port = listener.getsockname()[1]
        for _ in range(4):  # until the queue is full, and the kernel answers nobody
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        began = monotonic()
        with pytest.raises(TimeoutError):
            _connected("localhost", port, began + 0.3)
        assert monotonic() - began < 2
    with pytest.raises(TimeoutError):
        _connected("localhost", 1, monotonic() - 1_000)


def test_somebody_who_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = TcpAddress("127.0.0.1", listener.getsockname()[1])

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert str(probe(address, "liveness")).startswith(f"nobody answers at {address}: ")
        thread.join()


def test_silence_has_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = TcpAddress("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(TimeoutError):
            ask(address, "/liveness", timeout=0.05)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            assert connection.recv(4096).startswith(b"GET /readiness HTTP/1.1\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask(UnixAddress(path), "/readiness") == (200, "ok\n")
        thread.join()


# -- wait ------------------------------------------------------------------------------


def test_it_waits_until_it_is_ready(operator: Operator) -> None:
    operator.answers = [
        (403, "who?"),
        (200, status(state="starting", users=FETCHING)),
        (200, status(ready=True, users=VALID)),
    ]
    time = Time()
    assert wait(operator.address, 30.0, clock=time, pause=time.pause) == []
    assert operator.asked == ["localhost/api/status"] * 3
    assert time.paused == [0.1, 0.1]


def test_after_that_it_tells_what_is_missing(operator: Operator) -> None:
    operator.answers = [(200, status(users=FAILED, orders=FETCHING, mail=VALID, search=HELPLESS))]
    time = Time()
    assert wait(operator.address, 0.25, clock=time, pause=time.pause) == [
        'route "users": it is not there',
        "  write it",
        'route "orders": its token is still being fetched (metadata server)',
        'route "search": it is not there',
    ]
    assert sum(time.paused) == pytest.approx(0.25)


def test_one_that_ends_is_not_ready(operator: Operator) -> None:
    for state in ("draining", "stopped"):
        assert list(missing(json.loads(status(state=state, users=VALID)))) == [f"it is {state}"]


def looked_once(address: TcpAddress) -> list[str]:
    """All the patience that there is for one look, after which the time is over: a busy machine is no failure."""
    return wait(address, PATIENCE, clock=iter([0.0, 0.0, PATIENCE]).__next__)


@for_each(
    "body",
    [
        *("", "ok", "[]", "{}", '{"ready": false}', "null", "[" * 100_000, '{"ready": 9' + "9" * 9_999 + "}"),
        *('{"ready": "no", "state": 1, "routes": 1}', '{"ready": NaN}', '{"ready": 1}'),
        '{"ready": false, "state": "serving", "routes": ["a"]}',
        '{"ready": false, "state": "serving", "routes": [{"name": "a", "token": "b"}]}',
        '{"ready": false, "state": "serving", "routes": [{"token": {"valid": false, "error": ["b"]}}]}',
    ],
)
def test_somebody_else_answers(operator: Operator, body: str) -> None:
    operator.answers = [(200, body)]
    assert looked_once(operator.address) == [f"{operator.address}: whoever answers there is no idtoken-proxy"]


def test_nobody_answers(dead: TcpAddress) -> None:
    assert wait(dead, 0.15) == [f"nobody answers at {dead}: Connection refused"]


def test_it_refuses(operator: Operator) -> None:
    operator.answers = [(403, "a page of another origin may not read this\n")]
    assert looked_once(operator.address) == [
        f"{operator.address}: 403: a page of another origin may not read this"
    ]
