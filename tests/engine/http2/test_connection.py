"""Windows both ways, and what goes back when."""

from __future__ import annotations

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, frame
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import Stream
from tests.cases import for_each
from tests.engine.http2.peer import GET, OK, POST, Event, Subject, data, headers, server

SMALL = Limits(stream_window=65536, connection_window=131072)


def posting(limits: Limits | None = None) -> tuple[Subject, Stream]:
    subject = server(limits)
    subject.receive(headers(1, POST))
    return subject, subject.recorder.streams[1]


def answering(settings: dict[int, int] | None = None, streams: int = 1) -> tuple[Subject, list[Stream]]:
    subject = server(settings=settings)
    for number in range(streams):
        subject.receive(headers(2 * number + 1, GET, end=True))
        subject.connection.send_head(subject.recorder.streams[2 * number + 1], subject.connection.encode(OK))
    subject.wrote()
    subject.recorder.take()
    return subject, list(subject.recorder.streams.values())


# -- what we receive ----------------------------------------------------------


def test_the_connections_credit_goes_back_on_receipt_and_a_streams_when_it_has_left() -> None:
    subject, stream = posting(SMALL)
    for _ in range(4):
        subject.receive(data(1, b"x" * 16384))
    assert subject.said() == [("window", 0, 65536)]
    subject.connection.release_credit(stream, 16384)
    assert subject.said() == []
    subject.connection.release_credit(stream, 16384)
    assert subject.said() == [("window", 1, 32768)]


def test_a_reader_that_stalls_holds_its_own_stream_alone() -> None:
    subject, _ = posting(SMALL)
    subject.receive(headers(3, POST))
    for _ in range(4):
        subject.receive(data(1, b"x" * 16384))
    for _ in range(4):
        subject.receive(data(3, b"x" * 16384))
    assert subject.fault() is None
    subject.wrote()
    subject.receive(data(1, b"x"))
    assert subject.said() == [("rst", 1, ErrorCode.FLOW_CONTROL_ERROR)]


def test_data_beyond_the_connections_window_ends_the_connection() -> None:
    subject = server(Limits(stream_window=1 << 20, connection_window=65535))
    subject.connection._window.left = 10
    subject.receive(headers(1, POST) + data(1, b"x" * 11))
    assert subject.fault() == ErrorCode.FLOW_CONTROL_ERROR


def test_padding_counts_and_its_credit_goes_back_by_itself() -> None:
    subject, stream = posting(Limits(stream_window=65536))
    for _ in range(127):
        subject.receive(frame(DATA, PADDED, 1, b"\xff" + b"x" + b"\0" * 255))
    assert stream.left == 65536 - 127 * 257
    subject.receive(frame(DATA, PADDED, 1, b"\xff" + b"x" + b"\0" * 255))
    assert [event for event in subject.said() if event[1] == 1] == [("window", 1, 128 * 256)]
    assert stream.left == 65536 - 128


def test_a_stream_that_has_ended_gets_no_credit() -> None:
    subject, stream = posting(SMALL)
    subject.receive(data(1, b"x" * 16384) * 3, data(1, end=True))
    subject.connection.release_credit(stream, 49152)
    assert subject.said() == []


def test_the_sum_of_data_is_its_length() -> None:
    subject = server()
    subject.receive(headers(1, [*POST, (b"content-length", b"5")]))
    assert subject.receive(
        data(1, b"123"), frame(DATA, PADDED, 1, b"\1" + b"45" + b"\0"), data(1, end=True)
    ) == [
        ("data", 1, b"123", False),
        ("data", 1, b"45", False),
        ("data", 1, b"", True),
    ]


def test_trailers_that_repeat_are_decoded_once() -> None:
    subject = server()
    for number in range(3):
        subject.receive(headers(2 * number + 1, POST), headers(2 * number + 1, [(b"x-a", b"b")], end=True))
    subject.receive(headers(7, POST))
    assert len(subject.connection._trailers._made) == 1
    assert subject.receive(headers(7, [(b"x-a", b"b")], end=True)) == [("end", 7, [(b"x-a", b"b")])]


# -- what we send -------------------------------------------------------------


def test_what_the_windows_let_out_goes_and_the_rest_is_told_of_when_it_goes() -> None:
    subject, (stream,) = answering({4: 10})
    assert subject.connection.send_data(stream, b"0123456789abcdef", end_stream=True) == 10
    assert subject.said() == [("data", 1, b"0123456789", False)]
    assert subject.receive(frames.build_window_update(1, 4)) == [("sent", 1, 4)]
    assert subject.said() == [("data", 1, b"abcd", False)]
    assert subject.receive(frames.build_window_update(1, 4)) == [("sent", 1, 2)]
    assert subject.said() == [("data", 1, b"ef", True)]
    assert subject.connection.streams == {}


