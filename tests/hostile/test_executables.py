"""Programs that print tokens, and do what they should not: each ends in time, leaves nothing of itself, and tells nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import process
from idtoken_proxy.identity.sources.command import CommandSource
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, START, jwt
from tests.identity.sources.test_executable import GOOD, Scene
from tests.identity.sources.test_process import is_gone

TOKEN: Final = jwt({"aud": AUDIENCE, "exp": START})
DEADLINE: Final = 0.4
Fetch = Callable[[], object]


class Program:
    """One script, run as a credential file's executable and as an identity of type command."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.scene = Scene(directory)
        self.kind = kind
        self.answer = TOKEN if kind == "command" else json.dumps(GOOD)
        self.pid = directory / "pid"

    def fetch(self, script: str, deadline: float = 5.0, environ: Mapping[str, str] | None = None) -> object:
        note = f"open({str(self.pid)!r}, 'a').write(f'{{os.getpid()}} ')\n"
        self.scene.does(f"import signal, subprocess\nANSWER = {self.answer!r}\n{note}{script}")
        environ = {"PATH": os.environ["PATH"], **(environ or {})}
        before = children()
        try:
            if self.kind == "command":
                return CommandSource((str(self.scene.program),), environ, deadline).fetch(AUDIENCE)
            return self.scene.executable(deadline=deadline, environ=environ).subject_token()
        finally:
            assert children() == before, "a child is left, or a zombie"

    def fails(self, script: str, cause: str, deadline: float = 5.0) -> TokenError:
        started = time.monotonic()
        with pytest.raises(TokenError) as caught:
            self.fetch(script, deadline)
        assert time.monotonic() - started < deadline + 3
        error = caught.value
        assert (error.cause.partition("_")[2], error.fault) == (cause, Fault.OPERATOR)
        assert "SENTINEL" not in f"{error!r}{error.detail}{error.remedy}{error.log_detail}"
        return error

    def pids(self) -> list[int]:
        return [int(pid) for pid in self.pid.read_text().split()]


def children() -> set[str]:
    """Of this process, zombies included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(tmp_path, getattr(request, "param", "executable"))


BOTH: Final = pytest.mark.parametrize("program", ["executable", "command"], indirect=True)


@BOTH
def test_one_that_does_as_it_should(program: Program) -> None:
    assert program.fetch("print(ANSWER)")


FLOODS: Final = {
    "much at once": "sys.stdout.write('SENTINEL' * 10_000)",
    "much behind the answer": "print(ANSWER); sys.stdout.write(' ' * 100_000)",
    "much before it": "sys.stdout.write(' ' * 100_000); print(ANSWER)",
    "without an end": "while True: os.write(1, b'SENTINEL' * 1000)",
    "without an end on stderr": "print(ANSWER, flush=True)\nwhile True: os.write(2, b'SENTINEL' * 1000)",
    "by many": "for _ in range(3): os.fork()\nwhile True: os.write(1, b'SENTINEL' * 100)",
}


@for_each("case", FLOODS)
def test_one_that_prints_too_much_is_stopped(program: Program, case: str) -> None:
    assert "more than" in program.fails(FLOODS[case], "output").detail
    assert all(is_gone(pid) for pid in program.pids())


HANGS: Final = {
    "it sleeps": "time.sleep(60)",
    "it drips": "while True: os.write(1, b'S'); time.sleep(0.01)",
    "it drips on stderr": "while True: os.write(2, b'S'); time.sleep(0.01)",
    "it closes its pipes": "print(ANSWER, flush=True); os.close(1); os.close(2); time.sleep(60)",
    "it will not be told": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
    "it stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "it has said all, and stays": "print(ANSWER, flush=True); time.sleep(60)",
    "its child stays with it": "subprocess.run(['sleep', '60'])",
    "it wants an answer": "open('/dev/tty').read()\ntime.sleep(60)",
}


@for_each("case", HANGS)
def test_one_that_does_not_end_is_stopped(program: Program, case: str) -> None:
    """An answer of a program that has not ended is none: it may yet say that it failed."""
    if case == "it wants an answer":
        program.fails(HANGS[case], "failed")  # it has no terminal to ask on
        return
    program.fails(HANGS[case], "timeout", DEADLINE)
    assert all(is_gone(pid) for pid in program.pids())


@BOTH
def test_a_grandchild_that_holds_its_pipes_is_not_waited_for(program: Program) -> None:
    """As a key agent that it starts; that one lives on, and what it says is not read."""
    started = time.monotonic()
    assert program.fetch(
        "print(ANSWER, flush=True)\n"
        "if not os.fork():\n"
        f"    open({str(program.pid)!r}, 'a').write(f'{{os.getpid()}} ')\n"
        "    time.sleep(60)"
    )
    assert time.monotonic() - started < 5
    deadline = time.monotonic() + 5
    while len(program.pids()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(program.pids()[1], 9)


ENDS: Final = {
    "a code": ("sys.exit(3)", "exit code 3"),
    "a code of its own": ("os._exit(255)", "exit code 255"),
    "a code beside an answer": ("print(ANSWER, flush=True); os._exit(1)", "exit code 1"),
    "a signal": ("os.kill(os.getpid(), signal.SIGTERM)", "signal 15"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
    "a kill beside an answer": ("print(ANSWER, flush=True); os.kill(os.getpid(), 9)", "signal 9"),
    "a traceback": ("raise RuntimeError('SENTINEL')", "exit code 1"),
    "a secret on stderr": (
        "print('SENTINEL', file=sys.stderr); sys.exit('password=SENTINEL')",
        "exit code 1",
    ),
}


@for_each("case", ENDS)
def test_how_it_ends_is_told_and_nothing_that_it_said(program: Program, case: str) -> None:
    script, how = ENDS[case]
    with capture_logs() as logs:
        error = program.fails(script, "failed")
    assert f"({how})" in error.detail
    assert "SENTINEL" not in repr(logs)


@BOTH
def test_a_secret_on_stderr_beside_an_answer_goes_nowhere(program: Program) -> None:
    with capture_logs() as logs:
        assert program.fetch("print('SENTINEL', file=sys.stderr); print(ANSWER)")
    assert logs == []


@BOTH
def test_it_has_the_environment_that_it_is_given_and_no_descriptors(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of this process's own that was not meant for it, and no socket of the proxy's."""
    monkeypatch.setenv("SECRET_OF_THE_PROXY", "SENTINEL")
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    os.set_inheritable(kept[0], True)
    said = tmp_path / "said"
    program.fetch(
        "found = [os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2)]\n"
        "more = [fd for fd in os.listdir('/proc/self/fd') if int(fd) > 2]\n"
        f"json.dump([dict(os.environ), found, len(more)], open({str(said)!r}, 'w'))\n"
        "print(ANSWER)",
        environ={"MINE": "1"},
    )
    for descriptor in kept:
        os.close(descriptor)
    environ, found, more = json.loads(said.read_text())
    assert environ["MINE"] == "1"
    assert "SECRET_OF_THE_PROXY" not in environ
    assert found[0] == "/dev/null"
    assert all(one.startswith("pipe:") for one in found[1:])
    assert more == 1  # the listing's own


