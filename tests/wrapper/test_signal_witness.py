"""Who else has got a signal, with real processes; in its place: tests/end_to_end/test_run.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WITNESS = """
import os, pathlib, signal, time
from idtoken_proxy.wrapper import signal_witness
hears = (signal.SIGTERM, signal.SIGUSR1)
signal.pthread_sigmask(signal.SIG_BLOCK, hears)
here = signal_witness.Witness(hears)
os.killpg(0, signal.SIGTERM)
print(here.saw(signal.sigwait(hears)), end=" ")
os.kill(os.getpid(), signal.SIGUSR1)
print(here.saw(signal.sigwait(hears)), end=" ")
signal_witness.ONE = -60.0  # what was a moment ago is over
print(here.saw(signal.SIGTERM), end=" ")
about = pathlib.Path(f"/proc/{here.pid}")
while "signal-witness" not in (about / "comm").read_text() or os.listdir(about / "fd"):
    time.sleep(0.01)
print((about / "cmdline").read_text().strip(chr(0)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is none elsewhere")
def test_it_tells_what_was_sent_to_the_group_from_what_was_not() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITNESS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        start_new_session=True,
    )
    assert (done.stdout, done.stderr) == ("True False False signal-witness\n", "")
