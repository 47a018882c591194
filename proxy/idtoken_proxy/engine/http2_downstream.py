"""Connections from apps that speak HTTP/2, with prior knowledge: each stream is handed to an exchange of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol

from idtoken_proxy.engine import grpc_status
from idtoken_proxy.engine.admission import unlisted
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http2.error_codes import ConnectionFault
from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.frames import HEAD_OCTETS
from idtoken_proxy.engine.http2.heads import RequestHead
from idtoken_proxy.engine.http2.listener import BY_CONNECTION, BY_FAULT, BY_PEER, Reset
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import REMOTE, Stream
from idtoken_proxy.engine.http2_app import FULL, AppStream
from idtoken_proxy.engine.http2_call_deadline import CallDeadline
from idtoken_proxy.engine.http2_head_limits import USUAL, check_head
from idtoken_proxy.engine.http2_messages import in_common, request_like, request_of, settle_request
from idtoken_proxy.engine.http2_transport import Http2Transport, clock
from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.engine.memory_budget import DOWNWARDS, STEP, STEP_OCTETS, USUAL_HEAD, held_too_much
from idtoken_proxy.engine.refusal_log import explanation
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.streams import CANCEL
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.errors import HeldTooMuch, MalformedRequest, RequestError
from idtoken_proxy.policy.headers import Peer

# Streams that an app may have open on one connection; upstream they are spread over connections of a hundred each.
MAX_STREAMS: Final = 256
# Seconds for an app to answer the PING that shows that it has read the first GOAWAY.
DRAIN_ROUND_TRIP: Final = 1.0
_numbers: Final = count()
_GRPC: Final = b"application/grpc"


class Begun(Protocol):
    """A connection whose first octets are HTTP/2's preface."""

    door: Door
    uid: int | None
    peer: Peer
    port: int | None
    transport: asyncio.Transport


