"""Connections to receivers: requests out, answers in, strictly parsed and handed to the exchange that asked."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Protocol, cast

from idtoken_proxy.engine.body import (
    LAST_CHUNK,
    BodyReader,
    ChunkedReader,
    LengthReader,
    TooMuchOverhead,
    UntilCloseReader,
    chunk,
)
from idtoken_proxy.engine.connect_errors import told
from idtoken_proxy.engine.framing import answer_length
from idtoken_proxy.engine.http1 import parse_response
from idtoken_proxy.engine.interim import check_interim
from idtoken_proxy.engine.streams import CANCEL, AnswerListener
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.errors import BrokenOff, MalformedResponse, UpstreamError
from idtoken_proxy.policy.headers import Outbound, outbound_head
from idtoken_proxy.policy.request import Request, Response

_HEAD_END: Final = b"\r\n\r\n"
MAX_RESPONSE_HEAD: Final = (
    256 * 1024
)  # what Node and Go allow is less; a receiver is trusted more than a caller
WRITE_HIGH_WATER: Final = 64 * 1024


class Owner(Protocol):
    """The pool that a connection is of."""

    def register(self, connection: UpstreamConnection) -> None:
        """It has come about."""

    def unregister(self, connection: UpstreamConnection) -> None:
        """It is gone, or somebody else's."""

    def put(self, connection: UpstreamConnection) -> None:
        """It may be used again."""


class UpstreamConnection(asyncio.Protocol):
    """An AnswerSide (streams.py) over HTTP/1.1. `answered`: whether the current exchange has had any byte of an answer."""

    def __init__(self, pool: Owner) -> None:
        self.pool = pool
        self.listener: AnswerListener | None = None
        self.deadline = NEVER
        self.answered = False
        self.idle_since = 0.0  # by the clock that runs through suspend
        self._held = False
        self.lost = False
        self.transport: asyncio.Transport
        self._request: Request
        self._interim = 0  # answers of 1xx so far
        self._reusable = False  # as far as the answer goes
        self._reader: BodyReader | None = None
        self._partial = b""
        self._searched = 0  # octets of `_partial` that do not begin a head's end

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
                limit = "response_chunk_overhead" if isinstance(error, TooMuchOverhead) else None
                malformed = MalformedResponse(f"the receiver's body is malformed: {error}", limit=limit)
                self._fail(listener, malformed)
                return
            if payload:
                listener.on_answer_data(payload)
            if reader.done:
                self._end(listener, reader)
            return
        self.answered = True
        searched = 0
        if self._partial:
            data = self._partial + data
            self._partial = b""
            searched = self._searched
        while True:
            # From where the last search ended: a head that comes octet by octet would cost its square.
            end = data.find(_HEAD_END, searched)
            searched = 0
            if (end if end >= 0 else len(data) - len(_HEAD_END) + 1) > MAX_RESPONSE_HEAD:
                malformed = MalformedResponse(
                    "the receiver's response head is too large", limit="response_header_bytes"
                )
                self._fail(listener, malformed)
                return
            if end < 0:
                self._partial = data
                self._searched = max(len(data) - len(_HEAD_END) + 1, 0)
                return
            try:
                response = parse_response(data[:end])
                if response.status < 200:
                    self._interim += 1
                    check_interim(response, self._request, self._interim)
            except MalformedResponse as error:
                self._fail(listener, error)
                return
            data = data[end + 4 :]
            if response.status >= 200:
                self._on_final(listener, response, data)
                return
            if response.status == 101:
                self._partial = data  # which is no head, but for `take_over`
                listener.on_switch(response)
                return
            listener.on_interim(response)
            if self.listener is not listener or not data:
                return

    def _on_final(self, listener: AnswerListener, response: Response, data: bytes) -> None:
        """`data`: what came behind the head."""
        length = answer_length(self._request, response)
        if length is not None and len(data) >= length:
            self._reusable = response.keep_alive and len(data) == length
            listener.on_answer(response, data[:length])
            return
        self._reusable = response.keep_alive
        if length is not None:
            self._reader = LengthReader(length)
        else:
            self._reader = ChunkedReader() if response.chunked else UntilCloseReader()
        listener.on_answer(response, None)
        if data and self.listener is listener:
            self.data_received(data)

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
            listener.on_answer_end(())
        else:
            broken = BrokenOff("the receiver closed the connection before its answer was complete")
            if isinstance(exc, ssl.SSLError):  # such as one who wants a client certificate (TLS 1.3)
                said, remedy = told(exc)
                broken = BrokenOff(
                    f"the receiver ended TLS before its answer was complete: {said}", remedy=remedy
                )
            listener.on_upstream_lost(broken)

    def pause_writing(self) -> None:
        if self.listener is not None:
            self.listener.on_upstream_full(full=True)

    def resume_writing(self) -> None:
        if self.listener is not None:
            self.listener.on_upstream_full(full=False)

    @property
    def answering(self) -> bool:
        """A head has begun to come, and has yet to end."""
        return bool(self._partial)

    # -- the exchange's side ---------------------------------------------------

    def send_head(self, outbound: Outbound, listener: AnswerListener) -> None:
        self.listener = listener
        self.answered = False
        self._request = outbound.request
        self._interim = 0
        self._reader = None
        self.transport.write(outbound_head(outbound))

    def send_data(self, payload: bytes, *, end: bool = False) -> None:
        if self._request.chunked:
            payload = chunk(payload) + LAST_CHUNK if end else chunk(payload)
        self.transport.write(payload)

    def send_end(self) -> None:
        """Request trailers are dropped, whatever they hold (lighttpd CVE-2025-12642)."""
        if self._request.chunked:
            self.transport.write(LAST_CHUNK)

    def hold(self, *, held: bool) -> None:
        """The app reads slower than the receiver sends, or has caught up."""
        if held != self._held and not self.lost:
            self._held = held
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def release(self) -> None:
        """The exchange is done with it."""
        self.listener = None
        self._reader = None
        transport = self.transport
        # Octets of a request that the receiver answered without reading it would stand before the next one.
        if (
            self._reusable
            and not self.lost
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            if self._held:
                # By the end of an answer that the app has yet to read; the next one is another matter.
                self.hold(held=False)
            self.pool.put(self)
        elif transport.get_write_buffer_size():
            # The answer is whole, and what is left of the request is for nobody: a close would wait for it to be read.
            self.abort()
        else:
            self.pool.unregister(self)
            transport.close()

    def abort(self, code: int = CANCEL) -> None:
        """At once and without an end that could be taken for the message's own."""
        self.listener = None
        self.pool.unregister(self)
        self.transport.abort()

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        self.listener = None
        self.pool.unregister(self)
        rest, self._partial = self._partial, b""
        return self.transport, rest

    def unmade(self) -> None:
        """It did not come about after all."""
        self.pool.unregister(self)

    def expire(self) -> None:
        """Idle for too long."""
        self.abort()

    def _end(self, listener: AnswerListener, reader: BodyReader) -> None:
        self._reader = None
        if reader.rest:
            self._reusable = False
        listener.on_answer_end(reader.trailers if isinstance(reader, ChunkedReader) else ())

    def _fail(self, listener: AnswerListener, error: UpstreamError) -> None:
        self.abort()
        listener.on_upstream_lost(error)
