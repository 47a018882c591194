from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.h2load_output import H2loadError, Http2Load, faults, parse
from tests.cases import for_each

OUTPUT = """\
starting benchmark...
spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.
Warm-up started for thread #0.
progress: 25% of clients started
Warm-up phase is over for thread #0.
Main benchmark duration is started for thread #0.
Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 1.00s, 42475.00 req/s, 6.77MB/s
requests: 42475 total, 42575 started, 42475 done, 42475 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 42475 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 6.77MB (7093989) total, 456.71KB (467673) headers (space savings 93.64%), 5.18MB (5436800) data
                     min         max         mean         sd        +/- sd
time for request:      171us     14.15ms      2.21ms      1.72ms    71.83%
time for connect:       78us       239us       165us        72us    50.00%
time to 1st byte:     2.00ms      3.89ms      3.02ms       973us    75.00%
req/s           :   10449.82    10725.20    10593.65      119.75    50.00%
"""
GOOD = Http2Load("h2c", 1e6, 42_475, 42_575, 42_475, 0, 0, 0, 0, 5_436_800, 2210)

# Nobody listened: h2load itself ends with 0.
REFUSED = """\
starting benchmark...
spawning thread #0: 1 total client(s). 1 total requests

finished in 403us, 0.00 req/s, 0B/s
requests: 1 total, 0 started, 0 done, 0 succeeded, 1 failed, 1 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 0B (0) total, 0B (0) headers (space savings 0.00%), 0B (0) data
                     min         max         mean         sd        +/- sd
time for request:        0us         0us         0us         0us     0.00%
"""


def test_the_result_is_read() -> None:
    assert parse(OUTPUT) == GOOD
    assert GOOD.per_second == 42_475


def test_times_come_in_three_units() -> None:
    load = parse(OUTPUT.replace("finished in 1.00s", "finished in 868us").replace("2.21ms", "1.50s"))
    assert (load.duration, load.mean) == (868, 1.5e6)


@for_each(
    "output",
    [
        "",
        "unrecognized option",
        OUTPUT + OUTPUT,
        OUTPUT.replace("requests: 42475 total", "requests: many"),
        OUTPUT.replace("status codes", "codes"),
        OUTPUT.replace("traffic", "bytes"),
        OUTPUT.replace("time for request", "time"),
        OUTPUT.replace("finished in 1.00s", "finished in 0us"),
    ],
)
def test_anything_else_is_an_error(output: str) -> None:
    with pytest.raises(H2loadError):
        parse(output)


def test_a_clean_run_has_no_faults() -> None:
    assert faults(GOOD, protocol="h2c", body=128) == ()


@for_each("field", ["failed", "errored", "timeouts", "not_2xx"])
def test_every_kind_of_error_is_named(field: str) -> None:
    wrong: dict[str, Any] = {field: 3}
    (fault,) = faults(dataclasses.replace(GOOD, **wrong), protocol="h2c", body=128)
    assert fault.startswith("3 ")


def test_redirects_and_errors_are_no_answers() -> None:
    statuses = "status codes: 42000 2xx, 1 3xx, 20 4xx, 300 5xx"
    assert parse(OUTPUT.replace("status codes: 42475 2xx, 0 3xx, 0 4xx, 0 5xx", statuses)).not_2xx == 321


def test_another_protocol_is_a_fault() -> None:
    (fault,) = faults(GOOD, protocol="h2", body=128)
    assert fault == "h2c was spoken, where h2 was due"


@for_each(
    ("data", "clean"), [(127_999, False), (128_000, True), (128_000 + 1280, True), (128_000 + 1281, False)]
)
def test_bodies_are_whole_but_for_those_under_way_at_the_end(data: int, clean: bool) -> None:  # noqa: FBT001
    load = dataclasses.replace(GOOD, requests=1000, started=1010, data=data)
    assert (faults(load, protocol="h2c", body=128) == ()) is clean


def test_the_octets_of_a_warm_up_are_no_fault_and_too_few_still_are() -> None:
    load = dataclasses.replace(GOOD, requests=1000, started=1010, data=300_000)
    assert faults(load, protocol="h2c", body=128, warmed=True) == ()
    short = dataclasses.replace(load, data=127_999)
    assert len(faults(short, protocol="h2c", body=128, warmed=True)) == 1


def test_where_nobody_listens_there_is_no_response() -> None:
    assert faults(parse(REFUSED), protocol="h2c", body=128) == (
        "1 failed requests",
        "1 requests that ended in an error",
        "no response at all",
    )
