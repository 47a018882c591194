"""Between fork and exec: the app gets everything as it would have it without a wrapper, but for its environment."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NoReturn

from idtoken_proxy.settings.plausible import shown_path
from idtoken_proxy.terminal import say

NOT_FOUND: Final = 127  # as a shell says it (POSIX, XCU section 2.8.2)
NOT_EXECUTABLE: Final = 126
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
# Python ignores these two for itself; an app that is started so would not end with its pipe.
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)

Exec = Callable[[str, Sequence[str], Mapping[str, str]], object]


def become(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    handled: Iterable[int],
    mask: Iterable[int],
    parent: int,
) -> NoReturn:
    """Does not return: as `command`, or with 127 or 126. `handled`: signals that were not ignored at the start; `mask`:
    those that were blocked then; `parent`: whoever, killed -9, takes the app along.
    """
    die_with(parent)
    for signum in (*handled, *_IGNORED_BY_PYTHON):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    code = execute(command, environ)
    sys.stderr.flush()
    os._exit(code)


def die_with(parent: int) -> None:
    """On Linux: SIGKILL with the death of `parent`, which has one thread only. The kernel forgets it where the app is
    setuid or has file capabilities.
    """
    if sys.platform == "linux":  # pragma: no branch -- the others have nothing like it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # too late: it has gone meanwhile
            os._exit(1)


def _exec(file: str, argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    os.execvpe(file, list(argv), environ)  # noqa: S606 -- what the user asked for


def execute(command: Sequence[str], environ: Mapping[str, str], run: Exec = _exec) -> int:
    """The exit code where the command cannot be run."""
    try:
        run(command[0], command, environ)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without #!, which a shell runs by itself
            script = shutil.which(command[0], path=environ.get("PATH")) or command[0]
            return execute(["/bin/sh", script, *command[1:]], environ, run)
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        cause = "not found" if absent else error.strerror
        say(f"idtoken-proxy: {shown_path(command[0])}: {cause}", err=True)
        return NOT_FOUND if absent else NOT_EXECUTABLE
    except ValueError as error:  # a NUL within, an empty name
        say(f"idtoken-proxy: {shown_path(command[0])}: {error}", err=True)
        return NOT_FOUND
    raise AssertionError("exec returned")
