"""A process in the app's process group that only hears signals: what reached it as well as the wrapper was sent to the
group (`kill -TERM -PGID`, `timeout`, a shell's `kill %1`) or to the whole control group (systemd), so that the app has it.

Nothing else tells: to one process, a signal that was sent to it alone looks like one that was sent to all. The proxy
cannot be the witness. It is outside the group; and `pkill idtoken-proxy` reaches it and the wrapper, but not the app, for
which reason this process bears another name, on its command line too.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from idtoken_proxy.wrapper.launch import die_with

NAME: Final = b"signal-witness"  # prctl(2) takes 15 octets
_PR_SET_NAME: Final = 15
# Whoever signals many processes does so one after another.
PATIENCE: Final = 0.1
# `timeout` signals its child and then its group: the two are one. So a second signal counts when it comes later than this.
ONE: Final = 0.5
_LOOK: Final = 0.005
_TIME: Final = struct.Struct("d")
_SI_KERNEL: Final = 0x80  # sigaction(2)
_UNABLE: Final = re.compile(r"\nState:\t[TtZX]")  # proc(5): stopped, traced, dead


class Witness:
    """`hears`: signals that the caller has blocked. Only on Linux; elsewhere it has seen nothing, and signals that are
    sent to the group reach the app twice.
    """

    def __init__(self, hears: tuple[int, ...]) -> None:
        self._heard = mmap.mmap(-1, _TIME.size * signal.NSIG)  # shared; when each was heard last
        self.pid: int | None = None  # its process
        if sys.platform == "linux":
            parent = os.getpid()
            self.pid = os.fork()
            if self.pid == 0:
                _hear(self._heard, hears, parent)

    def saw(self, signum: int) -> bool:
        """Whether it gets the signal that this process has just got."""
        now = time.monotonic()
        while self.pid is not None and time.monotonic() < now + PATIENCE:
            if self._awaits(signum):
                return True
            (when,) = _TIME.unpack_from(self._heard, _TIME.size * signum)
            if when > now - ONE:
                return True
            time.sleep(_LOOK)
        return False

    def _awaits(self, signum: int) -> bool:
        """On a busy machine it may be long before its turn on the processor; the kernel knows at once. Of one that was
        stopped or killed, or of a stranger who has its number since, nothing can be told.
        """
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        if _UNABLE.search(status) or f"\nPPid:\t{os.getpid()}\n" not in status:
            return False
        pending = status.partition("\nShdPnd:")[2].partition("\n")[0]
        return bool(int(pending or "0", 16) >> (signum - 1) & 1)


def _hear(
    heard: mmap.mmap, hears: tuple[int, ...], parent: int
) -> NoReturn:  # pragma: no cover -- it is killed
    try:
        die_with(parent)
        _rename()
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))  # nobody shall wait for its end of a pipe
        if sys.platform == "linux":
            while True:
                info = signal.sigwaitinfo(hears)
                # Not the terminal's keys, of which there is no doubt; its hang-up is another matter.
                if info.si_code != _SI_KERNEL or info.si_signo == signal.SIGHUP:
                    _TIME.pack_into(heard, _TIME.size * info.si_signo, time.monotonic())
    finally:
        os._exit(1)  # such as without /proc


def _rename() -> None:  # pragma: no cover
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = int(stat[45]), int(stat[46])  # arg_start and arg_end of proc(5)
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, NAME, min(len(NAME), end - start))
    ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME)
