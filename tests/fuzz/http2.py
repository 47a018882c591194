"""What must hold of any octets over HTTP/2, from an app and from a receiver, and of any header blocks.

An input is what targets.py has it: cuts, and octets. The connection's preface is not among them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

import hpack

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import MALFORMED, HeaderField, request_fields
from idtoken_proxy.engine.http2.frame_reader import FrameReader
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import Encoder
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import Stream
from tests.engine.http2 import (
    test_client_connection,
    test_dispatcher,
    test_frame_reader,
    test_heads,
    test_hpack_decoder,
    test_server_connection,
)
from tests.engine.http2.peer import GET, OK, POST, Clock, Event, Recorder, block, data, headers

LIMITS: Final = Limits(max_streams=5, header_octets=4096, stream_window=65535, connection_window=65535)
# More than the default windows let out, so that much is held.
BODY: Final = b"x" * 40_000
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$").search


class Order(Recorder):
    """Asserts that a listener is told things in an order that makes sense, and answers each request."""

    connection: ServerConnection | ClientConnection

    def __init__(self) -> None:
        super().__init__()
        self._ended: set[int] = set()  # the peer's side
        self._gone: set[int] = set()
        self._begun: set[int] = set()

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        well_formed(trailers)
        super().on_end(stream, trailers)

    def _note(self, stream: Stream, name: str, *rest: object) -> None:
        super()._note(stream, name, *rest)
        number = stream.id
        assert number not in self._gone
        if name in ("request", "response", "interim"):
            well_formed(
                [*self.heads[number].passing, *self.heads[number].special] if name != "interim" else []
            )
            assert number not in self._begun
        elif name in ("data", "end"):
            assert number in self._begun
        if name in ("request", "response"):
            self._begun.add(number)
        if name in ("request", "response", "data", "end", "interim"):
            assert number not in self._ended
        if name == "end" or (name in ("request", "response", "data") and rest[-1]):
            self._ended.add(number)
        if name == "reset":
            self._gone.add(number)
            if isinstance(self.connection, ServerConnection) and number % 4 == 1:
                self.connection.release_slot(stream)
        if name == "request":
            self._answer(stream)
        if name == "data":
            self.connection.release_credit(stream, len(self.events[-1][2]))

    def _answer(self, stream: Stream) -> None:
        connection = self.connection
        assert isinstance(connection, ServerConnection)
        assert connection.open_streams <= LIMITS.max_streams
        connection.send_head(stream, connection.encode(OK))
        connection.send_data(stream, BODY)
        if stream.id % 4 == 1:
            connection.send_end(stream, [(b"grpc-status", b"0")])


def well_formed(fields: Sequence[HeaderField]) -> None:
    for field in fields:
        assert _NAME(field.name)
        assert not _FORBIDDEN(field.value)


def _drive(
    recorder: Order, connection: ServerConnection | ClientConnection, pieces: Sequence[bytes]
) -> bytes:
    recorder.connection = connection
    written = b"".join(connection.take_output())
    for piece in pieces:
        connection.receive(piece)
        while True:
            written += b"".join(connection.take_output())
            if connection.wants_input or connection.failure is not None:
                break
            connection.written()
        connection.written()
        assert connection._decoder.table_octets <= 4096
    return written


def _check_output(written: bytes) -> None:
    """Well-formed frames, nothing behind a GOAWAY of ours that has a fault, no more DATA than windows were given for."""
    reader = FrameReader(1 << 20)
    reader.feed(written)
    over = False
    for kind, _, _, payload, _ in iter(reader.next_frame, None):
        assert not over
        if kind == frames.RST_STREAM:
            ErrorCode(frames.parse_code(payload))
        elif kind == frames.GOAWAY:
            over = ErrorCode(frames.parse_goaway(payload)[1]) != ErrorCode.NO_ERROR
    assert not reader.unread


def _pieces(cuts: Sequence[int], wire: bytes) -> list[bytes]:
    edges = [0, *sorted(cuts), len(wire)]
    return [wire[a:b] for a, b in itertools.pairwise(edges)]


def _as_server(pieces: Sequence[bytes]) -> tuple[list[Event], bytes, ErrorCode | None]:
    recorder = Order()
    connection = ServerConnection(recorder, LIMITS, Clock())
    written = _drive(recorder, connection, [frames.PREFACE, *pieces])
    failure = connection.failure
    return recorder.take(), written, None if failure is None else failure.code


def _as_client(pieces: Sequence[bytes]) -> tuple[list[Event], bytes, ErrorCode | None]:
    recorder = Order()
    connection = ClientConnection(recorder, LIMITS, Clock())
    recorder.connection = connection
    connection.open(connection.encode(GET), end_stream=True)
    connection.open(
        connection.encode([(b":method", b"HEAD"), *GET[1:]]), end_stream=True, answer_has_body=False
    )
    connection.send_data(connection.open(connection.encode(POST)), BODY)
    preface = b"".join(connection.take_output())
    assert preface.startswith(frames.PREFACE)
    written = _drive(recorder, connection, pieces)
    failure = connection.failure
    return recorder.take(), written, None if failure is None else failure.code


def requests(cuts: Sequence[int], wire: bytes) -> object:
    """An app's octets: the same is told and written however they come."""
    whole = _as_server([wire])
    _check_output(whole[1])
    assert _as_server(_pieces(cuts, wire)) == whole
    return whole


