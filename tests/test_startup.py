"""However the process was started, with real processes: what it inherits, what is closed, and how early it is told to stop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

PATIENCE = 20
PROXY = (sys.executable, "-m", "proxy")


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


def written(path: Path, **identity: object) -> Path:
    route = {"name": "it", "upstream": "http://127.0.0.1:1", "identity": identity or "none"}
    path.write_text(yaml.safe_dump({"log": {"level": "warning"}, "routes": [route]}))
    return path


def test_children_are_waited_for_where_their_end_was_ignored(tmp_path: Path) -> None:
    ignored = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    done = started(
        "run", "-c", written(tmp_path / "a.yaml"), "--", "sh", "-c", "(exit 3); exit $?", how=ignored
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    file = written(tmp_path / "b.yaml", type="command", argv=["false"])
    done = started("token", "-c", file, "--route", "it", how=ignored)
    assert done.returncode == 1
    assert "exit code 1" in done.stderr
