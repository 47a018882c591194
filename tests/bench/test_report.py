from __future__ import annotations

from bench.bars import OURS, Bar, Verdict
from bench.report import (
    Column,
    bars_table,
    flagged,
    number,
    pairs_table,
    scenario_table,
    spread,
    table,
    unloaded,
)
from bench.stats import Sample, Summary


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(["target", "ms"], [["a", "1,000"], ["nginx-light", "2"]]) == (
        "| target      |    ms |\n| ----------- | ----: |\n| a           | 1,000 |\n| nginx-light |     2 |"
    )


def test_what_was_not_measured_is_a_dash() -> None:
    assert number(None) == "-"
    assert spread(None) == "-"


def test_figures() -> None:
    assert number(22400.4) == "22,400"
    assert number(3.14159, 2) == "3.14"
    assert spread(Summary(1.308, 1.27, 1.334, 7)) == "1.31 (1.27-1.33)"


def test_a_scenario_shows_medians_and_ours_against_each() -> None:
    samples = {
        OURS: [Sample({"rps": 2000, "p50": 10}), Sample({"rps": 1000, "p50": 20})],
        "envoy": [Sample({"rps": 1000, "p50": 30}), Sample(errors=("3 timeouts",))],
        "absent": [Sample(errors=("it said nothing",))] * 2,
    }
    columns = (Column("rps", "requests/s", compare=True), Column("p50", "p50 us", 1))
    assert scenario_table(samples, columns, ours=OURS) == (
        "| target        | requests/s | p50 us | rounds | requests/s: ours / it |\n"
        "| ------------- | ---------: | -----: | -----: | --------------------: |\n"
        "| idtoken-proxy |      1,500 |   15.0 |    2/2 |                       |\n"
        "| envoy         |      1,000 |   30.0 |    1/2 |      2.00 (2.00-2.00) |\n"
        "| absent        |          - |      - |    0/2 |                     - |"
    )


def test_without_ours_there_is_nothing_to_compare() -> None:
    shown = scenario_table(
        {"envoy": [Sample({"rps": 1})]}, (Column("rps", "requests/s", compare=True),), ours=OURS
    )
    assert "/ it" not in shown


def test_pairs_are_compared_within_a_round() -> None:
    samples = {
        "compiled, 50": [Sample({"cpu": 10, "rps": 3}), Sample({"cpu": 20, "rps": 3})],
        "compiled, 5,000": [Sample({"cpu": 14, "rps": 2}), Sample({"cpu": 30, "rps": 2})],
    }
    columns = (Column("cpu", "CPU", compare=True), Column("rps", "requests/s"))
    assert pairs_table(samples, columns, [("compiled, 5,000", "compiled, 50")]) == (
        "| within each round              |              CPU |\n"
        "| ------------------------------ | ---------------: |\n"
        "| compiled, 5,000 / compiled, 50 | 1.45 (1.40-1.50) |"
    )


def test_rounds_left_out_are_named_with_their_reason() -> None:
    bad = Sample({"rps": 9}, ("3 timeouts", "2 read errors"))
    samples = {"envoy": [bad, Sample({"rps": 1}), bad, Sample(errors=("no response at all",))]}
    assert flagged(samples) == [
        "left out: envoy, round 1, 3: 3 timeouts; 2 read errors",
        "left out: envoy, round 4: no response at all",
    ]


def test_a_target_with_time_to_spare_is_named() -> None:
    samples = {"nginx": [Sample({"busy": 70})], "envoy": [Sample({"busy": 99})], "other": [Sample({})]}
    (line,) = unloaded(samples)
    assert line.startswith("nginx was only 70% busy")


def test_bars_say_by_how_much() -> None:
    bar = Bar("requests per core", "http", "rps", "at least", 1.3, "envoy")
    verdicts = [
        Verdict(bar, Summary(1.43, 1.4, 1.5, 7)),
        Verdict(bar, Summary(0.65, 0.6, 0.7, 7)),
        Verdict(Bar("idle", "memory", "idle", "at most", 60, unit="MB"), None),
    ]
    rows = bars_table(verdicts).splitlines()[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["pass by 10.0%", "FAIL by 50.0%", "not measured"]
    assert "at least 1.3 x envoy" in rows[0]
    assert "at most 60 MB" in rows[2]
