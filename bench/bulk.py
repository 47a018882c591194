"""What wrk does not do: large bodies both ways, idle connections, a reader that stalls, the first answer.

Plain blocking sockets: the load must cost less than what it measures. Bodies are therefore neither copied in nor
out: MSG_TRUNC throws away what has arrived without copying it (tcp(7)), sendfile sends from the page cache.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

TIMEOUT = 10.0  # of any one wait on a socket
CHUNK = 4 * 1024 * 1024  # the most that one read throws away; its memory is never touched


class BulkError(Exception):
    """A response that is not the one that was due."""


@dataclass(frozen=True)
class Head:
    status: int
    fields: dict[str, str]  # by lower-case name

    @property
    def length(self) -> int:
        try:
            return int(self.fields["content-length"])
        except (KeyError, ValueError):
            raise BulkError(f"status {self.status} without a Content-Length") from None


def parse_head(octets: bytes) -> Head:
    """A response's head without its empty line."""
    first, *lines = octets.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise BulkError(f"not a status line: {first[:80]!r}")
    fields = (line.partition(":") for line in lines)
    return Head(int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in fields})


def request_head(
    method: str, path: str, port: int, *, length: int | None = None, token: str | None = None
) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: python-requests/2.32.4",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate, br",
        "X-Request-Id: 0af7651916cd43dd8448eb211c80319c",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if length is not None:
        lines += ["Content-Type: application/octet-stream", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


class Connection:
    """One keep-alive connection; one request at a time."""

    def __init__(self, port: int, *, receive_buffer: int | None = None, token: str | None = None) -> None:
        """`token`: of the caller, where one is asked for."""
        self.port = port
        self._token = token
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, method: str, path: str, body: Path | None = None) -> None:
        length = None if body is None else body.stat().st_size
        self._socket.sendall(request_head(method, path, self.port, length=length, token=self._token))
        if body is not None:
            with body.open("rb") as file:
                self._socket.sendfile(file)

    def read_head(self) -> tuple[Head, int]:
        """The head, and how many bytes of the body came with it."""
        octets = b""
        while (end := octets.find(b"\r\n\r\n")) < 0:
            part = self._socket.recv(16384)
            if not part:
                raise BulkError("the connection was closed before the end of a response's head")
            octets += part
        return parse_head(octets[:end]), len(octets) - end - 4

    def read_body(self, length: int, buffer: memoryview) -> None:
        """`length` bytes, thrown away."""
        while length > 0:
            count = self._socket.recv_into(buffer, min(length, len(buffer)), socket.MSG_TRUNC)
            if not count:
                raise BulkError(f"the connection was closed {length} bytes before the end of a body")
            length -= count

    def read(self, path: str) -> bytes:
        """A short body, kept."""
        self.send("GET", path)
        octets = b""
        while True:
            end = octets.find(b"\r\n\r\n")
            if end >= 0:
                head, body = parse_head(octets[:end]), octets[end + 4 :]
                if len(body) >= head.length:
                    _check(head, 200, None)
                    return body[: head.length]
            part = self._socket.recv(16384)
            if not part:
                raise BulkError("the connection was closed before the end of a response")
            octets += part

    def get(self, path: str, buffer: memoryview, *, expect: int = 200, length: int | None = None) -> Head:
        self.send("GET", path)
        head, early = self.read_head()
        self.read_body(head.length - early, buffer)
        _check(head, expect, length)
        return head

    def post(self, path: str, body: Path, buffer: memoryview) -> Head:
        """The receiver says how much it received: head and body."""
        self.send("POST", path, body)
        head, early = self.read_head()
        self.read_body(head.length - early, buffer)
        _check(head, 200, None)
        received = int(head.fields.get("x-received-bytes", "0"))
        if received <= (size := body.stat().st_size):
            raise BulkError(f"the receiver got {received} bytes, where {size} and a head were sent")
        return head


def _check(head: Head, expect: int, length: int | None) -> None:
    if head.status != expect:
        raise BulkError(f"status {head.status}, where {expect} was due")
    if length is not None and head.length != length:
        raise BulkError(f"a body of {head.length} bytes, where {length} were due")


def buffer() -> memoryview:
    return memoryview(bytearray(CHUNK))


def probe(
    port: int,
    path: str,
    *,
    within: float,
    expect: int = 200,
    length: int | None = None,
    alive: Callable[[], bool] = lambda: True,
    token: str | None = None,
) -> float:
    """Asks until the answer is the one that is due; returns the clock's reading at that moment. BulkError after
    `within` seconds, or as soon as `alive` says that there is nobody to wait for.
    """
    end = time.perf_counter() + within
    last: Exception | None = None
    space = buffer()
    while time.perf_counter() < end:
        try:
            with Connection(port, token=token) as connection:
                connection.get(path, space, expect=expect, length=length)
            return time.perf_counter()
        except (OSError, BulkError) as error:
            last = error
        if not alive():
            raise BulkError("the process has ended")
        time.sleep(0.002)
    raise BulkError(f"no good answer within {within:.0f} s: {last}")


@dataclass
class Bulk:
    """Bodies that went through whole, in seconds."""

    bodies: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


def bodies(
    transfer: Callable[[Connection, memoryview], object], port: int, *, seconds: float, connections: int
) -> Bulk:
    """`transfer` again and again on each of the connections, until the time is over and the last body is through."""
    result, lock = Bulk(), threading.Lock()
    start = time.perf_counter()

    def work() -> None:
        done, error, space = 0, "", buffer()
        try:
            with Connection(port) as connection:
                while time.perf_counter() < start + seconds:
                    transfer(connection, space)
                    done += 1
        except Exception as caught:  # noqa: BLE001 - nothing that ends a thread may pass for a result
            error = str(caught) or type(caught).__name__
        with lock:
            result.bodies += done
            if error:
                result.errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.seconds = time.perf_counter() - start
    if not result.bodies and not result.errors:
        result.errors.append("no body went through")
    return result


@contextlib.contextmanager
def idle_connections(port: int, count: int, path: str) -> Iterator[None]:
    """`count` open connections, each of which has had one answer, as a client's pool leaves them."""
    space = buffer()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Connection(port)).get(path, space)
        yield
