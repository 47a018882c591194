"""What a run of wrk with load.lua printed."""

from __future__ import annotations

import json
from dataclasses import dataclass

MARK = "bench-load "  # load.lua puts it before its line of JSON


class WrkError(Exception):
    """wrk did not print a result."""


@dataclass(frozen=True)
class Load:
    """Times in microseconds."""

    duration: float
    requests: int
    received: int  # bytes, heads included
    p50: float
    p99: float
    connect_errors: int
    read_errors: int
    write_errors: int
    timeouts: int
    bad_statuses: int

    @property
    def per_second(self) -> float:
        return self.requests / (self.duration / 1e6)


def parse(output: str) -> Load:
    """Raises WrkError where the result's line is missing or malformed."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if len(lines) != 1:
        raise WrkError(f"expected one result of wrk, found {len(lines)}: {output.strip()[-400:]!r}")
    try:
        load = Load(**json.loads(lines[0].removeprefix(MARK)))
    except (TypeError, ValueError) as error:
        raise WrkError(f"a malformed result of wrk: {lines[0]!r}") from error
    if load.duration <= 0:
        raise WrkError(f"a run of wrk without a duration: {lines[0]!r}")
    return load


def faults(load: Load, *, body: int, largest_head: int = 2048) -> tuple[str, ...]:
    """Why this run does not count. `body` is the length each response must have; wrk adds up whole responses, and
    of those cut off at its end what had arrived, so that the mean tells a short or a swollen body.
    """
    found = [
        f"{count} {what}"
        for count, what in (
            (load.connect_errors, "connect errors"),
            (load.read_errors, "read errors"),
            (load.write_errors, "write errors"),
            (load.timeouts, "timeouts"),
            (load.bad_statuses, "responses of status 400 or above"),
        )
        if count
    ]
    if not load.requests:
        found.append("no response at all")
    elif not body < load.received / load.requests < body + largest_head:
        found.append(
            f"{load.received / load.requests:.0f} bytes a response, where {body} and a head were due"
        )
    return tuple(found)
