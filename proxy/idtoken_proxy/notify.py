"""systemd's Type=notify and Type=notify-reload: sends what sd_notify(3) describes to $NOTIFY_SOCKET, if that is set."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Final

_PATIENCE: Final = 1.0  # seconds for a service manager that does not read
MOST_NAMED: Final = 5  # routes, in a line that `systemctl status` shows


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """Sends them. Errors are ignored: a service manager that is gone is no reason to end."""
    if not is_heard(environ):
        return
    path = environ["NOTIFY_SOCKET"]
    address = "\0" + path[1:] if path.startswith("@") else path  # an abstract socket: unix(7)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_PATIENCE)
        manager.sendto("\n".join(assignments).encode(), address)


def is_heard(environ: Mapping[str, str]) -> bool:
    """Whether there is a service manager. If not, no message need be composed."""
    return environ.get("NOTIFY_SOCKET", "").startswith(("/", "@"))


def reloading(environ: Mapping[str, str]) -> None:
    """Announces a reload; READY=1 must follow. The time lets systemd tell this reload from an earlier one."""
    notify(environ, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def waiting(routes: Iterable[tuple[str, str | None]], count: int) -> str:
    """The STATUS= of a start that is not over. `routes`: (name, cause of the last failure) of up to MOST_NAMED routes
    without a token. `count`: how many there are.
    """
    named = [name if cause is None else f"{name} ({cause})" for name, cause in routes]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"STATUS=waiting for the first token of {', '.join(named)}{more}"