def responses(cuts: Sequence[int], wire: bytes) -> object:
    """A receiver's: likewise."""
    whole = _as_client([wire])
    _check_output(whole[1])
    assert _as_client(_pieces(cuts, wire)) == whole
    return whole


# Where another implementation goes further than this one.
STRICTER: Final = (
    "an integer is too long",
    "the table's size changes within a block, or too often",
    "a header block decodes to too much",
    "a header block holds more than 256 fields",
)


def blocks(cuts: Sequence[int], wire: bytes) -> object:
    """Header blocks, one for each piece: read as another implementation reads them, and written so that it reads them."""
    ours = Decoder(request_fields, 16384)
    theirs = hpack.Decoder(max_header_list_size=1 << 20)
    theirs.max_allowed_table_size = 4096
    encoder, reader = Encoder(), hpack.Decoder(max_header_list_size=1 << 20)
    read: list[object] = []
    for piece in _pieces(cuts, wire):
        try:
            expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(piece, raw=True)]
        except hpack.HPACKError:
            expected = None
        try:
            found = ours.decode(piece)
        except ConnectionFault as fault:
            reason = fault.reason
        else:
            reason = ""
        if reason:
            assert expected is None or reason in STRICTER, (piece, reason)
            read.append(reason)
            break
        pairs = [(field.pair[0], field.pair[1]) for field in found]
        assert pairs == expected, piece
        assert ours.table_octets == theirs.header_table._current_size
        good = [field.pair for field in found if field.rule != MALFORMED]
        written = encoder.encode(good)
        again = reader.decode(written, raw=True)
        assert [(bytes(name), bytes(value)) for name, value in again] == [(pair[0], pair[1]) for pair in good]
        read.append((pairs, [field.rule for field in found], written))
    return read


def request_seeds() -> Iterator[bytes]:
    start = frames.build_settings({})
    for octets, *_ in test_server_connection.FAULTS.values():
        yield start + octets
    for octets in test_dispatcher.FLOODS.values():
        yield start + headers(1, POST) + octets * 5
    for octets, *_ in test_frame_reader.FAULTS.values():
        yield start + octets[:1000]
    for pairs in test_heads.MALFORMED_REQUESTS.values():
        yield start + headers(1, pairs, end=True) + headers(3, GET, end=True)
    for limit in (0, 100, 65535, 2**31 - 1):
        yield (
            frames.build_settings({4: limit, 1: limit})
            + headers(1, GET, end=True)
            + frames.build_window_update(1, 100)
            + frames.build_settings({4: 50_000, 1: 4096})
            + frames.build_window_update(0, 70_000)
        )
    yield start + test_frame_reader.WELL_FORMED[15:200]


def response_seeds() -> Iterator[bytes]:
    start = frames.build_settings({})
    for octets in test_client_connection.MALFORMED.values():
        yield start + octets
    for octets, _ in test_client_connection.FAULTS.values():
        yield start + octets[:1000]
    for pairs in test_heads.MALFORMED_RESPONSES.values():
        yield start + headers(1, pairs, end=True) + headers(3, OK, end=True)
    for octets in test_dispatcher.FLOODS.values():
        yield start + octets * 5
    for last in (0, 1, 3, 5, 2**31 - 1):
        yield (
            start
            + frames.build_goaway(2**31 - 1, 0)
            + frames.build_goaway(last, 0)
            + headers(1, OK, end=True)
        )
    whole = (
        headers(1, [(b":status", b"103")])
        + headers(1, OK)
        + data(1, b"hello")
        + headers(1, [(b"grpc-status", b"0")], end=True)
    )
    yield (
        start
        + whole
        + headers(3, [*OK, (b"content-length", b"5")], end=True)
        + headers(5, OK)
        + data(5, b"", end=True)
    )
    for code in range(15):
        yield start + headers(1, OK) + frames.build_rst_stream(5, code) + frames.build_rst_stream(1, code)


def block_seeds() -> Iterator[bytes]:
    yield from test_hpack_decoder.MALFORMED.values()
    for _, sequence, *_ in test_hpack_decoder.SEQUENCES.values():
        yield from map(bytes.fromhex, sequence)
    for pairs in test_heads.MALFORMED_REQUESTS.values():
        yield block(pairs)
    encoder = hpack.Encoder()
    for _ in range(3):
        yield encoder.encode([*POST, (b"x-a", b"1"), (b"x-b", b"2"), (b"authorization", b"a")])
