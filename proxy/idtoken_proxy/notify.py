"""systemd's Type=notify (and Type=notify-reload): what sd_notify(3) says to $NOTIFY_SOCKET, where there is one."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Final

_PATIENCE: Final = 1.0  # seconds for a service manager that does not read
MOST_NAMED: Final = 5  # routes, in a line that `systemctl status` shows


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """A service manager that is gone is no reason to end."""
    if not is_heard(environ):
        return
    path = environ["NOTIFY_SOCKET"]
    address = "\0" + path[1:] if path.startswith("@") else path  # an abstract socket: unix(7)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(_PATIENCE)
        told.sendto("\n".join(assignments).encode(), address)


def is_heard(environ: Mapping[str, str]) -> bool:
    """Whether there is a service manager: without one, nothing is worth being put into words."""
    return environ.get("NOTIFY_SOCKET", "").startswith(("/", "@"))


def reloading(environ: Mapping[str, str]) -> None:
    """READY=1 is to follow. The time lets systemd tell it from an earlier one's."""
    notify(environ, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def waiting(routes: Iterable[tuple[str, str | None]], count: int) -> str:
    """The STATUS= of a start that is not over. `routes`: (name, cause of the last failure) of MOST_NAMED of those without a
    token, of which there are `count`.
    """
    named = [name if cause is None else f"{name} ({cause})" for name, cause in routes]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"STATUS=waiting for the first token of {', '.join(named)}{more}"
