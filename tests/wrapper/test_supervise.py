"""Signals and children, with real children in a process of their own. All of it together: tests/end_to_end/test_run.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUPERVISE = """
import os, signal, sys
from proxy.wrapper import supervise
signal.pthread_sigmask(signal.SIG_BLOCK, supervise.WATCHED)

def child(script):
    script = "import os, signal, time; signal.pthread_sigmask(signal.SIG_SETMASK, ());" + script
    return os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-S", "-c", script])
told = []
app, proxy = child(sys.argv[1]), child(sys.argv[2])
code = supervise.supervise(app, proxy, drain=0.2, told=lambda: told.append(1))
print(code, bool(told), list(supervise.ended()))
"""
FOREVER = "time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.mark.parametrize(
    ("app", "proxy", "code"),
    [
        pytest.param("os._exit(3)", FOREVER, 3, id="the app ends"),
        pytest.param("os.kill(os.getpid(), 9)", FOREVER, 137, id="the app is killed"),
        pytest.param(FOREVER, "os._exit(0)", 143, id="the proxy was told to quit"),
        pytest.param(FOREVER, "os._exit(5)", 1, id="the proxy fails"),
        pytest.param(DEAF, "time.sleep(0.3)", 137, id="the app does not want to go"),
        pytest.param("signal.signal(15, lambda *_: os._exit(4)); time.sleep(0.1); os.kill(os.getppid(), 15); time.sleep(60)", FOREVER, 4, id="a signal is passed on"),
        pytest.param("time.sleep(0.1)", "signal.signal(15, lambda *_: os.kill(os.getppid(), 15)); signal.signal(2, lambda *_: None); time.sleep(0.6); os._exit(0)", 0, id="a signal in the drain"),
    ],
)  # fmt: skip
def test_who_ends_with_whom(app: str, proxy: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SUPERVISE, app, proxy],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == f"{code} True []"


def test_a_proxy_that_does_not_end_is_killed(tmp_path: Path) -> None:
    script = SUPERVISE.replace(
        "from proxy.wrapper import supervise\n",
        "from proxy.wrapper import supervise\nsupervise.PATIENCE = 0.1\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "os._exit(0)", DEAF],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines()[-1] == "0 True []"
    assert "killed, since it did not end" in done.stdout
    assert "process=proxy" in done.stdout
