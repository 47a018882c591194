"""The engine without sockets: the real front, router, exchange and connections between two transports that only
remember. So a million inputs cost what they cost the engine, and every one of them is cut wherever it can be.

Runs within an event loop, whose sockets it never touches.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import Route, Settings, Upstream
from idtoken_proxy.turns import at_once
from tests.hostile.judge import Tokens, check, read
from tests.hostile.strict import Head, Incomplete, Reader, check_frames

HOST = b"receiver.example"
TOKENS = Tokens("open.open.open", "bounded.bounded.bounded")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_ROUTES = (
    Route("open", Upstream("http", "receiver.example", 80), "https://open.example", FileIdentity("/none")),
    Route(
        "bounded",
        Upstream("http", "receiver.example", 80, "/base"),
        "https://bounded.example",
        FileIdentity("/none"),
        path="/bounded",
        strip_prefix=True,
    ),
)


class _Kernel:
    """No descriptor: nobody polls it, and an option that is set is as good as forgotten."""

    family = socket.AF_INET

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: object) -> None:
        pass


class Remembering(asyncio.Transport):
    """`broken`: ended by a reset, so that nobody takes what was written for all of it."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.broken = False
        self.paused = False
        self._protocol: asyncio.BaseProtocol = protocol
        self._waiting: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "socket": _Kernel()}.get(name, default)

    def say(self, data: bytes) -> None:
        """What the peer sent arrives, now or when it is read on."""
        if data:  # a loop never delivers nothing
            self._waiting.append(data)
            self._deliver()

    def end(self, *, error: Exception | None = None) -> None:
        """The peer has gone."""
        if not self.closed:
            self.closed = True
            protocol = cast("asyncio.Protocol", self._protocol)
            protocol.connection_lost(error)

    def _deliver(self) -> None:
        while self._waiting and not self.paused and not self.closed:
            cast("asyncio.Protocol", self._protocol).data_received(self._waiting.pop(0))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.written += data

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._deliver()

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def close(self) -> None:
        self.end()

    def abort(self) -> None:
        self.broken = self.broken or not self.closed
        self.end()


class _Slot:
    """A token that is always at hand."""

    def __init__(self, token: str, audience: str) -> None:
        self._token = IdToken(value=token, audience=audience, expires_at=time.time() + 3600, email=None)

    def current(self) -> IdToken:
        return self._token

    def refused(self, token: IdToken) -> bool:
        return False


class _Receiver(Remembering):
    """Of a connection that is at hand until something is written to it."""

    def __init__(self, protocol: asyncio.Protocol, on_use: Callable[[], None]) -> None:
        super().__init__(protocol)
        self._on_use = on_use

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.written:
            self._on_use()
        super().write(data)


class _Receivers:
    """Owns connections that are each used for one exchange. In the pool there always is one. `made`: those that were used."""

    def __init__(self, pool: Pool) -> None:
        self.made: list[UpstreamConnection] = []
        self._pool = pool
        cast("Any", pool).dial = self._dial  # where the pool would open one
        self.offer()

    def offer(self) -> None:
        connection = UpstreamConnection(self)

        def use() -> None:
            self.made.append(connection)
            self.offer()

        connection.connection_made(_Receiver(connection, use))
        self._pool.put(connection)

    async def _dial(self, *_: object, **__: object) -> UpstreamConnection | None:
        return self._pool.take()

    def register(self, connection: UpstreamConnection) -> None: ...

    def unregister(self, connection: UpstreamConnection) -> None: ...

    def put(self, connection: UpstreamConnection) -> None:
        connection.abort()


def transport_of(connection: UpstreamConnection) -> Remembering:
    return cast("Remembering", connection.transport)


@dataclass(frozen=True)
class Outcome:
    """What the receiver had in whole, and what the app was told."""

    requests: tuple[tuple[bytes, ...], ...]
    statuses: tuple[int, ...]
    closed: bool

    @property
    def settled(self) -> Outcome:
        """A head may have two faults, too many fields and what is no HTTP: in pieces the second is seen before the first."""
        *before, last = self.statuses or (0,)
        return replace(self, statuses=(*before, 400 if last == 431 else last))