class Http2Downstream(Http2Transport[ServerConnection]):
    """`deadline`: the connection's own, between streams and for what is not a stream's."""

    def __init__(self, context: ServerContext, app: Begun) -> None:
        super().__init__()
        self._context = context
        self.number = next(_numbers)
        self.door = app.door
        self.uid = app.uid
        self.port = app.port
        self.sweeper = context.sweeper
        self.peer = Peer.of(app.peer.address, context.pseudonym, b"2")
        self.deadline = context.sweeper.now + context.header_timeout
        self._draining = False
        self._lost = False
        limits = Limits(max_streams=MAX_STREAMS, header_octets=context.max_head, refuses=True)
        self.core = ServerConnection(self, limits, clock, make_stream=partial(AppStream, self))
        super().connection_made(app.transport)
        self.kept = 0
        self.holds = 0
        context.connections.add(self)
        context.memory.enter(self)
        context.sweeper.watch(self)
        context.sweeper.watch_all(self)

    def begin(self, data: bytes) -> None:
        """`data`: what has been read, from the preface on."""
        self.transport.set_protocol(self)
        self.data_received(data)

    @property
    def exchanges(self) -> list[Exchange]:
        """Those under way."""
        return [app.exchange for app in self._apps() if app.exchange is not None]

    def watched(self) -> list[AppStream | CallDeadline]:
        return [
            app if app.until == NEVER or app.exchange is None else CallDeadline(app) for app in self._apps()
        ]

    def _apps(self) -> list[AppStream]:
        return [one for one in self.core.streams.values() if isinstance(one, AppStream)]

    # -- asyncio ---------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        self._context.forget(self)
        self.core.lost()
        self._context.memory.leave(self)
        self.sweeper.unwatch_all(self)
        self._lost = True

    def pause_writing(self) -> None:
        super().pause_writing()
        for app in self._apps():
            app.on_full()

    def resume_writing(self) -> None:
        super().resume_writing()
        for app in self._apps():
            if app.unsent is None:
                app.on_drained()

    def flush(self) -> None:
        super().flush()
        if self.core.drained and not self.transport.is_closing():
            self._close()

    def _flush(self) -> None:
        super()._flush()
        holds = self.look()
        if holds != self.holds and not self._lost:
            self._context.memory.change(self, holds)

    @property
    def unsettled(self) -> bool:
        return super().unsettled or self.look() != self.holds

    @property
    def wants_input(self) -> bool:
        """Answers without a body ask no window for leave, and requests that are refused are not held back by it either."""
        return super().wants_input and not self.clogged

    def _close(self) -> None:
        self.transport.close()
        self.deadline = self.sweeper.now + self._context.idle  # for an app that does not read what is left

    # -- what the core tells (listener.py) ---------------------------------------

    def on_request(self, app: Stream, head: RequestHead, *, end_stream: bool) -> None:
        assert isinstance(app, AppStream)
        context = self._context
        context.stats.streams += 1
        if not self._draining:  # whose end no request puts off
            self.deadline = NEVER
        octets = self.core.block_octets + HEAD_OCTETS
        request = known = head.made[end_stream] if head.made is not None else None
        if request is None or request.verdict is None or request.verdict[0] is not context.router:
            known = None  # what was made of it under other settings is not looked at
            shape = head.shape
            if shape is not None and shape.requests[end_stream] is not None:
                request = known = request_like(shape.requests[end_stream], head, end_stream=end_stream)
            else:
                request = request_of(head, end_stream=end_stream)
        if self.paused:
            app.marks |= FULL
        if request.grpc_timeout is not None:
            app.until = self.sweeper.now + request.grpc_timeout
        app.exchange = exchange = Exchange(app, context.router, octets)
        exchange.request = request  # it may be refused before it is looked at
        if context.tracer is not None:
            app.exchange = exchange = context.tracer.begin(exchange, app, request)
        if head.octets > USUAL_HEAD:
            app.weigh(head.octets)
        try:
            if head.octets > USUAL:
                check_head(head, context.max_head)
            if known is None:
                settle_request(request, head)
                if head.shape is not None:
                    head.shape.requests[end_stream] = in_common(request)
            if head.kept:
                request.repeats = True
                if head.made is None:
                    head.made = [None, None]
                head.made[end_stream] = request
            exchange.open(request)
            if exchange.entry is not None and exchange.entry.goes_downwards(request):
                self._make_room_for(app)
        except (RequestError, HeldTooMuch) as error:
            exchange.refuse(error)
            return
        exchange.forward()

    def _make_room_for(self, app: AppStream) -> None:
        """A connection to the receiver that is its own."""
        if not self._context.memory.admits(self, DOWNWARDS):
            raise held_too_much()
        app.weigh(DOWNWARDS)

    def on_malformed(self, stream_id: int, reason: str, fields: Sequence[HeaderField]) -> Sequence[Pair]:
        app = AppStream(self, stream_id, REMOTE, 0, 0)
        exchange = Exchange(app, self._context.router, self.core.block_octets)
        exchange.error = error = MalformedRequest(f"the request is malformed: {reason}")
        exchange.status = 400
        exchange.abandon()
        self._context.count(exchange)
        self._rest()
        if not any(one.name == b"content-type" and one.value.startswith(_GRPC) for one in fields):
            return ()
        return grpc_status.trailers_only(grpc_status.of_error(error), error.detail)

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        if isinstance(stream, AppStream):
            stream.on_data(payload, end_stream=end_stream)

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        if isinstance(stream, AppStream):
            stream.on_end()

    def on_sent(self, stream: Stream, octets: int) -> None:
        if isinstance(stream, AppStream):
            stream.on_sent(self._context.idle)
            self.soon()

    def on_reset(self, stream: Stream, reset: Reset) -> None:
        if reset.by != BY_CONNECTION:
            self._context.stats.http2.reset(reset.by, reset.code)
        if isinstance(stream, AppStream):
            if reset.by == BY_FAULT and stream.exchange is not None:
                stream.exchange.error = MalformedRequest(f"the request is malformed: {reset.reason}")
            stream.gone(reset.code if reset.by == BY_PEER else CANCEL)
        self.core.release_slot(stream)

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        """The app opens no more, and closes when it has what is under way."""
        self._context.stats.http2.goaways += 1

    def on_pong(self, payload: bytes) -> None: ...

    def on_fault(self, fault: ConnectionFault) -> None:
        context = self._context
        if fault.limit is not None:
            context.stats.hit(fault.limit)
        context.log.warning("HTTP/2 connection ended", reason=fault.reason, code=fault.code.name)
        self.flush()
        self._close()

    # -- what a stream tells (http2_app.py) ---------------------------------------

    def on_held(self, *, answer: bool) -> None:
        self._context.stats.held["answer" if answer else "request"] += 1

    def on_stream_end(self, stream: AppStream, exchange: Exchange, *, whole: bool) -> None:
        context = self._context
        if context.stats.ended(exchange) or context.tells_all or not whole or exchange.said is not None:
            context.tell(exchange)
        stream.deadline = self.sweeper.now + context.idle  # for an app that does not read what is left

    def on_stream_gone(self, stream: AppStream) -> None:
        stream.deadline = NEVER
        self._rest()

    def explained(self, exchange: Exchange) -> tuple[str, str | None] | None:
        found = explanation(exchange)
        return None if found is None else (found.detail, found.remedy)

    def _rest(self) -> None:
        if self.transport.is_closing():
            return
        if not self.core.streams and not self._draining:
            self.deadline = self.sweeper.now + self._context.keepalive
        elif self.core.drained:
            self.soon()

    # -- the memory budget's (memory_budget.py) ----------------------------------

    def look(self) -> int:
        core = self.core
        return (
            self.kept
            + core.held_octets
            + self.transport.get_write_buffer_size()
            + len(core.streams) // STEP * STEP_OCTETS
        )

    def relieve(self, octets: int) -> None:
        if self.clogged:
            self.cut()
            return
        if self.kept or self.core.held_octets:
            for app in sorted(self._apps(), key=lambda app: app.holds, reverse=True):
                if octets <= 0 or not app.holds:
                    break
                octets -= app.holds
                app.relieve()
            self.soon()
        if octets > 0 and self.paused:  # what is with the transport already cannot be taken back
            self.cut()

    # -- the front's (server_context.py) ----------------------------------------------------

    @property
    def expects_request(self) -> bool:
        """What is on its way when it drains is served in any case."""
        return False

    def close_after_response(self) -> None:
        self.drain()
        if unlisted(self._context, self.uid) is not None:  # what is on its way may not be served any more
            self.core.finish_drain()

    def drain(self) -> None:
        """Two GOAWAYs: what was on its way when the first was sent is served still."""
        if not self._draining:
            self._draining = True
            self.deadline = self.sweeper.now + DRAIN_ROUND_TRIP
            self.core.drain()
            self.soon()

    def cut(self) -> None:
        self.transport.abort()

    def hung_up(self) -> None:
        self.transport.abort()

    def expire(self) -> None:
        self.deadline = NEVER
        if self.transport.is_closing():
            self.transport.abort()
        elif self._draining or not self.core.acknowledged:
            self._draining = True
            self.core.finish_drain()
            self.soon()
        else:
            self.drain()
