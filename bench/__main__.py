"""python -m bench: this proxy beside its peers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TypeVar

from bench import http2_load, load, machine, receiver, report
from bench.bars import BARS, COMPILED, OURS, judge
from bench.processes import Cores, StartError, allowed, alone, find, pin
from bench.profiler import Profiler
from bench.rounds import take
from bench.scenarios import SCENARIOS, Scenario, opened
from bench.stats import Samples
from bench.targets import IdTokenProxy, Target, all_targets

T = TypeVar("T")

HTTP2_TOOLS = {"h2load": http2_load.INSTALL, "nghttpd": receiver.NGHTTPD}
DESCRIPTORS = 16384  # 5,000 connections, twice, and room


@dataclasses.dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float


def main() -> int:
    options = _options()
    known = all_targets(options.baseline)
    chosen = _chosen("target", options.targets, known)
    scenarios = _chosen("scenario", options.scenarios, SCENARIOS)
    rounds = options.rounds or (3 if options.quick else 7)
    seconds = options.seconds or (2 if options.quick else 4)

    scenarios = _possible(scenarios)
    needed = {"wrk": load.INSTALL, "nginx": "apt-get install nginx-light"}
    if all(scenario.http2 for scenario in scenarios):
        del needed["wrk"]
    missing = {name: how for name, how in needed.items() if find(name) is None}
    if missing or not scenarios:
        for name, how in missing.items():
            _tell(f"{name} is needed: {how}")
        return 1
    if all(target.executable() is None for target in chosen):
        _tell("none of these targets is on this machine")
        return 1

    _raise_descriptors()
    signal.signal(signal.SIGTERM, _stop)
    lock = Path(tempfile.gettempdir()) / f"{OURS}-bench-{os.getuid()}.lock"
    try:
        with alone(lock, lambda: _tell("another run is under way on this machine: waiting for its end")):
            return _run(options, chosen, scenarios, Plan(rounds, seconds))
    except StartError as error:
        _tell(str(error))
    except KeyboardInterrupt:
        _tell("interrupted")
    return 1


def _run(options: argparse.Namespace, chosen: list[Target], scenarios: list[Scenario], plan: Plan) -> int:
    present = [target for target in chosen if target.executable() is not None]
    cores = Cores.split(sorted(allowed()))
    facts = machine.facts(cores, chosen)
    warnings = machine.warnings(cores)
    pin(cores.load)
    print(f"# {OURS} beside its peers\n\n{report.facts_list(facts)}")
    for warning in warnings:
        print(f"- warning: {warning}")
    print(
        f"\n{plan.rounds} rounds of {plan.seconds:g} s. Medians; ratios are taken within each round (lowest-highest)."
    )
    sys.stdout.flush()

    profiler = Profiler(cores, _tell) if options.profile else None
    results: dict[str, Samples] = {}
    with (
        tempfile.TemporaryDirectory(prefix=f"{OURS}-bench-") as scratch,
        opened(
            *(Path(scratch), cores, {scenario.layout: None for scenario in scenarios}),
            seconds=plan.seconds,
            identity=options.identity,
            http2=any(scenario.http2 for scenario in scenarios),
        ) as where,
    ):
        for scenario in scenarios:
            samples = take(
                scenario, present, where[scenario.layout], rounds=plan.rounds, tell=_tell, after=profiler
            )
            if samples:
                results[scenario.name] = samples
                _print_scenario(scenario, samples)
                if options.json:
                    options.json.write_text(json.dumps(_as_json(facts, results, plan), indent=1) + "\n")
    if any(isinstance(target, IdTokenProxy) for target in present):
        bars = tuple(bar for bar in BARS if bar.scenario in results)
        print(f"\n## Bars\n\n{report.bars_table(judge(results, bars))}")
    return 0


def _print_scenario(scenario: Scenario, samples: Samples) -> None:
    print(f"\n## {scenario.title} (`{scenario.name}`)\n")
    if len(scenario.variants) > 1:
        print(report.scenario_table(samples, scenario.columns, ours=None))
        print("\n" + report.pairs_table(samples, scenario.columns, scenario.pairs(samples)))
    else:
        ours = OURS if OURS in samples else COMPILED
        print(report.scenario_table(samples, scenario.columns, ours=ours))
    measures_rate = any(column.metric == "busy" for column in scenario.columns)
    notes = [*(report.unloaded(samples) if measures_rate else ()), *report.flagged(samples)]
    if notes:
        print("\n" + "\n".join(f"- {note}" for note in notes))
    sys.stdout.flush()


def _as_json(facts: Mapping[str, str], results: Mapping[str, Samples], plan: Plan) -> dict[str, object]:
    return {
        "facts": dict(facts),
        **dataclasses.asdict(plan),
        "scenarios": {
            name: {
                target: [dataclasses.asdict(sample) for sample in taken] for target, taken in samples.items()
            }
            for name, samples in results.items()
        },
        "bars": [
            {
                **dataclasses.asdict(verdict.bar),
                "measured": verdict.measured and verdict.measured.median,
                "margin": verdict.margin,
            }
            for verdict in judge(results)
        ],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench", description="This proxy beside its peers, on one core each."
    )
    parser.add_argument("--targets", metavar="A,B", help=f"of: {', '.join(all_targets())}; default all")
    parser.add_argument("--scenarios", metavar="A,B", help=f"of: {', '.join(SCENARIOS)}; default all")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 7")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each measurement; default 4")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 s")
    parser.add_argument(
        "--identity", choices=("metadata", "file"), default="metadata", help="this proxy's own"
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="PATH", help="another build's idtoken-proxy, run beside it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, for later")
    parser.add_argument(
        "--profile", action="store_true", help="flame graphs by py-spy, after the measured rounds"
    )
    return parser.parse_args()


def _chosen(kind: str, names: str | None, known: Mapping[str, T]) -> list[T]:
    if names is None:
        return list(known.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        _tell(f"no such {kind}: {', '.join(unknown) or '(none named)'}; there are: {', '.join(known)}")
        raise SystemExit(2)
    return [known[name] for name in dict.fromkeys(wanted)]


def _possible(scenarios: list[Scenario]) -> list[Scenario]:
    """Those whose tools are on this machine; what is missing is named."""
    missing = {name: how for name, how in HTTP2_TOOLS.items() if find(name) is None}
    if not missing or not any(scenario.http2 for scenario in scenarios):
        return scenarios
    for name, how in missing.items():
        _tell(f"{name} is missing, and the scenarios of HTTP/2 are left out: {how}")
    return [scenario for scenario in scenarios if not scenario.http2]


def _tell(text: str) -> None:
    """Progress and troubles; the report alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def _stop(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt


def _raise_descriptors() -> None:
    """What is started inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
