"""The last steps before exec. What an app sees of them: tests/end_to_end/test_run.py."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from idtoken_proxy.wrapper.launch import NOT_EXECUTABLE, NOT_FOUND, execute

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), NOT_FOUND, "app: not found"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), NOT_FOUND, "app: not found"),
        (PermissionError(errno.EACCES, "Permission denied"), NOT_EXECUTABLE, "app: Permission denied"),
        (OSError(errno.E2BIG, "Argument list too long"), NOT_EXECUTABLE, "app: Argument list too long"),
        (ValueError("embedded null byte"), NOT_FOUND, "app: embedded null byte"),
    ],
)
def test_what_cannot_be_run(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    def fail(_file: str, _argv: Sequence[str], _environ: Mapping[str, str]) -> None:
        raise error

    assert execute(["app", "-x"], {}, fail) == code
    assert capsys.readouterr().err == f"idtoken-proxy: {said}\n"


def test_what_is_there_and_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By the real exec."""
    plain = tmp_path / "plain"
    plain.write_text("exit 5")
    assert execute([str(tmp_path / "missing")], {}) == NOT_FOUND
    assert execute([str(plain)], {}) == NOT_EXECUTABLE
    assert execute([str(tmp_path)], {}) == NOT_EXECUTABLE
    assert capsys.readouterr().err == (
        f"idtoken-proxy: {tmp_path}/missing: not found\n"
        f"idtoken-proxy: {plain}: Permission denied\n"
        f"idtoken-proxy: {tmp_path}: Permission denied\n"
    )


def test_a_script_without_an_interpreter_is_a_shell_s(tmp_path: Path) -> None:
    script = tmp_path / "app"
    script.write_text("exit 0")
    script.chmod(0o755)
    ran: list[tuple[str, Sequence[str]]] = []

    def run(file: str, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        ran.append((file, argv))
        raise (
            OSError(errno.ENOEXEC, "Exec format error")
            if file == "app"
            else PermissionError(errno.EACCES, "no")
        )

    assert execute(["app", "-x"], {"PATH": str(tmp_path)}, run) == NOT_EXECUTABLE
    assert execute(["app"], {"PATH": "/nowhere"}, run) == NOT_EXECUTABLE
    assert ran[1] == ("/bin/sh", ["/bin/sh", str(script), "-x"])
    assert ran[3] == ("/bin/sh", ["/bin/sh", "app"])


def test_exec_does_not_return() -> None:
    with pytest.raises(AssertionError, match="exec returned"):
        execute(["app"], {}, lambda _file, _argv, _environ: None)


BECOME = """
import os, signal, sys
from idtoken_proxy.wrapper import launch
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
def leave(code):
    import ctypes
    dies_with = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(dies_with))
    print(dies_with.value, signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL,
          signal.getsignal(signal.SIGINT) == signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    sys.exit(code)
os._exit = leave  # the real one tells nothing
launch.become(["no-such-command"], {}, handled=[signal.SIGINT], mask=[signal.SIGUSR1], parent=int(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize(("parent", "code"), [("mine", 127), ("gone", 1)])
def test_the_last_steps(parent: str, code: int) -> None:
    pid = os.getpid() if parent == "mine" else 1
    done = subprocess.run(
        [sys.executable, "-c", BECOME, str(pid)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == code, done.stderr
    steps = done.stdout.split(maxsplit=3)
    assert steps[0] == str(signal.SIGKILL.value)
    if code == NOT_FOUND:
        assert steps[1:3] == ["True", "True"]
        assert "SIGUSR1" in steps[3]
        assert "SIGTERM" not in steps[3]
        assert done.stderr == "idtoken-proxy: no-such-command: not found\n"


def test_a_command_that_is_none_is_told_without_what_it_may_be(capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("/nowhere/ya29.a0AfSENTINELx_y-z", '{"private_key": "SENTINEL"}', "nosuch\x1b[2J\udc9b"):
        assert execute([command], {"PATH": "/nowhere"}) == 127
        error = capfd.readouterr().err
        assert error.endswith("not found\n")
        assert "SENTINEL" not in error
        assert "\x1b" not in error
