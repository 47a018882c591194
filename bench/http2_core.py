"""Microseconds that HTTP/2's pure core takes for a head and for a relayed call: `python -m bench.http2_core`.

Nothing here opens a socket: what is measured is this process's own time for what every call costs at least. Each figure is
the best of several rounds, since whatever else the machine does only ever adds to one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault
from idtoken_proxy.engine.http2.fields import HeaderField, request_fields
from idtoken_proxy.engine.http2.heads import RequestHead, ResponseHead, request_head
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import Encoder, never_indexed
from idtoken_proxy.engine.http2.huffman import encode as huffman
from idtoken_proxy.engine.http2.listener import Reset
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import IDLE, ContextStream, Stream

T = TypeVar("T")

DEFAULT = Limits()
ROUNDS = 7
CALLS = 4000
PATH = b"/helloworld.Greeter/SayHello"
HEAD: Sequence[Pair] = (
    (b":scheme", b"http"),
    (b":method", b"POST"),
    (b":authority", b"localhost:8080"),
    (b":path", PATH),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-python/1.66.1 grpc-c/43.0.0 (linux; chttp2)"),
    (b"grpc-accept-encoding", b"identity, deflate, gzip"),
    (b"accept-encoding", b"identity, gzip"),
    (b"x-goog-api-client", b"gl-python/3.11.7 grpc/1.66.1"),
)
ANSWER: Sequence[Pair] = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"server", b"Google Frontend"),
)
TRAILERS: Sequence[Pair] = ((b"grpc-status", b"0"), (b"grpc-message", b""))
MESSAGE = b"\0\0\0\0\x07hello!!"
TOKEN = never_indexed(b"authorization", b"Bearer " + b"t" * 800)


def heads(*, unique: bool) -> list[tuple[Pair, ...]]:
    return [
        tuple(
            (name, b"/users/%06d/items?query=%d" % (number * 7919 % 10**6, number))
            if unique and name == b":path"
            else (name, value)
            for name, value in HEAD
        )
        for number in range(CALLS)
    ]


def with_huffman_path(encoder: Encoder, pairs: tuple[Pair, ...]) -> bytes:
    """As most clients write a path that is new: a literal in Huffman's code."""
    code = huffman(next(value for name, value in pairs if name == b":path"))
    path = b"\x04" + bytes([0x80 | len(code)]) + code
    return path + encoder.encode([pair for pair in pairs if pair[0] != b":path"])


