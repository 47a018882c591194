"""How much of what was written to a peer it has yet to take, the kernel's part included."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

_INT = struct.Struct("i")
_SO_NWRITE: Final = 0x1024  # macOS' sys/socket.h; its sockets refuse TIOCOUTQ


def unsent(transport: asyncio.Transport, platform: str = sys.platform) -> int:
    """Octets in the transport's buffer and in the socket's (tcp(7) and unix(7): SIOCOUTQ, which is TIOCOUTQ).

    A kernel's buffer of megabytes says that it can take more only once a good part of it has gone, so that a slow and
    steady reader looks, from the outside, as if it had stopped.
    """
    size = transport.get_write_buffer_size()
    connected = transport.get_extra_info("socket")
    if connected is None or connected.fileno() < 0:
        return size
    if platform == "darwin":
        return size + int(connected.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
    answer = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, _INT.pack(0))
    (queued,) = _INT.unpack(answer)
    return size + int(queued)
