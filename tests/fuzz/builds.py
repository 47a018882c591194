"""python -m tests.fuzz.builds PYTHON [--inputs N] [--seed N]    the same inputs in this build and in PYTHON's

Nothing instruments compiled modules, so no coverage leads to new inputs here: they are the seeds, and what chance makes of
them, a fixed number. In return each is judged twice: by what must hold of any octets, and by the other build, which has to
have done the same. What differs is written to found/.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import zlib
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from idtoken_proxy.build import BUILD
from tests.fuzz import targets
from tests.fuzz.mutations import mutated

FOUND: Final = Path(__file__).parent / "found"
INPUTS: Final = 5000  # of each target
# What differs between two processes of one build: the time, and which instance this is.
_OF_A_PROCESS: Final = re.compile(
    r"(?<=\(b'date', b')[^']+|(?<=\\r\\nDate: )[^\\]+|(?<=idtoken-proxy-)[0-9a-f]{8}"
)


def main(argv: Sequence[str]) -> int:
    options = ArgumentParser(prog="python -m tests.fuzz.builds")
    options.add_argument("python", help="of the other build")
    options.add_argument("--inputs", type=int, default=INPUTS, help="of each target")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", choices=tuple(targets.TARGETS), help="plays it here, a line an input")
    asked = options.parse_args(argv)
    if asked.only is not None:
        return play(asked.only, asked.inputs, asked.seed)
    return max([compare(name, asked.python, asked.inputs, asked.seed) for name in targets.TARGETS])


def play(name: str, inputs: int, seed: int) -> int:
    """First the build, then a line for each input: a digest of what was seen of it, or what was wrong with it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(BUILD)
    with targets.ready(targets.TARGETS[name]) as once:
        for data in mutated(list(targets.seeds(name)), inputs, seed):
            try:
                seen = _OF_A_PROCESS.sub("", repr(once(data)))
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is told of this input
                seen = ""
                print(f"wrong: {type(error).__name__}: {error}"[:2000].replace("\n", " "))
            if seen:
                print(f"{zlib.crc32(seen.encode()):08x}")
    return 0


def compare(name: str, python: str, inputs: int, seed: int, found: Path = FOUND) -> int:
    """Both at once: each takes a core."""
    arguments = ["-m", "tests.fuzz.builds", "-", f"--only={name}", f"--inputs={inputs}", f"--seed={seed}"]

    def lines(executable: str) -> list[str]:
        done = subprocess.run([executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.splitlines()

    with ThreadPoolExecutor() as both:
        (here, *ours), (there, *theirs) = both.map(lines, (sys.executable, python))
    assert len(ours) == len(theirs) == inputs
    faults = [
        number
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True))
        if one != other or one.startswith("wrong")
    ]
    print(f"{name}: {inputs} inputs, {len(set(ours))} outcomes, {here} and {there}: {len(faults)} amiss")
    seeds = list(targets.seeds(name))
    for number in faults[:5]:
        (data,) = islice(mutated(seeds, inputs, seed), number, number + 1)
        path = found / f"{name}-{here}-{zlib.crc32(data):08x}"
        path.write_bytes(data)
        print(f"  {here}: {ours[number]}\n  {there}: {theirs[number]}\n  python -m tests.fuzz {name} {path}")
    return min(1, len(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
