"""Connections that cost a proxy as much memory as one can: whoever sends does, and whoever should read does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Receiver, Wire, get

# More than the kernel's buffers on the way hold, the proxy's own among them, which grow to 4 MiB.
MUCH: Final = bytes(8 * 1024 * 1024)
_LINES: Final = tuple(f"X-{n}: {'y' * 7000}" for n in range(9))  # nearly 64 KiB
_ANSWER: Final = "\r\n".join(("HTTP/1.1 200 OK", *(f"X-{n}: {'y' * 8000}" for n in range(31)))).encode()
_KERNEL: Final = 16 * 1024  # what is not read shall stay with the proxy, and not with its reader's kernel


class Crowd:
    """`go`: from now on everybody sends what he can. Until then the connections come about."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.apps: list[Wire] = []
        self._busy: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self.apps)

    async def come(self, app: Callable[[int], Awaitable[Wire]], port: int, count: int) -> None:
        self.apps += await asyncio.gather(*(app(port) for _ in range(count)))

    def leave(self) -> None:
        for task in self._busy:
            task.cancel()
        for app in self.apps:
            app.transport.abort()

    def _pours(self, wire: Wire, octets: bytes) -> None:
        async def pour() -> None:
            await self.go.wait()
            wire.send(octets)

        self._busy.append(asyncio.ensure_future(pour()))

    async def receives(self, wire: Wire) -> None:
        """As a receiver: by what it is asked for."""
        head = await wire.until(b"\r\n\r\n")
        wire.stall()
        if b"Upgrade: websocket" in head:
            wire.send(SWITCHING)
            self._pours(wire, MUCH)
        elif head.startswith(b"GET "):
            self._pours(wire, _ANSWER)  # which does not end

    # -- what an app does --------------------------------------------------------------

    async def opens_a_websocket(self, port: int) -> Wire:
        app = await _connect(port)
        app.send(HANDSHAKE)
        await app.until(b"\r\n\r\n")
        app.stall()
        self._pours(app, MUCH)
        return app

    async def asks_in_vain(self, port: int) -> Wire:
        app = await _connect(port)
        app.send(get("/"))
        return app

    async def asks_with_a_long_head(self, port: int) -> Wire:
        """And with a body that is kept for a second saying."""
        app = await _connect(port)
        self._pours(app, get("/", *_LINES, "Content-Length: 65536", method="POST") + bytes(65536))
        return app

    async def begins_a_long_head(self, port: int) -> Wire:
        app = await _connect(port)
        self._pours(app, "\r\n".join(("GET / HTTP/1.1", "Host: localhost", *_LINES)).encode())
        return app


def of_small_kernels(receiver: Receiver) -> None:
    for listener in receiver.listeners:
        with socket.fromfd(listener.fileno(), listener.family, listener.type) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL)


async def _connect(port: int) -> Wire:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    _, wire = await loop.create_connection(Wire, sock=sock)
    return wire
