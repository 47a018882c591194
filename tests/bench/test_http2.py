from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import cast

import pytest

from bench import __main__ as main
from bench import http2_load, scenarios, targets
from bench.bars import BARS
from bench.h2load_output import Http2Load
from bench.http2_load import CALL, MESSAGE, Shape, Until, command, write_message, write_uris
from bench.processes import Cores, StartError
from bench.receiver import LARGE, REPLY, Receiver, Witness
from bench.scenarios import SCENARIOS, Range
from bench.targets import Envoy, Haproxy, IdTokenProxy, Instance, Nginx, Setup, Target, all_targets
from tests.cases import for_each

BUILDS_HERE = ["idtoken-proxy", "compiled", "pgo", "compiled-pgo"]
CORES = Cores(frozenset({0}), frozenset({0}))
PORTS = {"http": 4001, "https": 4002, "h2c": 4003, "h2": 4004}


def setup(directory: Path, scheme: str) -> Setup:
    return Setup(directory, 4000, scheme, Receiver(PORTS, directory / "ca.pem"), 4005)


@for_each(
    ("scheme", "upstream", "secure", "http2"),
    [
        ("http", "http://127.0.0.1:4001", False, False),
        ("https", "https://127.0.0.1:4002", True, False),
        ("h2c", "http://127.0.0.1:4003", False, True),
        ("h2", "https://127.0.0.1:4004", True, True),
    ],
)
def test_what_a_scheme_stands_for(
    tmp_path: Path, scheme: str, upstream: str, *, secure: bool, http2: bool
) -> None:
    made = setup(tmp_path, scheme)
    assert (made.upstream, made.secure, made.http2) == (upstream, secure, http2)


@for_each(("scheme", "http2"), [("http", False), ("https", False), ("h2c", True), ("h2", True)])
def test_each_target_speaks_http2_where_the_scheme_says_so(
    tmp_path: Path, scheme: str, *, http2: bool
) -> None:
    made = setup(tmp_path, scheme)
    for target in (IdTokenProxy(), Envoy(), Nginx(), Haproxy()):
        target.command(Path(target.name), made)
    ours, nginx, haproxy = (
        (tmp_path / name).read_text() for name in ("proxy.yaml", "nginx.conf", "haproxy.cfg")
    )
    assert ("protocol: http2" in ours) is http2
    assert ("listen 127.0.0.1:4000 http2;" in nginx) is http2
    assert ("grpc_pass grpcs://receiver;" in nginx) is (scheme == "h2")
    assert ("grpc_pass grpc://receiver;" in nginx) is (scheme == "h2c")
    assert ("proxy_pass" in nginx) is not http2
    assert nginx.count("Authorization") == 1
    assert ("proto h2" in haproxy) is (scheme == "h2c")
    assert ("alpn h2" in haproxy) is (scheme == "h2")
    envoy = json.loads((tmp_path / "envoy.json").read_text())["static_resources"]["clusters"][0]
    assert ("typed_extension_protocol_options" in envoy) is http2
    assert ("h2" in json.dumps(envoy.get("transport_socket", {}))) is (scheme == "h2")


def test_one_that_speaks_no_http2_is_left_out_of_its_scenarios() -> None:
    chosen = list(all_targets().values())
    assert "cloud-run-proxy" in SCENARIOS["http"].rows(chosen)
    assert list(SCENARIOS["h2c"].rows(chosen)) == [*BUILDS_HERE, "envoy", "nginx", "haproxy"]


def test_every_bar_has_its_scenario_and_its_metric() -> None:
    for bar in BARS:
        assert bar.metric in {column.metric for column in SCENARIOS[bar.scenario].columns}


def test_calls_go_out_as_grpc_makes_them(tmp_path: Path) -> None:
    message = write_message(tmp_path)
    assert message.read_bytes()[:5] == b"\0\0\0\0" + bytes([MESSAGE - 5])
    assert message.stat().st_size == MESSAGE
    args = command(4000, Shape(4, 25, post=message), Until(seconds=1.6))[1:]
    assert args[:3] == ["--duration=2", "--clients=4", "--max-concurrent-streams=25"]
    assert "--header=content-type: application/grpc" in args
    assert args[-2:] == [f"--data={message}", f"http://127.0.0.1:4000{CALL}"]


def test_bodies_are_counted_and_a_download_has_none_of_its_own() -> None:
    args = command(4000, Shape(path="/large"), Until(requests=64), scheme="https")[1:]
    assert args[0] == "--requests=64"
    assert args[-1] == "https://127.0.0.1:4000/large"
    assert not any(arg.startswith("--data") for arg in args)


