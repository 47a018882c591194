"""Signals and children while a wrapped app runs. One thread, asleep in sigwaitinfo(2); no handler runs, so none races.

The app gets each signal once. A key of the terminal (Ctrl-C and the like) has reached it already, since it is in the same
process group; the kernel says so (`si_code`). So has one that was sent to the group or to the control group, which the
witness tells. The hang-up of a terminal is sent to the session's leader alone, be it a shell, which tells its groups, or
this process (ssh -t, tmux, xterm -e). Whatever somebody sent to this process alone is passed on. What is left of doubt:

    an app that has left the process group     gets what is sent to its control group twice; nothing tells, and a TERM too
                                               many is better than none. KillMode=mixed asks systemd for one
    one signal to all, and within half a       are one to the app
    second another to this process alone

The proxy serves until the app has ended, for one that is told to stop still makes its last calls. It hears none of these
signals itself. An app that was told to stop takes the time that it needs, whatever becomes of the proxy meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import time
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
# Within which a signal to all is the one that ended the app, and does not mean the drain that follows.
_SAME: Final = 1.0
_SI_KERNEL: Final = 0x80  # sigaction(2)
_KEYS: Final = frozenset({signal.SIGINT, signal.SIGQUIT})

Heard = tuple[int, bool]

log = structlog.get_logger("idtoken_proxy.wrapper")


def next_signal() -> Heard:
    """(signal, whether the app has it already)."""
    if sys.platform == "darwin":  # pragma: no cover -- which has no sigwaitinfo(2)
        number = signal.sigwait(WATCHED)
        return number, number in _KEYS and _in_foreground()
    else:  # noqa: RET505 -- else mypy takes it for macOS' too
        info = signal.sigwaitinfo(WATCHED)
        while (
            info.si_signo == signal.SIGALRM and info.si_code != _SI_KERNEL
        ):  # somebody's, and not the timer's
            info = signal.sigwaitinfo(WATCHED)
        return info.si_signo, info.si_code == _SI_KERNEL and info.si_signo in _KEYS


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
    end_proxy: Callable[[], object],
    hear: Callable[[], Heard] = next_signal,
    sent_to_all: Callable[[int], bool] = lambda _: False,
    told: Callable[[], object] = lambda: None,
) -> int:
    """Until both have ended; the exit code. `drain`: seconds that each of them gets to end once it is told to.
    `end_proxy` tells the proxy. `sent_to_all`: whether the signal that was just heard went to the process group. `told`
    is called when the end begins. WATCHED must be blocked.
    """
    open_: dict[int, str] = {app: "app", proxy: "proxy"}
    code: int | None = None
    broken = False  # the proxy ended, and nobody had asked it to
    stopping = False  # the app was asked to end
    app_ended = 0.0
    while open_:
        signum, has_it = hear()
        if signum == signal.SIGCHLD:
            for pid, status in ended():
                who = open_.pop(pid, None)
                if who == "app":
                    code, app_ended = status, time.monotonic()
                    told()
                    if proxy in open_:
                        end_proxy()
                        signal.setitimer(signal.ITIMER_REAL, drain + PATIENCE)
                elif who == "proxy" and app in open_ and stopping:
                    log.warning("the proxy has ended before the app", exit_code=status)
                elif who == "proxy" and app in open_:
                    broken = status != 0
                    log.warning("the proxy has ended, and takes the app along", exit_code=status, grace=drain)
                    told()
                    send(app, signal.SIGTERM)
                    signal.setitimer(signal.ITIMER_REAL, drain)
        elif signum == signal.SIGALRM:
            for pid, who in open_.items():
                log.warning("killed, since it did not end", process=who)
                send(pid, signal.SIGKILL)
        elif app in open_:
            if signum == signal.SIGTERM:
                stopping = True
                told()
            if not has_it and not (os.getpgid(app) == os.getpgrp() and sent_to_all(signum)):
                send(app, signum)
        elif signum in (signal.SIGTERM, signal.SIGINT):
            if time.monotonic() < app_ended + _SAME and (has_it or sent_to_all(signum)):
                continue
            send(proxy, signal.SIGKILL)  # somebody does not want to wait for the drain
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert code is not None
    return 1 if broken else code
