"""systemd's Type=notify (and Type=notify-reload): what sd_notify(3) says to $NOTIFY_SOCKET, where there is one."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Final

_PATIENCE: Final = 1.0  # seconds for a service manager that does not read
_MOST_NAMED: Final = 5  # routes, in a line that `systemctl status` shows


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """A service manager that is gone is no reason to end."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path  # an abstract socket: unix(7)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(_PATIENCE)
        told.sendto("\n".join(assignments).encode(), address)


def reloading(environ: Mapping[str, str]) -> None:
    """READY=1 is to follow. The time lets systemd tell it from an earlier one's."""
    notify(environ, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def waiting(routes: Iterable[tuple[str, str | None]]) -> str:
    """The STATUS= of a start that is not over. `routes`: (name, cause of the last failure) of those without a token."""
    named = [name if cause is None else f"{name} ({cause})" for name, cause in routes]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"STATUS=waiting for the first token of {', '.join(named[:_MOST_NAMED])}{more}"
