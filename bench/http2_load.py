"""Calls as gRPC makes them, and large bodies, by HTTP/2: h2load in a closed loop.

h2load sends the same head again and again, as a client's stub does with its method. Where heads are to differ, it
takes its URIs from a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.h2load_output import H2loadError, Http2Load, faults, parse
from bench.processes import StartError, find, output_of

INSTALL = "apt-get install nghttp2-client"
CALL = "/bench.Users/GetUser"
MESSAGE = 64  # bytes of a call's message, its five of framing included
FIELDS = ("content-type: application/grpc", "te: trailers", "user-agent: grpc-python/1.66.0 grpc-c/43.0.0")
UNIQUE = 200_000  # more than any run makes in its time


@dataclass(frozen=True)
class Shape:
    """`streams` at a time on each of the connections. `post`: the file that is each request's body; None: GET."""

    connections: int = 1
    streams: int = 1
    path: str = CALL
    post: Path | None = None
    uris: Path | None = None  # in place of the path


def command(port: int, shape: Shape, *, scheme: str = "http", seconds: float | None) -> list[str]:
    """`seconds`: None for one request and no more. h2load knows whole seconds only."""
    base = f"{scheme}://127.0.0.1:{port}"
    run = ["--requests=1"] if seconds is None else [f"--duration={_whole(seconds)}"]
    target = (
        [base + shape.path] if shape.uris is None else [f"--base-uri={base}", f"--input-file={shape.uris}"]
    )
    return [
        str(find("h2load") or "h2load"),
        *run,
        f"--clients={shape.connections}",
        f"--max-concurrent-streams={shape.streams}",
        *(f"--header={field}" for field in FIELDS),
        *([f"--data={shape.post}"] if shape.post is not None else ()),
        *target,
    ]


def run(port: int, shape: Shape, *, seconds: float, cores: frozenset[int]) -> Http2Load:
    """Raises StartError, H2loadError."""
    return parse(output_of(command(port, shape, seconds=seconds), cores=cores, timeout=_whole(seconds) + 20))


def probe(
    port: int,
    *,
    cores: frozenset[int],
    within: float,
    length: int,
    scheme: str = "http",
    alive: Callable[[], bool] = lambda: True,
) -> float:
    """Calls until the answer is the one that is due; returns the clock's reading at that moment. StartError after
    `within` seconds, or as soon as `alive` says that there is nobody to wait for.
    """
    once = command(port, Shape(), scheme=scheme, seconds=None)
    end = time.perf_counter() + within
    last = ""
    while time.perf_counter() < end:
        try:
            load = parse(output_of(once, cores=cores, timeout=within))
            last = "; ".join(faults(load, protocol="h2c" if scheme == "http" else "h2", body=length))
        except (H2loadError, StartError) as error:
            last = str(error)
        if not last:
            return time.perf_counter()
        if not alive():
            raise StartError("the process has ended")
        time.sleep(0.02)
    raise StartError(f"no good answer within {within:.0f} s: {last}")


def write_message(directory: Path) -> Path:
    path = directory / "message"
    if not path.exists():
        path.write_bytes(b"\0" + (MESSAGE - 5).to_bytes(4, "big") + b"x" * (MESSAGE - 5))
    return path


def write_uris(directory: Path, count: int = UNIQUE) -> Path:
    """One call a line, no two alike."""
    path = directory / "uris"
    if not path.exists():
        with path.open("w") as file:
            file.writelines(f"http://127.0.0.1{CALL}?id={number:08x}5e9d21f4\n" for number in range(count))
    return path


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
