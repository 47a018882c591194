"""A child process that prints a token: a deadline, bounded output, and nothing of its kin left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from idtoken_proxy.identity.redaction import redacted
from idtoken_proxy.settings.plausible import shown_path

DEADLINE = 9.5  # seconds: under the cache's ten, so that the error is this one
MAX_OUTPUT = 64 * 1024  # bytes, of stdout and of stderr
_TURN = 0.02  # seconds between two looks at whether it has ended


_log = structlog.get_logger("idtoken_proxy.identity")
_running: set[int] = set()  # process groups
_warned: set[str] = set()  # programs


@atexit.register
def _kill_all() -> None:
    """The threads that wait for them are daemons, and end first."""
    for group in tuple(_running):
        _kill(group)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class TimedOut(Exception):
    """It was killed, with its process group."""


class TooMuch(Exception):
    """It wrote more than it may, and was killed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """`code`: negative where a signal ended it. `stderr`: its lines, redacted."""

    code: int
    stdout: str = field(repr=False)
    stderr: tuple[str, ...]


def run(
    argv: tuple[str, ...], environ: Mapping[str, str], deadline: float = DEADLINE, limit: int = MAX_OUTPUT
) -> Ended:
    """No shell, nothing on stdin. `limit`: bytes, of stdout and of stderr. Raises TimedOut, TooMuch, and OSError where it cannot be started."""
    _warn_of(argv[0], environ)
    end = time.monotonic() + deadline
    # A session of its own: a group to kill, and no terminal to ask for a password on.
    with subprocess.Popen(  # noqa: S603 -- the operator's own words
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environ),
        start_new_session=True,
    ) as process:
        _running.add(process.pid)
        try:
            stdout, stderr = _read(process, end, limit)
        except BaseException:
            _kill(process.pid)
            raise
        finally:
            _running.discard(process.pid)
    lines = tuple(redacted(line) for line in stderr.decode("utf-8", "replace").splitlines() if line.strip())
    return Ended(process.returncode, stdout.decode("latin-1"), lines)


def _warn_of(program: str, environ: Mapping[str, str]) -> None:
    """Whoever may write to a program that prints tokens has what it has. Told once, for it may be meant."""
    try:
        found = shutil.which(program, path=environ.get("PATH", os.defpath))
        if found is None or found in _warned or not os.stat(found).st_mode & stat.S_IWOTH:  # noqa: PTH116
            return
    except (OSError, ValueError):
        return  # it will be told by whoever starts it
    _warned.add(found)
    shown = shown_path(found)
    _log.warning("others may write to a program that prints tokens", path=shown, remedy=f"chmod o-w {shown}")


def _read(process: subprocess.Popen[bytes], end: float, limit: int) -> tuple[bytes, bytes]:
    """Until both pipes are closed, or the process has ended: a daemon that it left behind may hold them open."""
    assert process.stdout is not None
    assert process.stderr is not None
    pipes = (process.stdout.fileno(), process.stderr.fileno())
    read = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ended = process.poll() is not None
            ready = selector.select(0 if ended else min(_TURN, max(end - time.monotonic(), 0)))
            for key, _ in ready:
                chunk = os.read(key.fd, MAX_OUTPUT)
                if not chunk:
                    selector.unregister(key.fd)
                read[key.fd] += chunk
                if len(read[key.fd]) > limit:
                    raise TooMuch
            if ended and not ready:
                break
            if time.monotonic() >= end:
                raise TimedOut
    try:
        process.wait(max(end - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        raise TimedOut from None
    return read[pipes[0]], read[pipes[1]]
