"""What has to be so before anything else is imported, however this process was started."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final

_SERVE: Final = "serve"
_SERVING: Final = frozenset({_SERVE, "emulate", "demo"})  # until they are told to stop, which is no failure
_WRAPPING: Final = "run"
_STDERR: Final = 2


def prepare(argv: Sequence[str], platform: str = sys.platform) -> None:
    """First of all. `argv`: the command's name and what follows it. SystemExit where the proxy cannot run."""
    if platform == "win32":
        # It installs there, without uvloop. A failed build of uvloop would tell nobody that it is the system that is wrong.
        sys.exit(
            "Windows is not supported: its Python lacks the signals, processes and sockets that idtoken-proxy needs. "
            "Install it in WSL (https://learn.microsoft.com/windows/wsl/install), or run its container image."
        )
    _open_what_is_closed()
    _own_libraries_first()
    # Where it is ignored, the kernel reaps children by itself: no exit code reaches whoever waits for one, and a failed
    # gcloud would count as 0. A wrapped app gets the default, too.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = argv[0] if argv else ""
    if command in (_SERVE, _WRAPPING):
        # What is made until it serves, stays, and looking for what does not is a tenth of the start. From then on the
        # collector runs: idtoken_proxy.serving.
        gc.disable()
    else:
        # The other commands end soon, or are for trying things: looking less often is an eighth of their time.
        gc.set_threshold(20_000, 50, 100)
    if command in _SERVING or command == _WRAPPING:
        _end_when_told(success=command in _SERVING)


def _open_what_is_closed() -> None:
    """Standard input, output and error, lest a socket take a number of theirs, and since Python has None for them then.
    Not for an app: with exec they are closed again, as it would find them without a wrapper.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", _STDERR, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 -- a descriptor


def _own_libraries_first() -> None:
    """PYTHONPATH is the app's: it may lead to modules of the app that are called as our libraries are, or to older ones of
    these. They come after ours; where ours are found by PYTHONPATH alone, they are found still. A wrapped app has the
    variable as it was.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- pathlib is slow to import
    # "": the current directory, where python -m looks first.
    foreign = set(map(_absolute, ["", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
    foreign.discard(package)
    later = [entry for entry in sys.path if _absolute(entry) in foreign]
    sys.path[:] = [entry for entry in sys.path if entry not in later] + later


def _absolute(entry: str) -> str:
    """Of a current directory that has been deleted the system tells no name: as it stands then."""
    try:
        return os.path.abspath(entry)  # noqa: PTH100 -- pathlib is slow to import
    except FileNotFoundError:
        return entry


def _end_when_told(*, success: bool) -> None:
    """Until the command has handlers of its own. PID 1 is deaf to a signal that it has no handler for, and the imports
    take long enough for a stop to come meanwhile. Nothing is open yet that had to be closed.
    """

    def end(signum: int, _frame: FrameType | None) -> None:
        os._exit(0 if success else 128 + signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        # Those that serve hear it later even where it was ignored at first; an app goes on ignoring it.
        if success or signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, end)