def measure(each: Callable[[T], object], inputs: Sequence[T]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for one in inputs:
            each(one)
        best = min(best, time.perf_counter() - began)
    return best / len(inputs) * 1e6


def other_of(stream: Stream) -> Stream:
    assert isinstance(stream, ContextStream)
    assert isinstance(stream.context, Stream)
    return stream.context


class App:
    """The app's connection and the receiver's, one relayed into the other as plainly as can be."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.app = ServerConnection(self, limits, time.monotonic, make_stream=ContextStream)
        self.receiver = ClientConnection(Receiver(self), limits, time.monotonic)
        self.blocks: dict[int, bytes] = {}

    def on_request(self, stream: Stream, head: RequestHead, *, end_stream: bool) -> None:
        connection = self.receiver
        made = head.made
        if isinstance(made, tuple) and made[0] == connection.encoder.generation:
            octets = made[1]
        else:
            pairs: list[Pair] = [
                (b":method", head.method),
                (b":scheme", b"https"),
                (b":authority", b"greeter-abc.a.run.app"),
                (b":path", head.path),
                (b"te", b"trailers"),
            ]
            pairs += [field.pair for field in head.passing]
            before = connection.encoder.generation
            octets = connection.encode(pairs)
            if connection.encoder.generation == before:
                head.made = before, octets
        upstream = ContextStream(0, IDLE, 0, 0)
        connection.begin(upstream, octets + TOKEN, end_stream=end_stream)
        assert isinstance(stream, ContextStream)
        upstream.context, stream.context = stream, upstream

    def on_malformed(self, _: int, reason: str, __: Sequence[HeaderField]) -> Sequence[Pair]:
        raise AssertionError(reason)

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        sent = self.receiver.send_data(other_of(stream), payload, end_stream=end_stream)
        self.app.release_credit(stream, sent)

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        self.receiver.send_end(other_of(stream), [field.pair for field in trailers])

    def on_sent(self, stream: Stream, octets: int) -> None:
        """What was held for the app has left: the receiver may send as much again."""
        self.receiver.release_credit(other_of(stream), octets)

    def on_reset(self, _: Stream, reset: Reset) -> None:
        raise AssertionError(reset)

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        pass

    def on_pong(self, payload: bytes) -> None:
        pass

    def on_fault(self, fault: ConnectionFault) -> None:
        raise fault


class Receiver(App):
    def __init__(self, owner: App) -> None:
        self.owner = owner

    def on_response(self, stream: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        app = self.owner.app
        made = head.made
        if isinstance(made, tuple) and made[0] == app.encoder.generation:
            octets = made[1]
        else:
            before = app.encoder.generation
            octets = app.encode([(b":status", b"%d" % head.status), *[field.pair for field in head.passing]])
            if app.encoder.generation == before:
                head.made = before, octets
        app.send_head(other_of(stream), octets, end_stream=end_stream)

    def on_interim(self, stream: Stream, head: ResponseHead) -> None:
        pass

    def on_capacity(self) -> None:
        pass

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        owner = self.owner
        sent = owner.app.send_data(other_of(stream), payload, end_stream=end_stream)
        owner.receiver.release_credit(stream, sent)

    def on_sent(self, stream: Stream, octets: int) -> None:
        self.owner.app.release_credit(other_of(stream), octets)

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        self.owner.app.send_end(other_of(stream), [field.pair for field in trailers])


def relayed(requests: Sequence[bytes], batch: int) -> float:
    """A unary call each way, `batch` of them in each read."""
    best = float("inf")
    for _ in range(ROUNDS):
        app = App()
        app.app.receive(frames.PREFACE + frames.build_settings({}))
        app.receiver.receive(frames.build_settings({}))
        encoder = Encoder()
        reads = []
        for first in range(0, len(requests), batch):
            ids = [2 * number + 1 for number in range(first, min(first + batch, len(requests)))]
            asked = b"".join(
                frames.build_headers(each, requests[each // 2], 16384, end_stream=False)
                + frames.frame(frames.DATA, frames.END_STREAM, each, MESSAGE)
                + frames.build_window_update(0, len(MESSAGE))
                for each in ids
            )
            answered = b"".join(
                frames.build_headers(each, encoder.encode(ANSWER), 16384, end_stream=False)
                + frames.frame(frames.DATA, 0, each, MESSAGE)
                + frames.build_headers(each, encoder.encode(TRAILERS), 16384, end_stream=True)
                for each in ids
            )
            reads.append((asked, answered))
        began = time.perf_counter()
        for asked, answered in reads:
            app.app.receive(asked)
            b"".join(app.receiver.take_output())
            app.receiver.written()
            app.receiver.receive(answered)
            b"".join(app.app.take_output())
            app.app.written()
        best = min(best, time.perf_counter() - began)
        assert not app.app.streams
        assert not app.receiver.streams
    return best / len(requests) * 1e6


def bulk(request: bytes) -> float:
    """A body of 8 MiB on its way back, in reads of 64 KiB, to an app whose window is a MiB: milliseconds."""
    best = float("inf")
    piece = frames.frame(frames.DATA, 0, 1, b"x" * 16384) * 4
    for _ in range(ROUNDS):
        app = App()
        app.app.receive(
            frames.PREFACE + frames.build_settings({4: 1 << 20}) + frames.build_window_update(0, 1 << 20)
        )
        app.receiver.receive(frames.build_settings({}))
        app.app.receive(frames.build_headers(1, request, 16384, end_stream=True))
        app.receiver.receive(frames.build_headers(1, Encoder().encode(ANSWER), 16384, end_stream=False))
        began = time.perf_counter()
        for number in range(8 * 16):
            app.receiver.receive(piece)
            app.app.take_output()
            app.app.written()
            app.receiver.take_output()
            app.receiver.written()
            if number % 8 == 7:
                given = frames.build_window_update(0, 8 * 65536) + frames.build_window_update(1, 8 * 65536)
                app.app.receive(given)
        best = min(best, time.perf_counter() - began)
        assert app.app.streams
        assert app.app.failure is app.receiver.failure is None
    return best * 1e3


def main() -> int:
    for unique in (False, True):
        name = "unique paths" if unique else "heads repeat"
        pairs = heads(unique=unique)
        encoder, outbound = Encoder(), Encoder()
        written = [with_huffman_path(encoder, each) for each in pairs]
        decoder = Decoder(request_fields, 65536)
        for block in written[:10]:
            decoder.decode(block)
        fields = [decoder.decode(block) for block in written[10:]]
        print(f"{name}: {len(HEAD)} fields, {len(written[-1])} octets")
        print(f"  decode         {measure(decoder.decode, written[10:]):6.2f} us")
        print(f"  rules          {measure(request_head, fields):6.2f} us")
        print(f"  encode         {measure(outbound.encode, pairs):6.2f} us")
        for batch in (1, 25):
            print(f"  relay, {batch:2} a read {relayed(written, batch):6.2f} us")
    print(f"8 MiB down: {bulk(written[0]):.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
