"""One end of a TCP connection in a test: every octet that came is recorded, what is waited for is waited for with a
limit, and everything that a well-behaved peer would never do can be done.

The reading of messages is our own here, and naive: it must not share a bug with the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

PATIENCE = 10.0  # seconds that anything may take on a busy machine before the test fails
PIECE = 64 * 1024


class Ended(Exception):
    """The peer ended the connection before all that was waited for had come."""


@dataclass
class Message:
    """`start`: the request line or the status line; `fields` in order, names in lower case; `raw`: as it came."""

    start: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    raw: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def one(self, name: str) -> str | None:
        """None where there is none; two are a failure."""
        values = self.all(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None


def parse_head(head: bytes) -> Message:
    start, *lines = head.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
    return Message(start, [_field(line) for line in lines], raw=head)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


class Wire(asyncio.Protocol):
    """`received`: all that ever came; `ended`: the peer will send no more; `lost`: the connection is gone."""

    transport: asyncio.Transport

    def __init__(self, on_made: Callable[[Wire], object] = lambda _: None, *, tls: bool = False) -> None:
        self.received = bytearray()
        self.ended = False
        self.lost = False
        self.error: Exception | None = None
        self.requests: list[Message] = []
        self.sent = 0  # octets handed to the kernel or to its waiting line
        self._taken = 0
        self._on_made = on_made
        self._tls = tls
        self._full = False
        self._news = asyncio.Event()

    # -- asyncio ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._news.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._news.set()
        return not self._tls  # half-open, where the transport can be

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.lost = True
        self.error = exc
        self._news.set()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._news.set()

    # -- sending ---------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        self.transport.write(data)

    async def drip(self, data: bytes) -> None:
        """Octet by octet, each read on its own by whoever reads at once."""
        for at in range(len(data)):
            if self.lost:
                return
            self.send(data[at : at + 1])
            await turns()

    async def pour(self, data: bytes, limit: float = PATIENCE) -> None:
        """As fast as the peer takes it, and no faster. TimeoutError where it takes no more."""
        for at in range(0, len(data), PIECE):
            async with asyncio.timeout(limit):
                await self.wait_on(lambda: not self._full or self.lost)
            if self.lost:
                raise Ended
            self.send(data[at : at + PIECE])

    def half_close(self) -> None:
        self.transport.write_eof()

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        """RST, whatever is still to be sent (socket(7), SO_LINGER of 0 seconds)."""
        kernel = self.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def stall(self) -> None:
        """Reads no more: the peer's octets stay in the kernel, and then with the peer."""
        self.transport.pause_reading()

    def go_on(self) -> None:
        self.transport.resume_reading()

    # -- receiving -------------------------------------------------------------

    async def wait_on(self, condition: Callable[[], bool]) -> None:
        """However long it takes."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def wait(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.wait_on(condition)
        except TimeoutError:
            raise AssertionError(
                f"still waiting; so far there came {bytes(self.received[-600:])!r}"
            ) from None

    async def until(self, marker: bytes) -> bytes:
        """Up to the marker's end. Raises Ended."""
        await self.wait(lambda: marker in self.received[self._taken :] or self.ended)
        end = self.received.find(marker, self._taken)
        if end < 0:
            raise Ended(bytes(self.received[self._taken :]))
        return self._take(end + len(marker) - self._taken)

    async def exactly(self, count: int) -> bytes:
        await self.wait(lambda: len(self.received) >= self._taken + count or self.ended)
        if len(self.received) < self._taken + count:
            raise Ended(bytes(self.received[self._taken :]))
        return self._take(count)

    async def to_end(self) -> bytes:
        """All that is still to come."""
        await self.wait(lambda: self.ended)
        return self._take(len(self.received) - self._taken)

    async def gone(self) -> None:
        """The connection is over, in whatever way."""
        await self.wait(lambda: self.ended)

    def _take(self, count: int) -> bytes:
        taken = bytes(self.received[self._taken : self._taken + count])
        self._taken += count
        return taken

    def forget(self) -> None:
        """What has been read is of no more use: a long test keeps a short record."""
        del self.received[: self._taken]
        self._taken = 0
        self.requests.clear()

    @property
    def unread(self) -> bytes:
        return bytes(self.received[self._taken :])

    async def request(self) -> Message:
        """The next request, whole. Raises Ended."""
        message = parse_head(await self.until(b"\r\n\r\n"))
        self.requests.append(message)
        self._news.set()  # who waits for it may have looked before
        await self.body_of(message)
        return message

    async def response(self, *, to: str = "GET") -> Message:
        """The next answer, whole, an interim one included. Raises Ended, unless the end is its end."""
        message = parse_head(await self.until(b"\r\n\r\n"))
        status = message.status
        if to != "HEAD" and status >= 200 and status not in (204, 304):
            await self.body_of(message, until_close=True)
        return message

    async def body_of(self, message: Message, *, until_close: bool = False) -> None:
        if message.one("transfer-encoding") is not None:
            assert message.one("transfer-encoding") == "chunked"
            assert message.one("content-length") is None
            while True:
                size = int(await self.until(b"\r\n"), 16)
                if not size:
                    break
                message.body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            while (line := await self.until(b"\r\n")) != b"\r\n":
                message.trailers.append(_field(line.decode("latin-1").strip()))
        elif (length := message.one("content-length")) is not None:
            message.body = await self.exactly(int(length))
        elif until_close:
            message.body = await self.to_end()
            if self.error is not None:
                raise Ended(message.body)


