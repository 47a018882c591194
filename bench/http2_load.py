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
GRACE = 60  # seconds beyond those of a run: many bodies through a slow target
UNIQUE = 200_000  # more than any run makes in its time


@dataclass(frozen=True)
class Shape:
    """`streams` at a time on each of the connections. `post`: the file that is each request's body; None: GET."""

    connections: int = 1
    streams: int = 1
    path: str = CALL
    post: Path | None = None
    uris: Path | None = None  # in place of the path


@dataclass(frozen=True)
class Until:
    """When a run ends: after so many requests, else after whole seconds, when those under way are cut off."""

    requests: int | None = None
    seconds: float = 1
    opening: float = 0  # seconds before them, in which connections are opened and nothing counts

    @property
    def option(self) -> str:
        return f"--duration={self.whole}" if self.requests is None else f"--requests={self.requests}"

    @property
    def whole(self) -> int:
        """h2load knows no other."""
        return max(1, round(self.seconds))


def command(port: int, shape: Shape, until: Until, *, scheme: str = "http") -> list[str]:
    base = f"{scheme}://127.0.0.1:{port}"
    target = (
        [base + shape.path] if shape.uris is None else [f"--base-uri={base}", f"--input-file={shape.uris}"]
    )
    return [
        str(find("h2load") or "h2load"),
        until.option,
        *([f"--warm-up-time={round(until.opening)}"] if until.opening else ()),
        f"--clients={shape.connections}",
        f"--max-concurrent-streams={shape.streams}",
        *(f"--header={field}" for field in FIELDS),
        *([f"--data={shape.post}"] if shape.post is not None else ()),
        *target,
    ]


def run(port: int, shape: Shape, until: Until, *, cores: frozenset[int]) -> Http2Load:
    """Raises StartError, H2loadError."""
    return parse(
        output_of(command(port, shape, until), cores=cores, timeout=until.opening + until.whole + GRACE)
    )


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
    once = command(port, Shape(), Until(requests=1), scheme=scheme)
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
