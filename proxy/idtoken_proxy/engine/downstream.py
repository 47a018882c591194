"""Connections from apps: requests off the wire one after the other, each handed to an exchange, answered in order.

What comes behind a request that is still being answered (pipelining, RFC 9112 section 9.3.2) stays unparsed, and
reading stops: the buffer holds at most one read more than a head.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from idtoken_proxy.engine.admission import admission_error
from idtoken_proxy.engine.body import BodyReader, ChunkedReader, LengthReader, TooMuchOverhead
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.engine.http1_app import Http1App
from idtoken_proxy.engine.http2.frames import PREFACE
from idtoken_proxy.engine.http2_downstream import Http2Downstream
from idtoken_proxy.engine.listeners import Door, peer_uid
from idtoken_proxy.engine.not_http import HeadScan, unreadable
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.standing import Standing
from idtoken_proxy.engine.streams import AnswerSide
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.engine.switch import switch
from idtoken_proxy.errors import HeadTooLarge, MalformedRequest, NotHttp, RequestError
from idtoken_proxy.policy.guard import UNIX
from idtoken_proxy.policy.headers import Peer

WRITE_HIGH_WATER: Final = 64 * 1024
# Seconds to let an app read its answer before a reset could take it away (RFC 9112 section 9.6).
LINGER: Final = 2.0
# How many requests that the proxy answers by itself one connection gets answered before the others have their turn.
REQUESTS_A_TURN: Final = 16
_HEAD_END: Final = b"\r\n\r\n"
_EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)+")


class Downstream(Http1App):
    """`full`: the app reads slower than it is written to. `held`: its upload is held back for the receiver. `closing`: no
    further request is taken from it.
    """

    def __init__(self, context: ServerContext, door: Door) -> None:
        super().__init__(context)
        self._context = context
        self.door = door
        self.sweeper = context.sweeper
        self._buffer = b""
        self._searched = 0
        self._scan: HeadScan | None = None  # of a head that comes in pieces
        self._exchange: Exchange | None = None
        self._reader: BodyReader | None = None
        self._fresh = True  # it may yet be HTTP/2
        self._upgrading = b""  # a handshake's head, for a reload to judge what comes of it
        self._advancing = False
        self.closing = False
        self._closes_after_response = False
        self._reading = True
        self.full = False
        self.held = False
        self.deadline = NEVER
        self.peer: Peer
        self.uid: int | None = None  # who is at the other end of a unix socket
        self.port: int | None = None  # the proxy's own; UNIX on a unix socket

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The one under way, if any."""
        return () if self._exchange is None else (self._exchange,)

    @property
    def reading(self) -> bool:
        """Whether what the app sends is read on."""
        return self._reading

    @property
    def unparsed(self) -> int:
        """Octets that have been read, and whose turn has not come."""
        return len(self._buffer)

    @property
    def expects_request(self) -> bool:
        return self._exchange is None and (self._fresh or bool(self._buffer))

    # -- asyncio ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's have another base class
        context = self._context
        context.stats.connections += 1
        self.uid = peer_uid(transport)
        reason = admission_error(context, self.uid, self.door)
        if reason is not None:
            self.closing = True
            if context.reject(self, reason):
                self.sweeper.watch(self)
                self.request_complete = False  # whatever it was about to send is discarded
                self._linger()
            return
        peername = transport.get_extra_info("peername")
        self.peer = Peer.of(peername[0] if isinstance(peername, tuple) else None, context.pseudonym)
        sockname = transport.get_extra_info("sockname")
        self.port = sockname[1] if isinstance(sockname, tuple) else None if sockname is None else UNIX
        transport.set_write_buffer_limits(WRITE_HIGH_WATER)
        context.connections.add(self)
        self.sweeper.watch(self)
        self.deadline = self.sweeper.now + context.keepalive

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._exchange is None:
            self._advance()
        elif self._reader is not None:
            self.pump()
        else:
            self._pause()

    def eof_received(self) -> bool:
        # An app that closes its side has gone, as far as can be told: a receiver that streams would never learn.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._context.forget(self)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.abandon()
            self._context.count(exchange)

    def pause_writing(self) -> None:
        self.full = True
        self._unsent = None
        self._context.stats.held["answer"] += 1
        if self._exchange is not None:
            self._exchange.hold_answer(held=True)

    def resume_writing(self) -> None:
        self.full = False
        if self._exchange is not None:
            self._exchange.hold_answer(held=False)
        else:
            self._go_on()

    # -- requests --------------------------------------------------------------

    def _advance(self) -> None:
        """Takes requests off the buffer while nobody has to be waited for."""
        if self._advancing:  # an exchange that ended at once; the loop below goes on
            return
        self._advancing = True
        taken = 0
        try:
            while self._exchange is None and self._buffer and not self.closing:
                if self.full or taken == REQUESTS_A_TURN:
                    # Answers of the proxy's own await nobody: without this, an app that only sends would have them
                    # pile up, and have the loop for itself.
                    self._pause()
                    if not self.full:
                        asyncio.get_running_loop().call_soon(self._go_on)
                    return
                taken += 1
                if not self._take_request():
                    return
        finally:
            self._advancing = False

    def _go_on(self) -> None:
        if self.closing or self._exchange is not None:
            return
        self._advance()
        self._resume_between()

    def _take_request(self) -> bool:
        data = self._buffer
        if data.startswith(b"\r\n"):  # RFC 9112 section 2.2: empty lines before a request-line
            # All of them at once: one by one, a flood would cost its square.
            data = self._buffer = _EMPTY_LINES.sub(b"", data)
            self._fresh = False
            self._searched = 0
            self._head_begins().empty_lines()
        end = data.find(_HEAD_END, self._searched)
        # The empty line that ends the head does not count, nor what may be the beginning of it.
        if (end if end >= 0 else len(data) - len(_HEAD_END) + 1) > self._context.max_head:
            detail = f"the request head is larger than {self._context.max_head} octets"
            self._refuse(HeadTooLarge(detail, limit="header_bytes"), len(data))
            return False
        if end < 0:
            if not self._head_begins().fits(data) and not (self._fresh and PREFACE.startswith(data)):
                self._refuse(self._unreadable(data), len(data))
                return False
            self._searched = max(len(data) - 3, 1)
            return False
        self._searched = 0
        self._scan = None
        self._buffer = data[end + 4 :]
        self._begin(data[:end])
        return True

    def _head_begins(self) -> HeadScan:
        scan = self._scan
        if scan is None:  # with an empty line, too: they put off nothing
            scan = self._scan = HeadScan()
            self.deadline = self.sweeper.now + self._context.header_timeout
        return scan

    def _unreadable(self, head: bytes) -> MalformedRequest:
        url = f"http://localhost:{self.port}" if self.port else "http:// on the proxy's socket"
        blank = self._scan is not None and self._scan.after_empty_lines
        return unreadable(head, url, after_empty_lines=blank, inside=self.tunnelled is not None)

    def _begin(self, block: bytes) -> None:
        self.deadline = NEVER
        try:
            request = parse_request(block)
        except RequestError as error:
            if self._fresh and block + _HEAD_END == PREFACE[: len(block) + 4]:
                self._go_over_to_http2(block)
                return
            told = self._unreadable(block)
            self._refuse(told if isinstance(told, NotHttp) else error, len(block) + 4)
            return
        self._fresh = False
        self.request = request
        self._exchange = exchange = Exchange(self, self._context.router, len(block) + 4)
        if self._context.tracer is not None:
            self._exchange = exchange = self._context.tracer.begin(exchange, self, request)
        try:
            exchange.open(request)
        except RequestError as error:
            self.request_complete = not request.has_body  # which may come all the same
            exchange.refuse(error)
            return
        if request.chunked or request.content_length:
            self._reader = LengthReader(request.content_length) if request.content_length else ChunkedReader()
            self.request_complete = False
        else:
            self.request_complete = True
            if request.websocket:
                self._upgrading = block
        exchange.forward()

    def _go_over_to_http2(self, block: bytes) -> None:
        self.closing = True
        self._context.forget(self)
        Http2Downstream(self._context, self).begin(block + _HEAD_END + self._buffer)

    def pump(self) -> None:
        """Moves what has been read of the request's body upstream, as far as there is an upstream yet."""
        exchange, reader = self._exchange, self._reader
        if exchange is None or reader is None:
            return
        if not exchange.takes_body:
            self._pause()
            return
        data, self._buffer = self._buffer, b""
        if data:
            try:
                payload = reader.feed(data)
            except ValueError as error:
                limit = "chunk_overhead" if isinstance(error, TooMuchOverhead) else None
                exchange.fail(MalformedRequest(f"the request's body is malformed: {error}", limit=limit))
                return
            exchange.on_request_data(payload, len(data) - len(reader.rest))  # which is the next request's
        if reader.done:
            self._reader = None
            self._buffer = reader.rest
            self.request_complete = True
            exchange.on_request_end()
        if self._reader is not None or not self._buffer:
            self._resume()
        else:
            self._pause()

    def _refuse(self, error: RequestError, octets: int) -> None:
        """A head of so many octets that is none. More may come, who knows what."""
        self._exchange = exchange = Exchange(self, self._context.router, octets)
        self.request = None
        self.request_complete = False
        if isinstance(error, NotHttp):
            self._context.tell_of_no_http(error)
        exchange.refuse(error)

    # -- the exchange's side ---------------------------------------------------

    def on_exchange_end(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        self.request = None
        self._reader = None
        self.held = False
        context = self._context
        if context.stats.ended(exchange) or context.tells_all:
            context.tell(exchange)
        if not self.keep or self.closing or self._closes_after_response or context.draining:
            self._linger()
            return
        self.deadline = self.sweeper.now + context.keepalive
        if self._buffer:
            self._advance()
        self._resume_between()

    def _resume_between(self) -> None:
        """Reads on, unless there are requests whose turn is to come, or answers that nobody reads."""
        # Searched: a head has begun, and has to go on.
        if not self.full and (not self._buffer or self._searched):
            self._resume()

    def on_exchange_broken(self) -> None:
        """The answer cannot be completed: end the connection so that it cannot be taken for complete."""
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        self.closing = True
        self._context.count(exchange)
        self.cut()

    def on_switch(self, upstream: AnswerSide) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        early, self._buffer = self._buffer, b""
        standing = Standing(self, self._upgrading, exchange)
        receiver = switch(
            self._context, self, standing, exchange, upstream, early, dismissed=self._closes_after_response
        )
        if receiver is not None:
            self._resume()
            if self.full:
                receiver.pause_reading()

    def hold(self, *, held: bool) -> None:
        """The receiver reads slower than the app sends, or has caught up."""
        self.held = held
        if held:
            self._context.stats.held["request"] += 1
            self._pause()
        elif self._reader is not None:
            self.pump()
        elif not self._buffer:
            self._resume()

    def close_after_response(self) -> None:
        """The exchange that is under way is its last."""
        self._closes_after_response = True
        self.drain()

    def drain(self) -> None:
        if self._exchange is None and not self.closing:
            self.closing = True
            self.transport.close()

    def expire(self) -> None:
        if self.takes_what_is_unsent():
            # No less: the kernels move such a reader's octets in steps.
            self.deadline = self.sweeper.now + self._context.idle
        elif self._exchange is not None:
            self.deadline = NEVER
            self._exchange.on_deadline()
        else:
            # Between requests, or a head that does not come to its end (slowloris): no answer, as nobody waits for one.
            if self._searched:
                self._context.stats.hit("header_timeout")
            self.closing = True
            self.cut()

    # -- the connection --------------------------------------------------------

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self.transport.pause_reading()
            self._context.disconnect_watch.watch(self)

    def _resume(self) -> None:
        if not self._reading and not self.held and not self.transport.is_closing():
            self._reading = True
            self._context.disconnect_watch.unwatch(self)
            self.transport.resume_reading()

    def _linger(self) -> None:
        """Ends the connection after the answer, in a way that lets the app read it even while it still sends."""
        self.closing = True
        self._buffer = b""
        if self.request_complete and self._reading:
            self.deadline = (
                self.sweeper.now + self._context.idle
            )  # for an app that does not read what is left
            self.transport.close()
            return
        self.held = False
        self._resume()
        self.transport.write_eof()
        self.deadline = self.sweeper.now + LINGER
