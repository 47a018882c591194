"""However the process was started, with real processes: what it inherits, what is closed, and how early it is told to stop."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cases import for_each

PATIENCE = 20
PROXY = (sys.executable, "-m", "idtoken_proxy")


def started(*command: str | Path, how: str = "") -> subprocess.CompletedProcess[str]:
    """`how`: Python that runs before the program's."""
    before = f"import os, signal, sys; {how}; os.execv(sys.argv[1], sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", before, *PROXY, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def written(path: Path, identity: object = "none", **more: object) -> Path:
    route = {"name": "it", "upstream": "http://127.0.0.1:1", "identity": identity}
    path.write_text(yaml.safe_dump({"log": {"level": "warning"}, "admin": "off", "routes": [route], **more}))
    return path


# Windows' Python, as far as the first lines meet it.
WINDOWS = """
import os, signal, sys
sys.platform = "win32"
for name in ("SIGCHLD", "SIGHUP", "SIGALRM", "SIGKILL", "pthread_sigmask", "set_wakeup_fd"):
    delattr(signal, name)
for name in ("fcntl", "grp", "pwd", "resource", "uvloop"):
    sys.modules[name] = None
from idtoken_proxy.__main__ import main
main()
"""


@pytest.mark.parametrize("argv", [["serve"], ["--help"]])
def test_windows_is_told_where_it_runs_instead(argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS, *argv], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Windows is not supported")
    assert "WSL" in line
    assert "container" in line


def test_it_starts_where_the_current_directory_has_been_deleted(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    where = f"os.chdir({str(tmp_path / 'gone')!r}); os.rmdir({str(tmp_path / 'gone')!r})"
    done = started("--version", how=where)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("idtoken-proxy")


def test_children_are_waited_for_where_their_end_was_ignored(tmp_path: Path) -> None:
    ignored = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    done = started(
        "run", "-c", written(tmp_path / "a.yaml"), "--", "sh", "-c", "(exit 3); exit $?", how=ignored
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    file = written(tmp_path / "b.yaml", {"type": "command", "argv": ["false"]})
    done = started("token", "-c", file, "--route", "it", how=ignored)
    assert done.returncode == 1
    assert "exit code 1" in done.stderr


def test_what_is_closed_stays_so_for_the_app_and_hinders_nobody(tmp_path: Path) -> None:
    app = "import os; code = 3 + sum(os.path.exists(f'/dev/fd/{n}') for n in (0, 1, 2)); os._exit(code)"
    closed = "[os.close(number) for number in (0, 1, 2)]"
    done = started("run", "-c", written(tmp_path / "a.yaml"), "--", sys.executable, "-c", app, how=closed)
    assert done.returncode == 3
    with subprocess.Popen(
        [*PROXY, "serve", "-c", written(tmp_path / "b.yaml", listen="127.0.0.1:0", log={"level": "info"})],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),  # noqa: PLW1509 -- a close alone
    ) as process:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.0)  # it failed at once
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


# Says when it starts to import, and waits there.
SLOW = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.write(1, b"importing")
            signal.pause()
sys.meta_path.insert(0, Finder())
sys.argv = ["idtoken-proxy", *sys.argv[1:]]
from idtoken_proxy.__main__ import main
main()
"""

# A shell's background job inherits an ignored SIGINT, and so would its children; it is the test's own business here.
HEARD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
"""


def _namespace() -> tuple[str, ...]:
    """What makes PID 1, where this user may."""
    found = shutil.which("unshare")
    made = () if found is None else (found, "-pf", "--mount-proc", "--kill-child")
    return (
        made
        if made and subprocess.run([*made, "true"], check=False, capture_output=True).returncode == 0
        else ()
    )


@for_each("number", [signal.SIGTERM, signal.SIGINT])
@for_each(("command", "failure"), [("serve", 0), ("demo", 0), ("run", 128)])
def test_a_stop_that_comes_while_it_imports(command: str, failure: int, number: signal.Signals) -> None:
    """As PID 1 too, who is deaf to what it has no handler for."""
    with subprocess.Popen(
        [*_namespace(), sys.executable, "-c", HEARD, sys.executable, "-c", SLOW, command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert select.select([process.stdout], [], [], PATIENCE)[0]
            assert os.read(process.stdout.fileno(), 100) == b"importing"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            inside = children.read_text(encoding="ascii").split() if children.exists() else []
            os.kill(int(inside[0]) if inside else process.pid, number)
            assert process.wait(PATIENCE) == (failure + number if failure else 0)
            assert process.stderr.read() == b""
        finally:
            process.kill()


@for_each(("command", "collects"), [("serve", False), ("run", False), ("demo", True), ("token", True)])
def test_the_collector_waits_where_serving_will_turn_it_on(command: str, collects: bool) -> None:  # noqa: FBT001
    prepared = (
        f"import gc; from idtoken_proxy import startup; startup.prepare([{command!r}]); print(gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", prepared], capture_output=True, text=True, check=True)
    assert done.stdout == f"{collects}\n"