class Offline:
    """`told`: the octets that the last app of `send` got."""

    def __init__(self) -> None:
        self.told = b""
        self.sweeper = Sweeper(3600.0)
        pool = Pool(_ROUTES[0].upstream, self.sweeper, tls=None, keepalive=1e9, connect=5.0)
        self._receivers = _Receivers(pool)
        slots = {
            route.name: cast("TokenSlot", _Slot(token, route.audience or ""))
            for route, token in zip(_ROUTES, (TOKENS.open, TOKENS.bounded), strict=True)
        }
        self._context = ServerContext(
            at_once(Router.made(Settings(routes=_ROUTES), slots, lambda _: pool, None, Stats())),
            self.sweeper,
            access_log=None,
            stats=Stats(),
        )

    def app(self) -> tuple[Remembering, Downstream]:
        self._receivers.made.clear()
        protocol = Downstream(self._context, Door())
        transport = Remembering(protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def send(self, wire: bytes, at: Iterable[int] = ()) -> Outcome:
        """An app's octets, in pieces; each request that reaches the receiver whole is answered. Judges all of them."""
        app, protocol = self.app()
        answered = 0
        begin = 0
        for place in (*sorted({place for place in at if 0 < place < len(wire)}), len(wire)):
            app.say(wire[begin:place])
            begin = place
            while answered < len(self._receivers.made):
                connection = self._receivers.made[answered]
                record = read(bytes(transport_of(connection).written))
                if not record.requests:
                    break
                answered += 1
                transport_of(connection).say(OK)
        heads = self._judged()
        self.told = bytes(app.written)
        statuses = tuple(_statuses(self.told))
        closed = app.closed or protocol.closing
        app.end()
        assert all(connection.lost or connection.listener is None for connection in self._receivers.made)
        requests = tuple((*head.start, head.body, *sum(sorted(head.fields), ())) for head in heads)
        return Outcome(requests, statuses, closed)

    def _judged(self) -> list[Head]:
        heads = []
        for connection in self._receivers.made:
            record = read(bytes(transport_of(connection).written))
            assert not record.torn, record  # a head is one write
            assert len(record.requests) + (record.begun is not None) == 1, record
            for head in (*record.requests, *([record.begun] if record.begun else [])):
                check(head, TOKENS, HOST)
            heads += record.requests
        return heads

    def answer(
        self, wire: bytes, at: Sequence[int] = (), *, ended: bool = True, request: bytes = b"GET"
    ) -> tuple[Head | None, bool]:
        """A receiver's octets, in pieces, and then its end: the final head that the app saw, and whether its answer was
        whole. Raises Malformed.
        """
        app, _ = self.app()
        app.say(request + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        (connection,) = self._receivers.made
        receiver = transport_of(connection)
        begin = 0
        for place in (*sorted({place for place in at if 0 < place < len(wire)}), len(wire)):
            if not receiver.closed:
                receiver.say(wire[begin:place])
            begin = place
        if ended and wire:  # a request that met with silence may be said again; test_exchange.py has that
            receiver.end()
        reader = Reader(bytes(app.written))
        try:
            head = reader.response(request)
            while head.status < 200:
                head = reader.response(request)
        except Incomplete as incomplete:
            assert app.broken or not ended or not wire, app.written
            return incomplete.head, False
        finally:
            app.end()
        assert not reader.left, reader.left
        return head, True


def _statuses(written: bytes) -> list[int]:
    """A body here never begins like an answer, so that the answer to a HEAD is told from any other.

    Where the app's first octets were those of HTTP/2's preface, it is answered in frames. That they are frames is all that
    is asked of them here: `tests.fuzz.http2` has the rest.
    """
    if written and not written.startswith(b"HTTP/"):
        check_frames(written)
        return []
    reader = Reader(written)
    statuses: list[int] = []
    while reader.left:
        at = reader.at
        head = reader.response(b"HEAD")
        if reader.left and not reader.left.startswith(b"HTTP/1.1 "):
            reader.at = at
            reader.response()
        statuses.append(head.status)
    return statuses
