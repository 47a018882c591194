from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idtoken_proxy.identity.sources import process
from idtoken_proxy.identity.sources.process import MAX_OUTPUT, TimedOut, TooMuch, run
from tests.cases import for_each


def python(script: str, deadline: float = 9.5, **environ: str) -> process.Ended:
    return run((sys.executable, "-Ic", script), environ, deadline)


def is_gone(pid: int) -> bool:
    """A zombie that nobody has reaped is gone too."""
    for _ in range(200):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_what_it_prints() -> None:
    ended = python(
        "import sys, os; print(os.environ['A']); print('a\\n\\nb\\x1b[31m', file=sys.stderr)", A="x"
    )
    assert (ended.code, ended.stdout, ended.stderr) == (0, "x\n", ("a", "b [31m"))
    assert "'x" not in repr(ended)


def test_how_it_ends() -> None:
    assert python("raise SystemExit(7)").code == 7
    assert python("import os; os.kill(os.getpid(), 9)").code == -9


def test_no_input_no_terminal_no_inheritance() -> None:
    script = "import os, sys; print(sys.stdin.read(), os.getsid(0) == os.getpid(), len(os.listdir('/proc/self/fd')))"
    assert python(script).stdout == " True 4\n"  # 0, 1, 2 and the listing's own


def test_it_is_killed_with_all_its_kin(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(TimedOut):
        python(script, 1.0, PATH=os.environ["PATH"])
    assert time.monotonic() - started < 5
    assert all(is_gone(int(pid)) for pid in pids.read_text().split())


def test_one_that_closes_its_pipes_and_stays() -> None:
    with pytest.raises(TimedOut):
        python("import os, time; os.close(1); os.close(2); time.sleep(60)", 0.5)


def test_a_daemon_left_behind_that_holds_the_pipes(tmp_path: Path) -> None:
    """As an ssh or gpg agent does: it is not waited for, and not killed."""
    pid = tmp_path / "pid"
    script = (
        "import os, subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "print('token')"
    )
    started = time.monotonic()
    assert python(script, PATH=os.environ["PATH"]).stdout == "token\n"
    assert time.monotonic() - started < 5
    os.kill(int(pid.read_text()), 9)


@for_each("descriptor", [1, 2])
def test_output_is_bounded(descriptor: int) -> None:
    with pytest.raises(TooMuch):
        python(f"import os\nwhile True: os.write({descriptor}, b'x' * 10000)")
    whole = python(f"import sys; sys.stdout.write('x' * {MAX_OUTPUT})")
    assert len(whole.stdout) == MAX_OUTPUT


def test_nothing_outlives_the_proxy(tmp_path: Path) -> None:
    """A command hangs in its daemon thread while the proxy ends."""
    pid = tmp_path / "pid"
    command = (
        sys.executable,
        "-Ic",
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    )
    script = (
        "import pathlib, threading, time\n"
        "from idtoken_proxy.identity.sources.process import run\n"
        f"threading.Thread(target=run, args=({command!r}, {{}}), daemon=True).start()\n"
        f"pid = pathlib.Path({str(pid)!r})\n"
        "while not (pid.exists() and pid.read_text()): time.sleep(0.01)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    assert is_gone(int(pid.read_text()))


def test_one_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError):
        run(("/nonexistent",), {})


def test_its_deadline_is_under_the_cache_s() -> None:
    assert process.DEADLINE < 10
