"""Signals and children while a wrapped app runs. One thread, asleep in sigwaitinfo(2); no handler runs, so none races.

A signal that the terminal sent (Ctrl-C, its hang-up) has reached the app already, since it is in the same
process group; the kernel says so (`si_code`). Whatever somebody sent to this process alone is passed on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final

import structlog

FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGQUIT,
)
WATCHED: Final = frozenset({*FORWARDED, signal.SIGCHLD, signal.SIGALRM})
# Longer than a proxy takes to end once its drain is over.
PATIENCE: Final = 5.0
_SI_KERNEL: Final = 0x80  # sigaction(2)

Heard = tuple[int, bool]

log = structlog.get_logger("proxy.wrapper")


def next_signal() -> Heard:
    """(signal, whether the app has it already)."""
    if sys.platform == "darwin":  # pragma: no cover -- which has no sigwaitinfo(2)
        number = signal.sigwait(WATCHED)
        return number, number in (signal.SIGINT, signal.SIGQUIT) and _in_foreground()
    info = signal.sigwaitinfo(WATCHED)
    return info.si_signo, info.si_code == _SI_KERNEL


def _in_foreground() -> bool:  # pragma: no cover
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:
        return False


def ended() -> Iterator[tuple[int, int]]:
    """(process, exit code as a shell has it) of every child that has ended, those left to PID 1 by others included."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        yield pid, code if code >= 0 else 128 - code


def send(pid: int, signum: int) -> None:
    """Only to a child that has not been reaped: its number is nobody else's."""
    os.kill(pid, signum)


def supervise(
    app: int,
    proxy: int,
    *,
    drain: float,
    hear: Callable[[], Heard] = next_signal,
    told: Callable[[], object] = lambda: None,
) -> int:
    """Until both have ended; the exit code. `drain`: seconds that each of them gets to end once it is told to. `told`
    is called when the end begins. WATCHED must be blocked.
    """
    open_: dict[int, str] = {app: "app", proxy: "proxy"}
    code: int | None = None
    broken = False  # the proxy ended, and nobody had asked it to
    while open_:
        signum, has_it = hear()
        if signum == signal.SIGCHLD:
            for pid, status in ended():
                who = open_.pop(pid, None)
                if who == "app":
                    code = status
                elif who == "proxy" and app in open_:
                    broken = status != 0
                    log.warning("the proxy has ended, and takes the app along", exit_code=status, grace=drain)
                else:
                    continue
                told()
                for other in open_:
                    send(other, signal.SIGTERM)
                signal.setitimer(signal.ITIMER_REAL, drain + (PATIENCE if proxy in open_ else 0))
        elif signum == signal.SIGALRM:
            for pid, who in open_.items():
                log.warning("killed, since it did not end", process=who)
                send(pid, signal.SIGKILL)
        elif app in open_:
            if signum == signal.SIGTERM:
                told()
            if not has_it:
                send(app, signum)
        elif signum in (signal.SIGTERM, signal.SIGINT):
            send(proxy, signum)  # which drains, and ends at once
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert code is not None
    return 1 if broken else code
