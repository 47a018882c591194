from __future__ import annotations

import dataclasses

import pytest

from bench.wrk_output import Load, WrkError, faults, parse
from tests.cases import for_each

LINE = (
    'bench-load {"duration": 2000000, "requests": 50000, "received": 70000000, "p50": 1215.0, "p99": 2428.0, '
    '"connect_errors": 0, "read_errors": 0, "write_errors": 0, "timeouts": 0, "bad_statuses": 0}'
)
OUTPUT = f"""\
Running 2s test @ http://127.0.0.1:40001/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.25ms  310.10us   4.43ms   80.10%
Requests/sec:  25000.00
{LINE}
"""
GOOD = Load(2e6, 50_000, 70_000_000, 1215, 2428, 0, 0, 0, 0, 0)


def test_the_line_of_the_script_is_read() -> None:
    assert parse(OUTPUT) == GOOD
    assert GOOD.per_second == 25_000


@for_each(
    "output",
    [
        "",
        "unable to connect to 127.0.0.1:40001 Connection refused",
        f"{LINE}\n{LINE}",
        LINE[:-20],
        LINE.replace('"p50"', '"p51"'),
        LINE.replace("2000000", "0"),
    ],
)
def test_anything_else_is_an_error(output: str) -> None:
    with pytest.raises(WrkError):
        parse(output)


def test_a_clean_run_has_no_faults() -> None:
    assert faults(GOOD, body=1024) == ()


@for_each("field", ["connect_errors", "read_errors", "write_errors", "timeouts", "bad_statuses"])
def test_every_kind_of_error_is_named(field: str) -> None:
    (fault,) = faults(dataclasses.replace(GOOD, **{field: 3}), body=1024)
    assert fault.startswith("3 ")


@for_each(("mean", "clean"), [(1024, False), (1025, True), (3071, True), (3072, False)])
def test_the_mean_size_tells_a_body_that_is_not_the_one_due(mean: int, clean: bool) -> None:  # noqa: FBT001
    load = dataclasses.replace(GOOD, requests=1000, received=1000 * mean)
    assert (faults(load, body=1024) == ()) is clean


def test_a_run_without_a_response_is_at_fault() -> None:
    assert faults(dataclasses.replace(GOOD, requests=0, received=0), body=1024) == ("no response at all",)