@pytest.mark.parametrize("name", ["print-token", "./print-token"])
def test_a_name_without_a_path_is_looked_for_on_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not where the proxy happens to be started, where somebody may have left one; whoever writes ./ means it."""
    here, there = tmp_path / "here", tmp_path / "there"
    for directory, says in ((here, "here"), (there, "there")):
        directory.mkdir()
        script = directory / "print-token"
        script.write_text(f"#!/bin/sh\necho {says}\n")
        script.chmod(0o700)
    monkeypatch.chdir(here)
    ended = process.run((name,), {"PATH": f"{there}:/usr/bin:/bin"})
    assert ended.stdout == ("here\n" if "/" in name else "there\n")


@pytest.mark.parametrize(("mode", "warned"), [(0o700, False), (0o755, False), (0o775, False), (0o757, True)])
def test_one_that_others_may_write_to_is_warned_of_once(
    program: Program, monkeypatch: pytest.MonkeyPatch, mode: int, *, warned: bool
) -> None:
    monkeypatch.setattr(process, "_warned", set())
    path = program.scene.does("pass").program
    path.chmod(mode)
    with capture_logs() as logs:
        for _ in range(2):
            process.run((str(path),), {})
    assert [line["event"] for line in logs] == ["others may write to a program that prints tokens"] * warned
    assert all(str(path) == line["path"] for line in logs)


def test_its_output_file_may_be_a_link_that_is_changed(tmp_path: Path) -> None:
    """It leads to no more than an answer: another's words are none, and are not repeated."""
    scene, kept = Scene(tmp_path).prints(GOOD | {"id_token": "new"}), tmp_path / "kept"
    (tmp_path / "good").write_text(json.dumps(GOOD | {"id_token": "old"}))
    (tmp_path / "secret").write_text("root:SENTINEL:0:0\n")
    for target, token in (
        ("good", "old"),
        ("secret", "new"),
        ("nowhere", "new"),
        ("kept", "new"),
        (".", "new"),
    ):
        kept.unlink(missing_ok=True)
        kept.symlink_to(target)
        assert scene.executable(output_file=str(kept)).subject_token() == token
