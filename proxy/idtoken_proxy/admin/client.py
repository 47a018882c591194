"""`wait` and `probe`: a running proxy's admin listener, asked from outside, in images without a shell or curl.

http.client, since importing aiohttp would take longer than all the rest of a probe.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from time import monotonic, sleep
from typing import Any, Final

from idtoken_proxy.settings.model import Address, UnixAddress

PATIENCE: Final = 5.0  # seconds for an answer
_INTERVAL: Final = 0.1  # seconds between two questions


class _OverUnix(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(address: Address, path: str, timeout: float = PATIENCE) -> tuple[int, str]:
    """Status and body. OSError and http.client.HTTPException where there is no answer."""
    if isinstance(address, UnixAddress):
        connection: http.client.HTTPConnection = _OverUnix(address.path, timeout)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout)
    try:
        # By whatever name it is reached: this one is always the listener's own.
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def probe(address: Address, what: str) -> str | None:
    """None where all is well, else what is not. `what`: startup, readiness, liveness."""
    try:
        status, body = ask(address, f"/{what}")
    except (OSError, http.client.HTTPException) as error:
        return _nobody(address, error)
    return None if status == 200 else f"{address}: {status}: {body.strip()}"


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
                lacking = [f"{address}: {status}: {body.strip()}"]
            else:
                told = json.loads(body)
                if told["ready"]:
                    return []
                lacking = list(missing(told))
        except (OSError, http.client.HTTPException) as error:
            lacking = [_nobody(address, error)]
        except (ValueError, LookupError, TypeError):
            lacking = [f"{address}: whoever answers there is no idtoken-proxy"]
        if deadline - clock() <= 0:
            return lacking
        pause(min(_INTERVAL, max(deadline - clock(), 0.0)))


def missing(status: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a proxy from being ready, by its /api/status."""
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
    return f"nobody answers at {address}: {cause}"
