from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import pytest

from bench import http2_load, load, scenarios
from bench.bars import BUILDS
from bench.bulk import BulkError
from bench.h2load_output import Http2Load
from bench.http2_load import Shape, Until
from bench.processes import Cores, running
from bench.receiver import BODY, REPLY, Receiver, parse_requests
from bench.scenarios import SCENARIOS, Range, settled_http2_calls, settled_requests
from bench.targets import (
    MOST_CONNECTIONS,
    Envoy,
    Haproxy,
    IdTokenProxy,
    Instance,
    Nginx,
    Setup,
    Variant,
    all_targets,
)
from bench.wrk_output import Load
from tests.cases import for_each

CORES = Cores(frozenset({0}), frozenset({1}))
PORTS = {"http": 4001, "https": 4002, "h2c": 4003, "h2": 4004}


def setup(directory: Path, **changes: Any) -> Setup:
    return Setup(directory, 4000, "http", Receiver(PORTS, directory / "ca.pem"), 4005, **changes)


def test_names_are_scenarios_own() -> None:
    assert all(name == scenario.name for name, scenario in SCENARIOS.items())
    assert {"http-1-core", "https-1-core", "routes", "connections", "connections-h2c", "instances"} <= set(
        SCENARIOS
    )


def test_a_thousand_routes_one_prefixed_and_one_for_everything_are_rows_of_this_proxy_s_builds() -> None:
    rows = SCENARIOS["routes"].rows(list(all_targets().values()))
    assert [name for name in rows if name.startswith("compiled, ")] == [
        "compiled, one prefixed route",
        "compiled, 1,000 routes",
        "compiled, one for everything",
    ]
    assert {target.name for target, _ in rows.values()} < set(BUILDS)
    assert {variant.routes for _, variant in rows.values()} == {1, 1000, 0}


def test_connections_are_rows_of_every_target() -> None:
    targets = [IdTokenProxy(), Nginx()]
    for name in ("connections", "connections-h2c"):
        rows = SCENARIOS[name].rows(targets)
        assert [(target.name, variant.connections) for target, variant in rows.values()] == [
            (target.name, count) for target in targets for count in (50, 256, 5000)
        ]
        assert "nginx, 5,000 connections" in rows


def test_pairs_are_of_one_target_or_of_one_variant() -> None:
    scenario = SCENARIOS["instances"]
    rows = scenario.rows([IdTokenProxy(), Envoy(), Nginx()])
    assert scenario.pairs(rows) == [
        ("idtoken-proxy, 2 instances", "idtoken-proxy, 1 instance"),
        ("envoy, 2 instances", "envoy, 1 instance"),
        ("nginx, 2 instances", "nginx, 1 instance"),
        ("idtoken-proxy, 1 instance", "envoy, 1 instance"),
        ("idtoken-proxy, 2 instances", "envoy, 2 instances"),
        ("idtoken-proxy, 1 instance", "nginx, 1 instance"),
        ("idtoken-proxy, 2 instances", "nginx, 2 instances"),
    ]


@for_each(
    ("layout", "proxy", "rest"),
    [("apart", {0}, {1}), ("one core", {0}, {0}), ("all cores", {0, 1}, {0, 1})],
)
def test_cores_are_laid_out_as_the_scenario_wants_them(layout: Any, proxy: set[int], rest: set[int]) -> None:
    laid = CORES.laid_out(layout)
    assert (set(laid.proxy), set(laid.load)) == (proxy, rest)


def test_every_peer_has_as_many_workers_as_there_are_instances(tmp_path: Path) -> None:
    two = setup(tmp_path, instances=2)
    assert Envoy().command(Path("envoy"), two)[3:5] == ["--concurrency", "2"]
    Nginx().command(Path("nginx"), two)
    nginx = (tmp_path / "nginx.conf").read_text()
    assert "worker_processes 2;" in nginx
    assert "master_process on;" in nginx
    assert "listen 127.0.0.1:4000 reuseport;" in nginx
    Haproxy().command(Path("haproxy"), two)
    assert "nbthread 2" in (tmp_path / "haproxy.cfg").read_text()


def test_this_proxy_shares_its_port_where_there_are_two_and_otherwise_not(tmp_path: Path) -> None:
    IdTokenProxy().command(Path("p"), setup(tmp_path, instances=2))
    assert "reuse_port: true" in (tmp_path / "proxy.yaml").read_text()
    command = IdTokenProxy().command(Path("p"), setup(tmp_path))
    assert command[:2] == ["p", "serve"]
    assert "reuse_port" not in (tmp_path / "proxy.yaml").read_text()


