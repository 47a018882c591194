"""`wait` and `probe`: a running proxy's admin listener, asked from outside, in images without a shell or curl.

http.client, since importing aiohttp would take longer than all the rest of a probe.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic, sleep
from typing import Any, Final

from idtoken_proxy.settings.model import Address, UnixAddress
from idtoken_proxy.terminal import printable

PATIENCE: Final = 5.0  # seconds for an answer, from the first octet that is sent to the last that is read
MAX_OCTETS: Final = 32 * 1024 * 1024  # of an answer; a status of ten thousand routes has some 6 MiB
_LONGEST: Final = 2_000  # characters of one line that is shown
_AT_ONCE: Final = 64 * 1024  # octets
_INTERVAL: Final = 0.1  # seconds between two questions


class TooMuch(OSError):
    """An answer of more than MAX_OCTETS, which no proxy's is."""

    def __init__(self) -> None:
        super().__init__(None, f"what answers there says more than {MAX_OCTETS >> 20} MiB")


class _Bounded(socket.socket):
    """One deadline over everything that is read, and a bound on how much that is: a socket's own timeout begins anew with
    each octet, and whoever sits on the port may send one a second.
    """

    deadline: float
    left = MAX_OCTETS

    def recv_into(self, *buffer: Any) -> int:  # what makefile's readers call
        self.settimeout(max(self.deadline - monotonic(), 0.001))
        read = super().recv_into(*buffer)
        self.left -= read
        if self.left < 0:
            raise TooMuch
        return read


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: Address, timeout: float) -> None:
        host = "localhost" if isinstance(address, UnixAddress) else address.host
        super().__init__(host, None if isinstance(address, UnixAddress) else address.port, timeout=timeout)
        self._address = address
        self._deadline = monotonic() + timeout

    def connect(self) -> None:
        if isinstance(self._address, UnixAddress):
            self.sock = bounded = _Bounded(socket.AF_UNIX)
            bounded.settimeout(self.timeout)
            bounded.connect(self._address.path)
        else:
            self.sock = bounded = _connected(self.host, self.port, self._deadline)
        bounded.deadline = self._deadline


def _connected(host: str, port: int, deadline: float) -> _Bounded:
    """By the first of the name's addresses that answers, within one deadline for the look-up and all of them."""
    failed: OSError = TimeoutError(errno.ETIMEDOUT, "timed out")
    for family, address in _addresses(host, port, deadline):
        left = deadline - monotonic()
        if left <= 0:
            break
        bounded = _Bounded(family)
        try:
            bounded.settimeout(left)
            bounded.connect(address)
        except OSError as error:
            bounded.close()
            failed = error
            continue
        return bounded
    raise failed


def _addresses(host: str, port: int, deadline: float) -> list[tuple[int, Any]]:
    """A resolver whose server is silent takes its own time, which nothing shortens: it is left to itself."""
    answers: list[list[tuple[int, Any]] | OSError] = []

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.append([(family, address) for family, _, _, _, address in found])
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(max(deadline - monotonic(), 0.0))
    if not answers:
        raise TimeoutError(errno.ETIMEDOUT, f"the name {host} was not looked up in time")
    if isinstance(answers[0], OSError):
        raise answers[0]
    return answers[0]


def ask(address: Address, path: str, timeout: float = PATIENCE) -> tuple[int, str]:
    """Status and body, within `timeout` seconds for all of it. OSError and http.client.HTTPException where there is no
    answer.
    """
    connection = _Connection(address, timeout)
    try:
        # By whatever name it is reached: this one is always the listener's own.
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, b"".join(_read(answer)).decode("utf-8", "replace")
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """In pieces: for a whole one, room is made of the length that it claims."""
    while piece := answer.read1(_AT_ONCE):
        yield piece
    if answer.length:
        raise http.client.HTTPException(f"its answer ends {answer.length} octets early")


def probe(address: Address, what: str, patience: float = PATIENCE) -> str | None:
    """None where all is well, else what is not. `what`: startup, readiness, liveness."""
    try:
        status, body = ask(address, f"/{what}", patience)
    except (OSError, http.client.HTTPException) as error:
        return _nobody(address, error)
    return None if status == 200 else f"{address}: {status}: {_shown(body.strip())}"


def wait(
    address: Address,
    limit: float,
    *,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], None] = sleep,
) -> list[str]:
    """Until it is ready: nothing; or, after `limit` seconds, what is missing."""
    deadline = clock() + limit
    while True:
        left = deadline - clock()
        try:
            # Once at least, however short the limit.
            status, body = ask(address, "/api/status", max(min(left, PATIENCE), _INTERVAL))
            if status != 200:
                lacking = [f"{address}: {status}: {_shown(body.strip())}"]
            else:
                told = json.loads(body)
                if told["ready"] is True:
                    return []
                lacking = list(missing(told))
        except (OSError, http.client.HTTPException) as error:
            lacking = [_nobody(address, error)]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            lacking = [f"{address}: whoever answers there is no idtoken-proxy"]
        if deadline - clock() <= 0:
            return lacking
        pause(min(_INTERVAL, max(deadline - clock(), 0.0)))


def missing(status: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a proxy from being ready, by its /api/status, or by that of whoever has its port."""
    return (_shown(line) for line in _lacking(status))


def _lacking(status: Mapping[str, Any]) -> Iterator[str]:
    if status["state"] in ("draining", "stopped"):
        yield f"it is {status['state']}"
    for route in status["routes"]:
        token = route.get("token")
        if token is None or token["valid"]:
            continue
        error = token["error"]
        if error is None:
            yield f'route "{route["name"]}": its token is still being fetched ({token["source"]})'
        else:
            yield f'route "{route["name"]}": {error["detail"]}'
            if error["remedy"] is not None:
                yield f"  {error['remedy']}"


def _nobody(address: Address, error: Exception) -> str:
    cause = (
        error.strerror
        if isinstance(error, OSError) and error.strerror
        else str(error) or type(error).__name__
    )
    return f"nobody answers at {address}: {_shown(cause)}"


def _shown(body: str) -> str:
    text = printable(body.rstrip())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
