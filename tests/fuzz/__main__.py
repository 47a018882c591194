"""python -m tests.fuzz [--seconds N] [--seed N]    all targets, side by side
python -m tests.fuzz TARGET [...]     one, with libFuzzer's own options (a corpus directory, -runs=N)
python -m tests.fuzz TARGET FILE      says once more what a found input does; needs no atheris

TARGET: requests, responses, http2_requests, http2_responses, hpack_blocks
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOUND = HERE / "found"
SECONDS = 30
# Of targets.py, which is imported where it can be instrumented.
NAMES = ("requests", "responses", "http2_requests", "http2_responses", "hpack_blocks")
# Nothing that the engine accepts in one head is longer than this and different.
LONGEST = 4096


def main(argv: Sequence[str]) -> int:
    if argv and argv[0] in NAMES:
        if len(argv) == 2 and Path(argv[1]).is_file():
            return _again(argv[0], Path(argv[1]))
        return _one(argv[0], argv[1:])
    if importlib.util.find_spec("atheris") is None:
        version = platform.python_version()
        print(
            f"fuzz: skipped, as atheris is not installed: it has no wheel for Python {version} on {platform.machine()},"
        )
        print("fuzz: or was not asked for (pip install --group fuzz)")
        return 0
    options = ArgumentParser(prog="python -m tests.fuzz")
    options.add_argument("--seconds", type=int, default=SECONDS)
    # A gate looks at the same inputs again: what a change has broken, and not what chance has found, is told there.
    options.add_argument("--seed", type=int, default=0, help="0: another one each time")
    asked = options.parse_args(argv)
    return _all(asked.seconds, asked.seed)


def _all(seconds: int, seed: int) -> int:
    FOUND.mkdir(exist_ok=True)
    running = {
        name: subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.fuzz", name),
                *(f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for name in NAMES
    }
    failed = 0
    for name, process in running.items():
        output, _ = process.communicate()
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
        covered = re.findall(r"cov: (\d+)", output)
        print(f"fuzz: {name}: {runs[1] if runs else '?'} inputs, {covered[-1] if covered else '?'} edges")
        if process.returncode:
            failed = 1
            print(output[-6000:])
            print(f"fuzz: {name} failed; say it again with: python -m tests.fuzz {name} FILE")
    return failed


def _one(name: str, options: Sequence[str]) -> int:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["idtoken_proxy.engine", "idtoken_proxy.policy"]):
        from tests.fuzz import targets  # noqa: PLC0415 -- what is imported here is instrumented
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus, targets.ready(targets.TARGETS[name]) as play:
        for number, seed in enumerate(targets.seeds(name)):
            (Path(corpus) / f"{number:05}").write_bytes(seed)
        fixed = [sys.argv[0], f"-max_len={LONGEST}", f"-artifact_prefix={FOUND}/{name}-", "-timeout=10"]

        def once(data: bytes) -> None:
            play(data)

        atheris.Setup([*fixed, *options, corpus], once)
        atheris.Fuzz()
    return 0


def _again(name: str, path: Path) -> int:
    from tests.fuzz import targets  # noqa: PLC0415 -- as above

    with targets.ready(targets.TARGETS[name]) as play:
        print(targets.unpacked(path.read_bytes()))
        play(path.read_bytes())
    print("nothing is wrong with it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
