"""Sets what must be set before anything else is imported, however this process was started."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final

_SERVE: Final = "serve"
_SERVING: Final = frozenset({_SERVE, "emulate", "demo"})  # they run until told to stop, which is no failure
_WRAPPING: Final = "run"
_STDERR: Final = 2


def prepare(argv: Sequence[str], platform: str = sys.platform) -> None:
    """Runs first. `argv`: the command's name and what follows it. Raises SystemExit if the proxy cannot run."""
    if platform == "win32":
        # It installs there, without uvloop: a failed build of uvloop would not say that the system is the problem.
        sys.exit(
            "Windows is not supported: its Python lacks the signals, processes and sockets that idtoken-proxy needs. "
            "Install it in WSL (https://learn.microsoft.com/windows/wsl/install), or run its container image."
        )
    _open_what_is_closed()
    _own_libraries_first()
    # If SIGCHLD is ignored, the kernel reaps children itself: nobody gets their exit codes, and a failed gcloud would
    # count as success. A wrapped app gets the default, too.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = argv[0] if argv else ""
    if command in (_SERVE, _WRAPPING):
        # What the start makes, stays, and searching it for garbage takes a tenth of the start. idtoken_proxy.serving
        # turns the collector on again.
        gc.disable()
    else:
        # The other commands end soon, or are for trying things. Collecting less often saves an eighth of their time.
        gc.set_threshold(20_000, 50, 100)
    if command in _SERVING or command == _WRAPPING:
        _end_when_told(success=command in _SERVING)


def _open_what_is_closed() -> None:
    """Opens standard input, output and error if they are closed: else a socket may get one of their numbers, and Python
    has None for them. An app started with exec gets them closed again, as without a wrapper.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", _STDERR, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 -- a descriptor


def _own_libraries_first() -> None:
    """Moves PYTHONPATH behind our libraries. It is the app's, and may lead to the app's modules of the same names, or
    to older versions of our libraries. Libraries of ours that only PYTHONPATH leads to are still found. A wrapped app
    gets it unchanged.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- pathlib is slow to import
    # "": the current directory, where python -m looks first.
    foreign = set(map(_absolute, ["", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
    foreign.discard(package)
    later = [entry for entry in sys.path if _absolute(entry) in foreign]
    sys.path[:] = [entry for entry in sys.path if entry not in later] + later


def _absolute(entry: str) -> str:
    """`entry` itself if the current directory has been deleted: the system has no name for it then."""
    try:
        return os.path.abspath(entry)  # noqa: PTH100 -- pathlib is slow to import
    except FileNotFoundError:
        return entry


def _end_when_told(*, success: bool) -> None:
    """Handles signals to end until the command sets its handlers. PID 1 ignores a signal without a handler, and a stop
    may arrive during the imports, which take long. Nothing is open yet that must be closed.
    """

    def end(signum: int, _frame: FrameType | None) -> None:
        os._exit(0 if success else 128 + signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        # Commands that serve handle SIGINT later even if it was ignored at first. An app goes on ignoring it.
        if success or signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, end)