def test_trailers_come_behind_what_is_held() -> None:
    subject, (stream,) = answering({4: 1})
    subject.connection.send_data(stream, b"ab")
    subject.connection.send_end(stream, [(b"grpc-status", b"0")])
    assert subject.said() == [("data", 1, b"a", False)]
    subject.receive(frames.build_window_update(1, 1))
    assert subject.said() == [("data", 1, b"b", False), ("headers", 1, [(b"grpc-status", b"0")], True)]
    assert subject.connection.streams == {}


def test_streams_share_the_connections_window() -> None:
    subject, streams = answering({4: 1 << 20}, streams=3)
    for stream in streams:
        subject.connection.send_data(stream, b"x" * 60_000)
    assert sum(len(payload) for _, _, payload, _ in subject.said()) == 65535
    events = subject.receive(frames.build_window_update(0, 40_000))
    assert sum(octets for _, _, octets in events) == 40_000
    assert {stream_id for _, stream_id, _ in events} == {3, 5}


@for_each("change", [100, 16384, 1 << 20])
def test_a_larger_initial_window_lets_out_what_is_held(change: int) -> None:
    subject, (stream,) = answering({4: 0})
    assert subject.connection.send_data(stream, b"x" * 20_000) == 0
    assert subject.receive(frames.build_settings({4: change})) == [("sent", 1, min(change, 20_000))]


def test_a_smaller_initial_window_may_make_one_negative() -> None:
    """Section 6.9.2."""
    subject, (stream,) = answering({4: 60})
    subject.connection.send_data(stream, b"x" * 60)
    assert subject.receive(frames.build_settings({4: 10})) == []
    assert stream.send_window == -50
    assert subject.connection.send_data(stream, b"y" * 5) == 0
    assert subject.receive(frames.build_window_update(1, 50)) == []
    assert subject.receive(frames.build_window_update(1, 3)) == [("sent", 1, 3)]
    subject.connection.send_end(stream)
    subject.wrote()
    assert subject.receive(frames.build_window_update(1, 2)) == [("sent", 1, 2)]
    assert subject.said() == [("data", 1, b"yy", True)]


def test_a_new_initial_window_holds_for_new_streams() -> None:
    subject, _ = answering()
    subject.receive(frames.build_settings({4: 7}) + headers(3, GET, end=True))
    assert subject.recorder.streams[3].send_window == 7


def test_what_a_cancelled_stream_held_is_gone() -> None:
    subject, (one, two) = answering({4: 1 << 20}, streams=2)
    subject.connection.send_data(one, b"x" * 65_535)
    subject.connection.send_data(one, b"x" * 100)
    subject.connection.send_data(two, b"y" * 100)
    subject.wrote()
    subject.receive(frames.build_rst_stream(1, 8))
    assert subject.receive(frames.build_window_update(0, 150)) == [("sent", 3, 100)]
    assert [event[1] for event in subject.said()] == [3]


def test_a_listener_may_send_more_when_what_was_held_is_out() -> None:
    subject, (stream,) = answering({4: 4})
    subject.connection.send_data(stream, b"abcdefgh")
    subject.recorder.then["sent"] = lambda each: subject.connection.send_data(each, b"ij", end_stream=True)
    subject.receive(frames.build_window_update(1, 5))
    assert b"".join(event[2] for event in subject.said()) == b"abcdefghi"
    subject.recorder.then.clear()
    subject.receive(frames.build_window_update(1, 5))
    assert subject.said() == [("data", 1, b"j", True)]


def test_the_peers_table_and_frame_sizes_are_honoured() -> None:
    subject = server(settings={1: 0, 5: 20_000})
    subject.fields.max_allowed_table_size = 0
    for number in range(3):
        stream_id = 2 * number + 1
        subject.receive(headers(stream_id, GET, end=True))
        stream = subject.recorder.streams[stream_id]
        pairs = [*OK, (b"x-a", b"b")]
        subject.connection.send_head(stream, subject.connection.encode(pairs))
        subject.connection.send_data(stream, b"x" * 20_001)
        (_, _, found, _), *rest = subject.said()
        assert found == pairs
        assert [len(payload) for _, _, payload, _ in rest] == [20_000, 1]


def test_a_large_head_goes_in_continuations_with_nothing_between() -> None:
    subject = server()
    subject.receive(headers(1, GET, end=True))
    stream = subject.recorder.streams[1]
    subject.connection.send_head(
        stream, subject.connection.encode([*OK, (b"x-a", b"b" * 40_000)]), end_stream=True
    )
    assert [(kind, flags) for kind, flags, *_ in subject.wrote()] == [
        (HEADERS, END_STREAM),
        (9, 0),
        (9, END_HEADERS),
    ]


