"""Which loopback address this machine has: one without IPv4 has ::1 alone, and it costs nothing to try."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "::1")  # in the order of preference: IPv4 is what most documents show


def loopback(addresses: Sequence[str] = LOOPBACK) -> str:
    """The first of `addresses` that a socket can be bound to; the first one, whose failure is then told, where none can."""
    return next((address for address in addresses if _is_here(address)), addresses[0])


def _is_here(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
    except OSError:  # EADDRNOTAVAIL, or EAFNOSUPPORT from a kernel without that family
        return False
    return True
