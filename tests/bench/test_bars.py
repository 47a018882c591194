from __future__ import annotations

import pytest

from bench.bars import BARS, COMPILED, MANY_ROUTES, ONE_ROUTE, OURS, Bar, judge, row
from bench.stats import Sample, Samples
from tests.cases import for_each

RATE = Bar("rate", "http", "rps", "at least", 1.3, "envoy")
DELAY = Bar("delay", "http", "p50", "at most", 0.75, "envoy")
IDLE = Bar("idle", "memory", "idle", "at most", 60, unit="MB")


def measured(**ours_and_envoy: tuple[float, float]) -> dict[str, Samples]:
    pairs = ours_and_envoy.items()
    return {
        "http": {
            OURS: [Sample({name: ours for name, (ours, _) in pairs})],
            "envoy": [Sample({name: envoy for name, (_, envoy) in pairs})],
        }
    }


@for_each(("ours", "margin"), [(1300, 0), (1950, 0.5), (650, -0.5)])
def test_a_bar_from_below(ours: float, margin: float) -> None:
    (verdict,) = judge(measured(rps=(ours, 1000)), (RATE,))
    assert verdict.margin == pytest.approx(margin)


@for_each(("ours", "margin"), [(75, 0), (37.5, 0.5), (112.5, -0.5)])
def test_a_bar_from_above(ours: float, margin: float) -> None:
    (verdict,) = judge(measured(p50=(ours, 100)), (DELAY,))
    assert verdict.margin == pytest.approx(margin)


def test_a_bar_on_the_figure_itself() -> None:
    (verdict,) = judge({"memory": {OURS: [Sample({"idle": 45})]}}, (IDLE,))
    assert verdict.margin == pytest.approx(0.25)


def test_what_is_missing_is_not_judged() -> None:
    only_ours: dict[str, Samples] = {"http": {OURS: [Sample({"rps": 1})]}}
    assert [verdict.margin for verdict in judge(only_ours, (RATE, DELAY, IDLE))] == [None, None, None]


def test_a_thousand_routes_are_judged_against_one() -> None:
    one, many = row(COMPILED, ONE_ROUTE), row(COMPILED, MANY_ROUTES)
    (bar,) = (bar for bar in BARS if bar.scenario == "routes" and bar.ours == many)
    (verdict,) = judge({"routes": {one: [Sample({"rps": 1000})], many: [Sample({"rps": 980})]}}, (bar,))
    assert verdict.margin == pytest.approx(0)


def test_two_instances_are_judged_against_one_and_against_envoy_s_two_threads() -> None:
    bars = tuple(bar for bar in BARS if bar.scenario == "instances" and bar.ours == f"{OURS}, 2 instances")
    samples = {
        f"{OURS}, 1 instance": [Sample({"cpu": 10, "rps": 10})],
        f"{OURS}, 2 instances": [Sample({"cpu": 11, "rps": 15})],
        "envoy, 2 instances": [Sample({"cpu": 30, "rps": 10})],
    }
    assert [verdict.margin for verdict in judge({"instances": samples}, bars)] == [
        pytest.approx(0),
        pytest.approx(0.5),
    ]


def test_five_thousand_connections_are_judged_against_fifty() -> None:
    (bar,) = (bar for bar in BARS if bar.scenario == "connections" and bar.ours.startswith(f"{OURS}, "))
    samples = {
        f"{OURS}, 50 connections": [Sample({"cpu": 20})],
        f"{OURS}, 5,000 connections": [Sample({"cpu": 35})],
    }
    (verdict,) = judge({"connections": samples}, (bar,))
    assert verdict.margin == pytest.approx(-0.25)
