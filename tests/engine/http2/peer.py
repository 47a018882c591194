"""A connection under test: what it told, what it wrote, and a peer's octets for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hpack import Decoder as OtherDecoder

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.frame_reader import FrameReader
from idtoken_proxy.engine.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from idtoken_proxy.engine.http2.heads import RequestHead, ResponseHead
from idtoken_proxy.engine.http2.hpack_encoder import literal
from idtoken_proxy.engine.http2.listener import Reset
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import Stream

Event: TypeAlias = tuple[Any, ...]

Pair: TypeAlias = tuple[bytes, bytes]

GET: list[Pair] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
]
POST: list[Pair] = [(b":method", b"POST"), *GET[1:]]
OK: list[Pair] = [(b":status", b"200")]


class Clock:
    """Seconds; stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """Listens for both roles. `then`: what a test does on an event, by its name."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.malformed: Sequence[Pair] = ()  # what is answered to a request that is
        self.streams: dict[int, Stream] = {}
        self.heads: dict[int, RequestHead | ResponseHead] = {}
        self.then: dict[str, Callable[[Stream], None]] = {}

    def _note(self, stream: Stream, name: str, *rest: object) -> None:
        self.streams[stream.id] = stream
        self.events.append((name, stream.id, *rest))
        if name in self.then:
            self.then[name](stream)

    def on_request(self, stream: Stream, head: RequestHead, *, end_stream: bool) -> None:
        self.heads[stream.id] = head
        self._note(stream, "request", head.method, head.path, end_stream)

    def on_malformed(self, stream_id: int, reason: str, fields: Sequence[HeaderField]) -> Sequence[Pair]:
        self.events.append(("malformed", stream_id, reason))
        return self.malformed

    def on_response(self, stream: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        self.heads[stream.id] = head
        self._note(stream, "response", head.status, end_stream)

    def on_interim(self, stream: Stream, head: ResponseHead) -> None:
        self._note(stream, "interim", head.status)

    def on_capacity(self) -> None:
        self.events.append(("capacity",))

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        assert type(payload) is bytes
        self._note(stream, "data", payload, end_stream)

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        self._note(stream, "end", [each.pair for each in trailers])

    def on_sent(self, stream: Stream, octets: int) -> None:
        self._note(stream, "sent", octets)

    def on_reset(self, stream: Stream, reset: Reset) -> None:
        self._note(stream, "reset", reset.code, reset.by, reset.unprocessed)

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self.events.append(("goaway", last_stream_id, code, debug))

    def on_pong(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def on_fault(self, fault: ConnectionFault) -> None:
        self.events.append(("fault", fault.code))

    def take(self) -> list[Event]:
        events, self.events = self.events, []
        return events


@dataclass
class Subject:
    """`wrote`: the frames of the output since it was last asked, as (type, flags, stream id, payload)."""

    connection: Any  # a ServerConnection or a ClientConnection: a test knows which
    recorder: Recorder
    clock: Clock
    reader: FrameReader = field(default_factory=lambda: FrameReader(1 << 20))
    fields: OtherDecoder = field(default_factory=OtherDecoder)

    def wrote(self) -> list[tuple[int, int, int, bytes]]:
        self.reader.feed(b"".join(self.connection.take_output()))
        found = [
            (kind, flags, stream_id, payload)
            for kind, flags, stream_id, payload, _ in iter(self.reader.next_frame, None)
        ]
        assert not self.reader.unread
        self.connection.written()
        return found

    def said(self) -> list[Event]:
        """Likewise, in words."""
        return [self._in_words(*each) for each in self.wrote()]

    def _in_words(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Event:
        end = bool(flags & END_STREAM)
        if kind == DATA:
            return ("data", stream_id, payload, end)
        if kind == HEADERS:
            pairs = [(bytes(name), bytes(value)) for name, value in self.fields.decode(payload, raw=True)]
            return ("headers", stream_id, pairs, end)
        if kind == RST_STREAM:
            return ("rst", stream_id, ErrorCode(frames.parse_code(payload)))
        if kind == SETTINGS:
            return ("ack",) if end else ("settings", dict(frames.parse_settings(payload)))
        if kind == PING:
            return ("pong" if end else "ping", payload)
        if kind == GOAWAY:
            last, code, debug = frames.parse_goaway(payload)
            assert debug.isascii()
            return ("goaway", last, ErrorCode(code))
        assert kind == WINDOW_UPDATE
        return ("window", stream_id, frames.parse_increment(payload))

    def receive(self, *octets: bytes) -> list[Event]:
        """What it told of them."""
        for each in octets:
            self.connection.receive(each)
        return self.recorder.take()

    def fault(self) -> ErrorCode | None:
        failure = self.connection.failure
        return None if failure is None else failure.code


def block(pairs: Sequence[Pair]) -> bytes:
    """Literals without indexing: it means the same whatever a table holds."""
    return _block(tuple(pairs))


@functools.lru_cache(100)  # attacks say the same thing thousands of times
def _block(pairs: tuple[Pair, ...]) -> bytes:
    return b"".join(literal(0, name, value, 0x00, 0x0F) for name, value in pairs)


def headers(stream_id: int, pairs: Sequence[Pair], *, end: bool = False, flags: int = 0) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0) | flags, stream_id, block(pairs))


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream_id, payload)


def in_pieces(stream_id: int, octets: bytes, count: int, *, end: bool = False) -> bytes:
    """HEADERS with the whole block, and `count` CONTINUATIONs of nothing, the last with END_HEADERS."""
    return frame(HEADERS, END_STREAM if end else 0, stream_id, octets) + b"".join(
        frame(CONTINUATION, END_HEADERS if number == count else 0, stream_id)
        for number in range(1, count + 1)
    )


def server(limits: Limits | None = None, *, settings: dict[int, int] | None = None) -> Subject:
    """Past both prefaces."""
    recorder, clock = Recorder(), Clock()
    made = Subject(ServerConnection(recorder, limits or Limits(), clock), recorder, clock)
    made.receive(PREFACE + frames.build_settings(settings or {}) + frames.SETTINGS_ACK)
    made.wrote()
    return made


def client(limits: Limits | None = None, *, settings: dict[int, int] | None = None) -> Subject:
    recorder, clock = Recorder(), Clock()
    made = Subject(ClientConnection(recorder, limits or Limits(), clock), recorder, clock)
    preface, *_ = made.connection.take_output()
    assert preface.startswith(PREFACE)
    made.receive(frames.build_settings(settings or {}) + frames.SETTINGS_ACK)
    made.wrote()
    made.recorder.take()
    return made


def opened(subject: Subject, pairs: Sequence[Pair] = GET, *, end: bool = True, **options: bool) -> Stream:
    """A stream of a client's, with its octets taken away."""
    stream = subject.connection.open(subject.connection.encode(pairs), end_stream=end, **options)
    assert isinstance(stream, Stream)
    subject.wrote()
    return stream