async def turns(count: int = 3) -> None:
    """Lets the loop, and with it everybody on it, go on a little."""
    for _ in range(count):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """For what shows itself nowhere but in a number."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.005)


async def connect(port: int, host: str = "127.0.0.1") -> Wire:
    """As an app."""
    _, wire = await asyncio.get_running_loop().create_connection(Wire, host, port)
    return wire


Script = Callable[[Wire], Awaitable[object]]


class Receiver:
    """A receiver that follows a script on each connection. `connections`: all that there ever were, the oldest first.

    A script may end early: the connection stays open, and silent. Its failures come out at the end of the `async with`.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.script = script
        self.connections: list[Wire] = []
        self._host = host
        self._tls = tls
        self._tasks: list[asyncio.Future[object]] = []
        self._server: asyncio.Server
        self.port = 0

    async def __aenter__(self) -> Self:
        def protocol() -> Wire:
            return Wire(self._accepted, tls=self._tls is not None)

        self._server = await asyncio.get_running_loop().create_server(
            protocol, self._host, self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self.connections:
            if not wire.lost:
                wire.transport.abort()
        await turns()
        if raised[1] is None:
            for outcome in outcomes:
                if isinstance(outcome, Exception) and not isinstance(outcome, Ended):
                    raise outcome

    def _accepted(self, wire: Wire) -> None:
        self.connections.append(wire)
        self._tasks.append(asyncio.ensure_future(self.script(wire)))

    @property
    def listeners(self) -> Sequence[socket.socket]:
        """What they are set to, the connections that they accept are set to as well."""
        return cast("Sequence[socket.socket]", self._server.sockets)

    @property
    def requests(self) -> list[Message]:
        """Of all connections; whole, or the heads of what is still to come in whole."""
        return [request for wire in self.connections for request in wire.requests]

    @property
    def received(self) -> bytes:
        return b"|".join(bytes(wire.received) for wire in self.connections)

    async def connection(self, number: int = 0) -> Wire:
        await eventually(lambda: len(self.connections) > number, f"no connection {number}")
        return self.connections[number]


def answering(*answers: bytes) -> Script:
    """Each request gets the next answer; the last one is for all that follow. One list for all connections."""
    left = list(answers)

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            wire.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def ok(body: bytes = b"hello", *fields: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"{method} {target} HTTP/{version}\r\nHost: localhost\r\n{lines}\r\n".encode()


def post(body: bytes, *fields: str, target: str = "/") -> bytes:
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST") + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


@contextlib.asynccontextmanager
async def running(work: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """Beside the block, and no longer than it."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