def test_a_block_may_be_sent_again_while_the_generation_stands() -> None:
    subject = server()
    pairs = [*OK, (b"content-type", b"application/grpc")]
    blocks: list[bytes] = []
    for number in range(4):
        subject.receive(headers(2 * number + 1, GET, end=True))
        before = subject.connection.encoder.generation
        octets = subject.connection.encode(pairs) if number < 3 else blocks[2]
        blocks.append(octets)
        subject.connection.send_head(subject.recorder.streams[2 * number + 1], octets, end_stream=True)
        assert (subject.connection.encoder.generation == before) is (number != 1)
    assert [event[2] for event in subject.said()] == [pairs] * 4


def test_output_is_counted_until_it_is_taken() -> None:
    subject, (stream,) = answering()
    subject.connection.send_data(stream, b"x" * 100)
    assert subject.connection.output_octets == 109
    subject.wrote()
    assert subject.connection.output_octets == 0


BULK = 2048


def bulk(count: int, *, end: bool = False) -> tuple[bytes, bytes]:
    """(so many DATA frames of stream 1, what is in them)."""
    payloads = [bytes([number % 251]) * BULK for number in range(count)]
    octets = b"".join(
        data(1, payload, end=end and number == count - 1) for number, payload in enumerate(payloads)
    )
    return octets, b"".join(payloads)


def told(events: list[Event]) -> tuple[bytes, list[bool]]:
    """(all DATA, whether each piece of it was the last)."""
    pieces = [event for event in events if event[0] == "data"]
    assert pieces == events
    return b"".join(event[2] for event in pieces), [event[3] for event in pieces]


@for_each("end", [False, True])
def test_a_body_s_frames_that_came_together_are_told_of_together(end: bool) -> None:  # noqa: FBT001
    subject = server()
    subject.receive(headers(1, POST))
    octets, body = bulk(20, end=end)
    assert told(subject.receive(octets)) == (body, [end])
    octets, body = bulk(100)
    subject = server()
    subject.receive(headers(1, POST))
    read, pieces = told(subject.receive(octets))
    assert (read, len(pieces)) == (body, 4)  # 64 KiB at the most


@for_each("cut", [1, 8, 9, 10, BULK + 8, BULK + 9, BULK + 10, 3 * (BULK + 9) - 1])
def test_a_body_s_frames_at_any_split(cut: int) -> None:
    octets, body = bulk(5, end=True)
    subject = server()
    subject.receive(headers(1, POST))
    read, pieces = told(subject.receive(octets[:cut], octets[cut:]))
    assert read == body
    assert pieces == [False] * (len(pieces) - 1) + [True]


@for_each(
    ("between", "pieces"),
    [
        (data(3, b"y" * BULK), 3),  # another stream's
        (data(1), 2),
        (data(1, b"y"), 3),
        (frame(DATA, PADDED, 1, b"\x01" + b"y" * BULK + b"\0"), 3),
        (frames.build_ping(b"12345678"), 2),
        (frame(0x42, 0, 1, b"y" * BULK), 2),
    ],
)
def test_what_comes_between_a_body_s_frames_is_itself(between: bytes, pieces: int) -> None:
    subject = server()
    subject.receive(headers(1, POST), headers(3, POST))
    octets, body = bulk(4)
    half = len(octets) // 2
    found = [
        event for event in subject.receive(octets[:half] + between + octets[half:]) if event[0] == "data"
    ]
    assert len(found) == pieces
    assert b"".join(event[2].replace(b"y", b"") for event in found) == body
    assert subject.fault() is None


def test_frames_that_came_together_keep_to_windows_and_lengths() -> None:
    octets, _ = bulk(40)  # 80 KiB
    subject = server(Limits(stream_window=65535))
    subject.receive(headers(1, POST))
    subject.receive(octets)
    assert ("rst", 1, ErrorCode.FLOW_CONTROL_ERROR) in subject.said()
    for length, fault in ((4 * BULK, None), (4 * BULK - 1, True), (4 * BULK + 1, True)):
        subject = server()
        subject.receive(headers(1, [*POST, (b"content-length", b"%d" % length)]))
        subject.receive(bulk(4, end=True)[0])
        assert (("rst", 1, ErrorCode.PROTOCOL_ERROR) in subject.said()) is bool(fault)


def test_nothing_is_read_behind_an_end_that_came_together_with_others() -> None:
    subject = server()
    subject.receive(headers(1, POST))
    subject.receive(bulk(3, end=True)[0] + data(1, b"y" * BULK))
    assert ("rst", 1, ErrorCode.STREAM_CLOSED) in subject.said()
