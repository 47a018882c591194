"""As test_costs.py, of what comes by HTTP/2: twice the input, twice the steps, from either side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.fields import request_fields
from idtoken_proxy.engine.http2.frame_reader import FrameReader
from idtoken_proxy.engine.http2.heads import request_head
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import Encoder, literal
from idtoken_proxy.engine.http2.hpack_integer import encode_integer
from idtoken_proxy.engine.http2.outbox import Outbox
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import OPEN, Stream
from idtoken_proxy.engine.http2_messages import pairs_of, request_of
from tests.cases import for_each
from tests.engine.http2.peer import GET, POST, Recorder, block, data, headers
from tests.hostile.raw_http2 import ACKNOWLEDGED, CONTINUATION, HEADERS, PREFACE, frame, rst, settings, window
from tests.steps import steps_of

LIMITS: Final = Limits(max_streams=1 << 20, header_octets=1 << 24)


class Listens(Recorder):
    def on_fault(self, fault: object) -> None:
        """Where a budget ends it, that is what it costs."""


def received(
    made: Callable[[int], bytes], before: bytes = b"", piece: int = 1 << 30
) -> Callable[[int], Callable[[], object]]:
    """By a connection from an app, behind `before`, in pieces of so many octets."""

    def by(times: int) -> Callable[[], object]:
        octets = made(times)

        def receive() -> None:
            connection = ServerConnection(Listens(), LIMITS, lambda: 0.0)
            connection.receive(PREFACE + settings() + ACKNOWLEDGED + before)
            for at in range(0, len(octets), piece):
                connection.receive(octets[at : at + piece])
                while connection.put_off:
                    connection.take_output()
                    connection.go_on()
                connection.take_output()
                connection.written()

        return receive

    return by


def streams(count: int) -> bytes:
    return b"".join(headers(2 * one + 1, POST) for one in range(count))


def decoded(made: Callable[[int], bytes]) -> Callable[[int], Callable[[], object]]:
    def by(times: int) -> Callable[[], object]:
        octets = made(times)

        def decode() -> None:
            head = request_head(Decoder(request_fields, 1 << 24, 1 << 24).decode(octets))
            pairs_of(request_of(head, end_stream=True).passing)

        return decode

    return by


def held(times: int, size: int, streams: int) -> Callable[[], object]:
    """Pieces that wait for their windows, which open octet by octet."""

    def hold() -> None:
        box = Outbox()
        all_of_them = [Stream(2 * one + 1, OPEN, 0, 65535) for one in range(streams)]
        for number in range(times):
            box.data(all_of_them[number % streams], bytes(size), end_stream=False)
        for one in all_of_them:
            one.send_window = 1 << 20
            box.drain(one)

    return hold


def encoded(times: int) -> Callable[[], object]:
    pairs = [(b"x-%d" % one, b"value") for one in range(times)]

    def encode() -> None:
        encoder = Encoder()
        encoder.encode(pairs)
        encoder.encode(pairs)

    return encode


def literally(name: bytes, value: bytes) -> bytes:
    return literal(0, name, value, 0x00, 0x0F)


def coded(octets: int) -> bytes:
    """A field whose value is Huffman's: a nought is the shortest code, "0"."""
    return b"\x00\x01x" + encode_integer(octets, 0x7F, 0x80) + bytes(octets)


COSTS: Final[dict[str, Callable[[int], Callable[[], object]]]] = {
    "a field of Huffman's codes": decoded(lambda n: block(GET) + coded(n)),
    "many fields": decoded(
        lambda n: block(GET) + b"".join(literally(b"x-%d" % one, b"y") for one in range(n))
    ),
    "many mentions of one": decoded(lambda n: block(GET) + literal(0, b"x", b"y", 0x40, 0x3F) + b"\xbe" * n),
    "many crumbs": decoded(lambda n: block(GET) + literally(b"cookie", b"a=b") * n),
    "a long path": decoded(lambda n: block([*GET[:3], (b":path", b"/a" * n)])),
    "many insertions": decoded(
        lambda n: block(GET) + b"".join(literal(0, b"x", b"%d" % one, 0x40, 0x3F) for one in range(n))
    ),
    "a head octet by octet": received(
        lambda n: headers(1, [*GET, (b"x", b"y" * (n // 2))], end=True), piece=1
    ),
    "a head in many frames": received(
        lambda n: frame(HEADERS, 0, 1, block(GET)) + frame(CONTINUATION, 0, 1, literally(b"x", b"y" * 50)) * n
    ),
    "many streams": received(streams),
    "many streams, which are reset": received(
        lambda n: b"".join(headers(2 * one + 1, GET) + rst(2 * one + 1) for one in range(n))
    ),
    "windows of many streams": received(lambda n: window(0, 1) * n, before=streams(200)),
    "settings": received(lambda n: settings(window=65535) * n, before=streams(100)),
    "many values of one": received(lambda n: frame(frames.SETTINGS, 0, 0, b"\0\4\0\1\0\0" * n)),
    "a body in small pieces": received(lambda n: data(1, b"x") * n, before=streams(1)),
    "a body octet by octet": received(lambda n: data(1, bytes(n)), before=streams(1), piece=1),
    "late frames": received(lambda n: data(1, b"") * n, before=streams(1) + rst(1)),
    "ids with gaps": received(lambda n: b"".join(headers(20 * one + 1, GET, end=True) for one in range(n))),
    "small pieces that wait": lambda n: held(n, 3, 1),
    "large pieces that wait": lambda n: held(n, 3000, 1),
    "of many streams": lambda n: held(n, 3000, n // 10),
    "fields that are sent": encoded,
}


@for_each("name", COSTS)
def test_twice_the_input_takes_twice_the_steps_at_most(name: str) -> None:
    def cost(times: int) -> int:
        call = COSTS[name](times)
        call()  # what is remembered by now is not new the second time
        return steps_of(call)

    once, twice = cost(500), cost(1_000)
    assert twice <= 2.1 * once + 100


def test_a_frame_that_comes_octet_by_octet_is_joined_once() -> None:
    reader = FrameReader()
    whole = data(1, bytes(16384))
    for at in range(len(whole) - 1):
        reader.feed(whole[at : at + 1])
        assert reader.next_frame() is None
        kept = reader.partial
    assert isinstance(kept, bytearray)  # which grows in place
