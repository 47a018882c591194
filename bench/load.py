"""Many small requests: wrk in a closed loop."""

from __future__ import annotations

from pathlib import Path

from bench.processes import find, output_of
from bench.wrk_output import Load, parse

SCRIPT = Path(__file__).with_name("load.lua")
INSTALL = "apt-get install wrk"
TIMEOUT = 5


def command(
    port: int,
    *,
    connections: int,
    seconds: float,
    routes: int,
    tokens: Path | None = None,
    timeout: int = TIMEOUT,
) -> list[str]:
    """`tokens`: a file with the callers', a line each, which requests carry in turn. `routes`: how many routes the requests go
    to in turn; 0: no prefix at all. `timeout`: seconds, beyond which a request counts as failed. wrk knows whole seconds only.
    """
    return [
        str(find("wrk") or "wrk"),
        "--threads=1",
        f"--connections={connections}",
        f"--duration={_whole(seconds)}s",
        f"--timeout={timeout}s",
        "--latency",
        f"--script={SCRIPT}",
        f"http://127.0.0.1:{port}/",
        "--",
        str(routes),
        *([] if tokens is None else [str(tokens)]),
    ]


def run(
    port: int,
    *,
    connections: int,
    seconds: float,
    routes: int,
    cores: frozenset[int],
    tokens: Path | None = None,
    timeout: int = TIMEOUT,
) -> Load:
    """Raises StartError, WrkError."""
    wrk = command(
        port, connections=connections, seconds=seconds, routes=routes, tokens=tokens, timeout=timeout
    )
    return parse(output_of(wrk, cores=cores, timeout=_whole(seconds) + 20))


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
