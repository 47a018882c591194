"""What a run of h2load printed."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class H2loadError(Exception):
    """h2load did not print a result."""


@dataclass(frozen=True)
class Http2Load:
    """Times in microseconds. `data`: bytes of bodies, as DATA frames brought them."""

    protocol: str  # "h2c", "h2"; empty where no connection came about
    duration: float
    requests: int  # that came to their end
    started: int
    succeeded: int
    failed: int
    errored: int
    timeouts: int
    not_2xx: int
    data: int
    mean: float

    @property
    def per_second(self) -> float:
        return self.requests / (self.duration / 1e6)


_TIME = r"(\d+(?:\.\d+)?)(us|ms|s)"
_FINISHED = re.compile(rf"^finished in {_TIME},", re.MULTILINE)
_REQUESTS = re.compile(
    r"^requests: \d+ total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$",
    re.MULTILINE,
)
_STATUSES = re.compile(r"^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$", re.MULTILINE)
_DATA = re.compile(r"^traffic: .* \((\d+)\) data$", re.MULTILINE)
_MEAN = re.compile(rf"^time for request: +\S+ +\S+ +{_TIME} ", re.MULTILINE)
_PROTOCOL = re.compile(r"^Application protocol: (\S+)$", re.MULTILINE)


def parse(output: str) -> Http2Load:
    """Raises H2loadError where one of the result's lines is missing or malformed."""
    finished, requests, statuses = (_line(p, output) for p in (_FINISHED, _REQUESTS, _STATUSES))
    started, done, succeeded, failed, errored, timeouts = map(int, requests.groups())
    protocol = _PROTOCOL.search(output)
    load = Http2Load(
        protocol=protocol[1] if protocol else "",
        duration=_microseconds(finished),
        requests=done,
        started=started,
        succeeded=succeeded,
        failed=failed,
        errored=errored,
        timeouts=timeouts,
        not_2xx=sum(map(int, statuses.groups())),
        data=int(_line(_DATA, output)[1]),
        mean=_microseconds(_line(_MEAN, output)),
    )
    if load.duration <= 0:
        raise H2loadError(f"a run of h2load without a duration: {finished[0]!r}")
    return load


def _line(pattern: re.Pattern[str], output: str) -> re.Match[str]:
    found = list(pattern.finditer(output))
    if len(found) != 1:
        raise H2loadError(f"expected one result of h2load, found {len(found)}: {output.strip()[-400:]!r}")
    return found[0]


def _microseconds(found: re.Match[str]) -> float:
    return float(found[1]) * UNITS[found[2]]


def faults(load: Http2Load, *, protocol: str, body: int, warmed: bool = False) -> tuple[str, ...]:
    """Why this run does not count. `body` is the length each response must have; of requests that were under way
    when the time was over, all or nothing may have arrived. `warmed`: h2load counts the octets of its warm-up too, though not
    the requests.
    """
    found = [
        f"{count} {what}"
        for count, what in (
            (load.failed, "failed requests"),
            (load.errored, "requests that ended in an error"),
            (load.timeouts, "timeouts"),
            (load.not_2xx, "responses of another status than 2xx"),
        )
        if count
    ]
    if load.protocol and load.protocol != protocol:
        found.append(f"{load.protocol} was spoken, where {protocol} was due")
    if not load.requests:
        found.append("no response at all")
    elif load.data < load.requests * body or (
        not warmed and load.data > max(load.requests, load.started) * body
    ):
        found.append(f"{load.data / load.requests:.0f} bytes a body, where {body} were due")
    return tuple(found)
