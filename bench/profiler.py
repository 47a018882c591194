"""A flame graph of this proxy under load, taken after the measured rounds: `--profile`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import load
from bench.bars import OURS
from bench.processes import Cores, StartError, find, output_of, running
from bench.rounds import Tell
from bench.scenarios import Scenario
from bench.targets import CONNECTIONS, Instance

SECONDS = 6


class Profiler:
    def __init__(self, cores: Cores, tell: Tell) -> None:
        self._cores = cores
        self._tell = tell

    def __call__(self, scenario: Scenario, instance: Instance) -> None:
        if instance.target.name != OURS or scenario.name not in {"http", "https"}:
            return
        spy = find("py-spy") or Path(sys.executable).with_name("py-spy")
        if not spy.exists():
            self._tell("--profile needs py-spy: pip install py-spy")
            return
        picture = Path(f"bench-{scenario.name}.svg")
        record = [str(spy), "record", "--native", "--rate=400", f"--duration={SECONDS}"]
        record += [f"--pid={instance.pid}", f"--output={picture}"]
        wrk = load.command(instance.port, connections=CONNECTIONS, seconds=SECONDS + 2, routes=0)
        self._tell(f"{scenario.name}: a profile into {picture}")
        with running(wrk, cores=self._cores.load, log=instance.log.with_name("profile.log")):
            try:
                output_of(record, cores=self._cores.load, timeout=SECONDS + 60)
            except StartError as error:
                self._tell(str(error))
