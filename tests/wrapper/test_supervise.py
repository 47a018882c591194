"""Signals and children, with real children in a process of their own. All of it together: tests/end_to_end/test_run.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import for_each

ROOT = Path(__file__).parents[2]

SUPERVISE = """
import os, signal, sys
from idtoken_proxy.wrapper import supervise
signal.pthread_sigmask(signal.SIG_BLOCK, supervise.WATCHED)

def child(script):
    # Until it is ready to hear them, signals wait, as they do for this process.
    script = "import os, signal, time; ready = lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ());" + script
    return os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-S", "-c", script])
told = []
app, proxy = child(sys.argv[1]), child(sys.argv[2])
code = supervise.supervise(app, proxy, drain=float(sys.argv[3]), told=lambda: told.append(1),
                           end_proxy=lambda: os.kill(proxy, 15))
print(code, bool(told), list(supervise.ended()))
"""
FOREVER = "ready(); time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(60)"
# A handler that comes just before a sleep waits for its end (CPython looks before it sleeps): these sleep a little at a time.
TOLD = """
signal.signal(15, lambda *_: os._exit(4))
ready()
os.kill(os.getppid(), 15)
while True: time.sleep(0.05)"""
# Told to end, it has the one above told to hurry, as somebody impatient does, and goes then.
IMPATIENT = """
signal.signal(15, lambda *_: [os.kill(os.getppid(), number) for number in (1, 2)])
signal.signal(2, lambda *_: os._exit(0))
ready()
while True: time.sleep(0.05)"""


@for_each(
    ("app", "proxy", "code"),
    [
        pytest.param("os._exit(3)", FOREVER, 3, id="the app ends"),
        pytest.param("os.kill(os.getpid(), 9)", FOREVER, 137, id="the app is killed"),
        pytest.param(FOREVER, "os._exit(0)", 143, id="the proxy was told to quit"),
        pytest.param(FOREVER, "os._exit(5)", 1, id="the proxy fails"),
        pytest.param(DEAF, "os._exit(0)", 137, id="the app does not want to go"),
        pytest.param(TOLD, FOREVER, 4, id="a signal is passed on"),
        pytest.param("os._exit(0)", IMPATIENT, 0, id="a signal in the drain"),
    ],
)
def test_who_ends_with_whom(app: str, proxy: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SUPERVISE, app, proxy, "0.1" if app == DEAF else "20"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == f"{code} True []"


def test_a_proxy_that_does_not_end_is_killed() -> None:
    script = SUPERVISE.replace(
        "from idtoken_proxy.wrapper import supervise\n",
        "from idtoken_proxy.wrapper import supervise\nsupervise.PATIENCE = 0.1\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "os._exit(0)", DEAF, "0.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines()[-1] == "0 True []"
    assert "killed, since it did not end" in done.stdout
    assert "process=proxy" in done.stdout