def test_no_two_unique_paths_are_alike(tmp_path: Path) -> None:
    uris = write_uris(tmp_path, 50)
    lines = uris.read_text().splitlines()
    assert len(set(lines)) == 50
    assert all(line.startswith(f"http://127.0.0.1{CALL}?") for line in lines)
    args = command(4000, Shape(1, 100, uris=uris), Until())
    assert args[-2:] == ["--base-uri=http://127.0.0.1:4000", f"--input-file={uris}"]


def answer(data: int = 1000 * REPLY) -> Http2Load:
    return Http2Load("h2c", 2e6, 1000, 1100, 1000, 0, 0, 0, 0, data, 900)


@for_each(
    ("scenario", "load", "values"),
    [
        ("h2c", answer(), {"rps": 500, "cpu": 1500, "mean": 900, "busy": 75}),
        ("upload-h2c", answer(), {"mb_s": 500 * LARGE / 1e6, "cpu": 1.5, "busy": 75}),
        ("download-h2", answer(data=1000 * LARGE), {"mb_s": 500 * LARGE / 1e6, "cpu": 1.5, "busy": 75}),
    ],
)
def test_a_measurement_is_the_target_s_processor_time_for_each_request(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scenario: str,
    load: Http2Load,
    values: dict[str, float],
) -> None:
    clock = iter([10.0, 11.5])
    monkeypatch.setattr(scenarios, "cpu_seconds", lambda _: next(clock))
    monkeypatch.setattr(http2_load, "run", lambda *_, **__: load)
    where = Range(tmp_path, CORES, Receiver(PORTS, tmp_path / "ca.pem"), 4005, 2, "metadata")
    instance = Instance(IdTokenProxy(), 1, 4000, 0.1, tmp_path / "log", cast("Popen[bytes]", None))
    sample = SCENARIOS[scenario].measure(where, instance)
    assert sample.errors == ()
    assert sample.values == pytest.approx(values)


def test_a_witness_counts_the_calls_that_brought_a_token(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "[id=1] [  0.313] recv (stream_id=1) :path: /bench.Users/GetUser\n"
        "[id=1] [  0.313] recv (stream_id=1, sensitive) authorization: Bearer aA0-.b_B.c9\n"
        "[id=2] [  0.400] recv (stream_id=1) authorization: Bearer d.e.f\n"
        "[id=2] [  0.401] recv (stream_id=3) authorization: Bearer nothing\n"
        "[id=2] [  0.402] recv (stream_id=5) x-serverless-authorization: Bearer d.e.f\n"
    )
    seen = Witness(4006, log)
    assert seen.tokens() == 2
    behind = Receiver(PORTS, tmp_path / "ca.pem", witnesses={"h2c": seen})
    assert behind.witnessed("h2c").ports == {"h2c": 4006}


@for_each(("heard", "refused"), [("authorization: Bearer a.b.c", False), ("x-other: 1", True)])
def test_a_target_whose_call_has_no_token_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: str, *, refused: bool
) -> None:
    log = tmp_path / "log"
    log.write_text("[id=1] [  0.1] recv (stream_id=1) authorization: Bearer of.another.target\n")
    behind = Receiver(PORTS, tmp_path / "ca.pem", witnesses={"h2c": Witness(4006, log)})
    made = Setup(tmp_path, 4000, "h2c", behind, 4005)

    @contextlib.contextmanager
    def started(target: Target, tried: Setup, cores: Cores) -> Iterator[None]:
        del target, cores
        assert tried.upstream == "http://127.0.0.1:4006"
        with log.open("a") as file:
            file.write(f"[id=2] [  0.2] recv (stream_id=1) {heard}\n")
        yield

    monkeypatch.setattr(targets, "started", started)
    outcome = pytest.raises(StartError, match="without a token") if refused else contextlib.nullcontext()
    with outcome:
        targets.witness(Envoy(), made, CORES)


def test_without_their_tools_the_scenarios_of_http2_are_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [SCENARIOS[name] for name in ("http", "h2c", "upload-h2")]
    monkeypatch.setattr(main, "find", lambda name: None if name == "nghttpd" else Path(name))
    assert main._possible(chosen) == chosen[:1]
    assert capsys.readouterr().err == (
        "nghttpd is missing, and the scenarios of HTTP/2 are left out: apt-get install nghttp2-server\n"
    )
    assert main._possible(chosen[:1]) == chosen[:1]
    assert capsys.readouterr().err == ""