def test_two_instances_are_two_processes_and_end_as_one(tmp_path: Path) -> None:
    """So that a scenario whose second instance has died is no measurement."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $$ >> {tmp_path / 'pids'}\nexec sleep 60\n")
    program.chmod(0o755)
    command = IdTokenProxy().command(program, setup(tmp_path, instances=2))
    with running(command, cores=frozenset(os.sched_getaffinity(0)), log=tmp_path / "log") as process:
        pids = tmp_path / "pids"
        end = time.monotonic() + 20
        while not pids.exists() or len(pids.read_text().split()) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        first, second = map(int, pids.read_text().split())
        assert first != second
        os.kill(first, signal.SIGKILL)
        assert process.wait(20) != 0


def test_a_target_takes_the_connections_that_the_load_opens(tmp_path: Path) -> None:
    many = setup(tmp_path, most_connections=7500)
    IdTokenProxy().command(Path("p"), many)
    assert "limits: {connections: 7500}" in (tmp_path / "proxy.yaml").read_text()
    Nginx().command(Path("nginx"), many)
    assert "worker_connections 15000;" in (tmp_path / "nginx.conf").read_text()
    Envoy().command(Path("envoy"), many)
    clusters = json.loads((tmp_path / "envoy.json").read_text())["static_resources"]["clusters"]
    assert clusters[0]["circuit_breakers"]["thresholds"][0]["max_connections"] > 7500
    assert setup(tmp_path).most_connections == MOST_CONNECTIONS


def test_a_python_with_pgo_runs_what_is_installed_for_this_one(tmp_path: Path) -> None:
    proxy = IdTokenProxy("pgo", packages=tmp_path)
    assert proxy.executable() is None  # there is nothing in it
    assert proxy.command(Path("/usr/bin/python3"), setup(tmp_path))[:4] == [
        "/usr/bin/python3",
        "-m",
        "idtoken_proxy",
        "serve",
    ]
    path = proxy.environment(setup(tmp_path))["PYTHONPATH"].split(os.pathsep)
    assert path[0] == str(tmp_path)
    assert any(one.endswith("site-packages") for one in path[1:])


def test_settled_requests_are_those_that_the_receiver_had_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the load's own run, which has the connections' opening in it, there are the latencies and the faults alone."""
    cpu, counts = iter([10.0, 10.5]), iter([1000, 6001])
    monkeypatch.setattr(scenarios, "cpu_seconds", lambda _: next(cpu))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(Receiver, "requests", lambda _: next(counts))
    asked: dict[str, Any] = {}

    def run(_: int, **options: Any) -> Load:
        asked.update(options)
        return Load(8e6, 9999, 9999 * (BODY + 500), 40, 90, 0, 0, 0, 0, 0)

    monkeypatch.setattr(load, "run", run)
    where = Range(tmp_path, CORES, Receiver(PORTS, tmp_path / "ca.pem"), 4005, 2, "metadata")
    log = tmp_path / "log"
    instance = Instance(
        *(IdTokenProxy(), 1, 4000, 0.1, log, cast("subprocess.Popen[bytes]", None)),
        variant=Variant(connections=5000),
    )
    sample = settled_requests()(where, instance)
    assert sample.errors == ()
    assert sample.values["cpu"] == pytest.approx(100)  # 0.5 s for 5,000: the second count is one of ours
    assert (sample.values["p50"], sample.values["p99"]) == (40, 90)
    assert asked["connections"] == 5000
    assert asked["seconds"] == 1 + 5 + 2 + 1


def test_settled_calls_cost_the_share_of_a_core_that_they_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By h2load's own count, which leaves its warm-up out, where its duration does not."""
    cpu, clock = iter([10.0, 11.0]), iter([100.0, 102.0])
    monkeypatch.setattr(scenarios, "cpu_seconds", lambda _: next(cpu))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    asked: list[Until] = []

    def run(_: int, shape: Shape, until: Until, **__: object) -> Http2Load:
        assert (shape.connections, shape.streams) == (5000, 1)
        asked.append(until)
        return Http2Load("h2c", 9e6, 30_000, 35_000, 30_000, 0, 0, 0, 0, 50_000 * REPLY, 900)

    monkeypatch.setattr(http2_load, "run", run)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    where = Range(tmp_path, CORES, Receiver(PORTS, tmp_path / "ca.pem"), 4005, 2, "metadata")
    log = tmp_path / "log"
    instance = Instance(
        *(IdTokenProxy(), 1, 4000, 0.1, log, cast("subprocess.Popen[bytes]", None)),
        variant=Variant(connections=5000),
    )
    sample = settled_http2_calls()(where, instance)
    assert sample.errors == ()
    assert sample.values == pytest.approx({"rps": 10_000, "cpu": 50, "mean": 900, "busy": 50})
    assert asked == [Until(seconds=3, opening=6)]
    assert "--warm-up-time=6" in http2_load.command(4000, Shape(5000), asked[0])


def test_the_receiver_says_how_many_requests_it_had() -> None:
    told = b"Active connections: 2 \nserver accepts handled requests\n 7 7 1234 \nReading: 0 Writing: 1 Waiting: 1 \n"
    assert parse_requests(told) == 1234
    with pytest.raises(BulkError, match="no status"):
        parse_requests(b"no such page")
