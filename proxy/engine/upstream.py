"""Connections to receivers, and the pool of each origin.

Policy of reuse: last in, first out, so that few connections stay warm and the rest run out; a connection that said
anything while idle, or whose last exchange did not end cleanly on both sides, is never used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol, cast

import aiohappyeyeballs

from proxy.engine.body import BodyReader, UntilCloseReader
from proxy.engine.http1 import parse_response
from proxy.engine.sweeper import NEVER, Sweeper
from proxy.engine.tls import TlsTransport
from proxy.errors import (
    BrokenOff,
    ConnectFailed,
    MalformedResponse,
    TlsFailed,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.policy.request import Response
from proxy.settings.model import Upstream

_HEAD_END = b"\r\n\r\n"
MAX_RESPONSE_HEAD = 256 * 1024  # what Node and Go allow is less; a receiver is trusted more than a caller
WRITE_HIGH_WATER = 64 * 1024
_NEXT_ADDRESS_AFTER = 0.25  # RFC 8305 section 5


class Listener(Protocol):
    """What an exchange is to its upstream connection."""

    def on_answer(self, response: Response, rest: bytes) -> BodyReader | None:
        """A head, and what came behind it so far. Returns the reader of the body that is to be read on; None where
        there is none: an interim answer, or one that the listener took whole. Raises MalformedResponse.
        """

    def on_answer_data(self, payload: bytes) -> None: ...

    def on_answer_end(self, reader: BodyReader) -> None: ...

    def on_upstream_lost(self, error: UpstreamError) -> None: ...

    def on_upstream_full(self, *, full: bool) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """`answered`: whether the current exchange has had any byte of an answer."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.listener: Listener | None = None
        self.deadline = NEVER
        self.answered = False
        self._held = False
        self.lost = False
        self.transport: asyncio.Transport
        self._reader: BodyReader | None = None
        self._partial = b""

    # -- asyncio ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's have another base class
        transport.set_write_buffer_limits(WRITE_HIGH_WATER)
        self.pool.register(self)

    def data_received(self, data: bytes) -> None:
        listener = self.listener
        if listener is None:
            # Nobody asked: whatever this is, the next request must not take it for its answer.
            self.abort()
            return
        reader = self._reader
        if reader is not None:
            try:
                payload = reader.feed(data)
            except ValueError as error:
                self._fail(MalformedResponse(f"the receiver's body is malformed: {error}"))
                return
            if payload:
                listener.on_answer_data(payload)
            if reader.done:
                self._end(listener, reader)
            return
        self.answered = True
        if self._partial:
            data = self._partial + data
            self._partial = b""
        while True:
            end = data.find(_HEAD_END)
            if (end if end >= 0 else len(data) - len(_HEAD_END) + 1) > MAX_RESPONSE_HEAD:
                self._fail(MalformedResponse("the receiver's response head is too large"))
                return
            if end < 0:
                self._partial = data
                return
            try:
                response = parse_response(data[:end])
                data = data[end + 4 :]
                reader = listener.on_answer(response, data)
            except MalformedResponse as error:
                self._fail(error)
                return
            if reader is not None:
                self._reader = reader
                if data:
                    self.data_received(data)
                return
            if (
                self.listener is not listener or not data
            ):  # taken whole, or an interim answer with nothing behind
                return

    def eof_received(self) -> bool:
        return False  # the transport closes itself; connection_lost tells the exchange

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.pool.unregister(self)
        listener, reader = self.listener, self._reader
        self.listener = None
        if listener is None:
            return
        if isinstance(reader, UntilCloseReader) and exc is None:
            listener.on_answer_end(reader)
        else:
            listener.on_upstream_lost(
                BrokenOff("the receiver closed the connection before its answer was complete")
            )

    def pause_writing(self) -> None:
        if self.listener is not None:
            self.listener.on_upstream_full(full=True)

    def resume_writing(self) -> None:
        if self.listener is not None:
            self.listener.on_upstream_full(full=False)

    # -- the exchange's side ---------------------------------------------------

    def begin(self, listener: Listener) -> None:
        self.listener = listener
        self.answered = False
        self._reader = None

    def hold(self, *, held: bool) -> None:
        """The app reads slower than the receiver sends, or has caught up."""
        if held != self._held and not self.lost:
            self._held = held
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def release(self, *, reusable: bool) -> None:
        """The exchange is done with it."""
        self.listener = None
        self._reader = None
        transport = self.transport
        # Octets of a request that the receiver answered without reading it would stand before the next one.
        if (
            reusable
            and not self.lost
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            if (
                self._held
            ):  # by the end of an answer that the app has yet to read; the next one is another matter
                self.hold(held=False)
            self.pool.put(self)
        else:
            self.pool.unregister(self)
            self.transport.close()

    def abort(self) -> None:
        """At once and without an end that could be taken for the message's own."""
        self.listener = None
        self.pool.unregister(self)
        self.transport.abort()

    def expire(self) -> None:
        """Idle for too long."""
        self.abort()

    def _end(self, listener: Listener, reader: BodyReader) -> None:
        self._reader = None
        listener.on_answer_end(reader)

    def _fail(self, error: UpstreamError) -> None:
        listener = self.listener
        self.abort()
        if listener is not None:
            listener.on_upstream_lost(error)


class Pool:
    """The connections to one origin. `tls`: None for http."""

    def __init__(
        self,
        upstream: Upstream,
        sweeper: Sweeper,
        *,
        tls: ssl.SSLContext | None,
        keepalive: float,
        connect: float,
    ) -> None:
        self.upstream = upstream
        self._sweeper = sweeper
        self._tls = tls
        self._keepalive = keepalive
        self._connect_timeout = connect
        self._idle: list[UpstreamConnection] = []
        self._live: set[UpstreamConnection] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.origin}: {len(self._live)} connections, {len(self._idle)} idle>"

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def live(self) -> int:
        return len(self._live)

    def take(self) -> UpstreamConnection | None:
        """An idle connection, the warmest first; None where there is none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                connection.deadline = NEVER
                return connection
        return None

    def put(self, connection: UpstreamConnection) -> None:
        if self._closed:
            connection.abort()
            return
        connection.deadline = self._sweeper.now + self._keepalive
        self._idle.append(connection)

    def register(self, connection: UpstreamConnection) -> None:
        self._live.add(connection)
        self._sweeper.watch(connection)

    def unregister(self, connection: UpstreamConnection) -> None:
        self._live.discard(connection)
        self._sweeper.unwatch(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def close(self) -> None:
        """Idle connections go; one in use goes when its exchange ends."""
        self._closed = True
        for connection in list(self._idle):
            connection.abort()

    async def connect(self) -> UpstreamConnection:
        """A fresh connection, TLS included. Raises ConnectFailed, TlsFailed, UpstreamTimeout."""
        name = self.upstream.authority
        try:
            async with asyncio.timeout(self._connect_timeout):
                sock = await self._connected_socket()
                return await self._wrap(sock)
        except TimeoutError:
            error = UpstreamTimeout(f"{name} did not accept a connection within {self._connect_timeout:g} s")
            error.proxy_status = "connection_timeout"
            raise error from None
        except ssl.SSLCertVerificationError as error:
            raise TlsFailed(
                f"the certificate of {name} was not accepted: {error.verify_message}",
                remedy="if the receiver's certificate comes from a CA of your own, name it: tls: {ca_file: ...}",
            ) from None
        except ssl.SSLError as error:
            failed = TlsFailed(f"TLS with {name} failed: {error.reason or 'handshake broken off'}")
            failed.proxy_status = "tls_protocol_error"
            raise failed from None
        except ConnectionRefusedError:
            raise ConnectFailed(f"{name} refuses connections", proxy_status="connection_refused") from None
        except OSError as error:
            raise ConnectFailed(
                f"{name} cannot be reached: {error.strerror or type(error).__name__}"
            ) from None

    async def _connected_socket(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        upstream = self.upstream
        try:
            found = await loop.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise ConnectFailed(
                f"the name {upstream.host} cannot be resolved: {error.strerror}", proxy_status="dns_error"
            ) from None
        return await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1, loop=loop
        )

    async def _wrap(self, sock: socket.socket) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(self)
        outer: asyncio.Protocol = connection
        if self._tls is not None:
            outer = TlsTransport(self._tls, self.upstream.host, connection)
        try:
            await loop.create_connection(lambda: outer, sock=sock)
            if isinstance(outer, TlsTransport):
                await outer.ready
        except BaseException:
            # Cancelled just as it came about, it would live on without an owner.
            made = vars(outer).get("transport")
            if made is not None:
                made.abort()
            else:
                sock.close()
            self.unregister(connection)  # uvloop tells nobody of the end of what it was cancelled in making
            raise
        return connection


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifies always; `ca_file` is trusted besides the system's roots. Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
