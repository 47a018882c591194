"""What goes out, as far as windows allow, and in whose turn."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.frame_reader import FrameReader
from idtoken_proxy.engine.http2.frames import DATA, END_STREAM, HEADERS
from idtoken_proxy.engine.http2.outbox import Outbox
from idtoken_proxy.engine.http2.streams import CLOSED, LOCAL, OPEN, REMOTE, Stream
from tests.cases import for_each


def stream(window: int, stream_id: int = 1, state: str = OPEN) -> Stream:
    return Stream(stream_id, state, window, 65535)


def outbox(window: int = 65535) -> Outbox:
    made = Outbox()
    made.window = window
    return made


def out(box: Outbox) -> list[tuple[int, int, int, int]]:
    """(type, flags, stream, length) of each frame."""
    octets = box.octets
    joined = b"".join(box.take())
    assert len(joined) == octets
    assert box.octets == 0
    reader = FrameReader(1 << 20)
    reader.feed(joined)
    return [
        (kind, flags, stream_id, length)
        for kind, flags, stream_id, _, length in iter(reader.next_frame, None)
    ]


def test_data_that_fits_goes_out_and_is_not_copied() -> None:
    box = outbox()
    one = stream(65535)
    payload = b"x" * 16384
    assert box.data(one, payload, end_stream=False) == 16384
    assert box.parts[1] is payload
    assert out(box) == [(DATA, 0, 1, 16384)]
    assert (one.send_window, box.window) == (65535 - 16384, 65535 - 16384)


@for_each(("own", "shared", "sent"), [(10, 100, 10), (100, 10, 10), (0, 100, 0), (100, 0, 0), (-5, 9, 0)])
def test_what_a_window_has_no_room_for_is_held(own: int, shared: int, sent: int) -> None:
    box = outbox(shared)
    one = stream(own)
    assert box.data(one, b"x" * 30, end_stream=True) == sent
    assert one.held_octets == 30 - sent
    assert one.state == OPEN
    assert sum(length for *_, length in out(box)) == sent
    one.send_window = box.window = 100
    assert box.drain(one) == 30 - sent
    assert out(box) == [(DATA, END_STREAM, 1, 30 - sent)]
    assert (one.held_octets, one.state) == (0, LOCAL)


def test_later_data_stays_behind_what_is_held() -> None:
    box = outbox()
    one = stream(3)
    assert box.data(one, b"abcdef", end_stream=False) == 3
    assert box.data(one, b"ghi", end_stream=False) == 0
    assert box.data(one, b"", end_stream=True) == 0
    one.send_window = 100
    assert box.drain(one) == 6
    joined = b"".join(box.take())
    assert joined == b"".join(
        (
            frames.frame(DATA, 0, 1, b"abc"),
            frames.frame(DATA, END_STREAM, 1, b"defghi"),
        )
    )


def test_small_pieces_that_wait_are_joined() -> None:
    box = outbox(0)
    one = stream(1 << 20)
    for number in range(50_000):
        box.data(one, b"%d" % (number % 10) * 2, end_stream=False)
    box.data(one, b"x" * 16_384, end_stream=False)
    assert one.unsent is not None
    assert len(one.unsent.pieces) < 60
    assert one.held_octets == 100_000 + 16_384
    box.window = 1 << 20
    assert box.drain(one) == 116_384


@for_each("window", [0, -100])
def test_an_end_without_data_needs_no_window(window: int) -> None:
    box = outbox(window)
    one, two = stream(window), stream(window, 3, REMOTE)
    assert box.data(one, b"", end_stream=True) == 0
    box.end(two)
    assert out(box) == [(DATA, END_STREAM, 1, 0), (DATA, END_STREAM, 3, 0)]
    assert (one.state, two.state) == (LOCAL, CLOSED)


def test_nothing_is_no_frame() -> None:
    box = outbox()
    assert box.data(stream(10), b"", end_stream=False) == 0
    assert out(box) == []


def test_trailers_wait_behind_held_data() -> None:
    box = outbox()
    one = stream(2, state=REMOTE)
    box.data(one, b"abc", end_stream=False)
    box.end(one, [(b"grpc-status", b"0")])
    assert [kind for kind, *_ in out(box)] == [DATA]
    one.send_window = 1
    assert box.drain(one) == 1
    assert [(kind, flags & END_STREAM) for kind, flags, *_ in out(box)] == [(DATA, 0), (HEADERS, END_STREAM)]
    assert one.state == CLOSED


def test_trailers_go_out_at_once_where_nothing_is_held() -> None:
    box = outbox(0)
    one = stream(0)
    box.end(one, [(b"grpc-status", b"0")])
    assert [(kind, flags) for kind, flags, *_ in out(box)] == [(HEADERS, END_STREAM | 0x4)]
    assert one.state == LOCAL


def test_frames_are_no_larger_than_the_peer_takes() -> None:
    box = outbox(1 << 20)
    one = stream(1 << 20)
    box.data(one, b"x" * 40000, end_stream=False)
    assert [length for *_, length in out(box)] == [16384, 16384, 7232]
    box.limit_frames(1 << 24)
    box.data(one, b"x" * 100_000, end_stream=False)
    assert [length for *_, length in out(box)] == [65536, 34464]


def test_streams_take_turns_at_the_connections_window() -> None:
    box = outbox(0)
    one, two, three = stream(1 << 20, 1), stream(20_000, 3), stream(0, 5)
    for each in (one, two, three):
        box.data(each, b"x" * 60_000, end_stream=False)
    box.window = 50_000
    assert [(each.id, octets) for each, octets in box.drain_all()] == [(1, 32_768), (3, 17_232)]
    assert [(stream_id, length) for _, _, stream_id, length in out(box)] == [
        (1, 16384),
        (3, 16384),
        (1, 16384),
        (3, 848),
    ]


def test_who_got_nothing_is_first_the_next_time() -> None:
    box = outbox(0)
    streams = [stream(1 << 20, stream_id) for stream_id in (1, 3, 5)]
    for each in streams:
        box.data(each, b"x" * 16384 * 3, end_stream=False)
    order = []
    for _ in range(9):
        box.window = 16384
        order += [each.id for each, _ in box.drain_all()]
    assert order == [1, 3, 5] * 3
    assert not list(box.drain_all())


def test_what_is_forgotten_is_not_sent() -> None:
    box = outbox(0)
    one = stream(100)
    box.data(one, b"abc", end_stream=True)
    box.forget(one)
    box.window = 100
    assert list(box.drain_all()) == []
    assert (box.drain(one), one.held_octets) == (0, 0)


def test_answers_are_counted_apart() -> None:
    box = outbox()
    box.answer(frames.build_ping(b"12345678", ack=True))
    box.write(frames.SETTINGS_ACK)
    assert (box.answers, box.octets) == (17, 26)
    box.take()
    assert (box.answers, box.octets) == (17, 0)


def test_what_may_not_be_sent_is_a_bug() -> None:
    box = outbox()
    with pytest.raises(AssertionError):
        box.data(stream(10, state=LOCAL), b"x", end_stream=False)
    with pytest.raises(AssertionError):
        box.end(stream(10, state=CLOSED))
    one = stream(0)
    box.data(one, b"x", end_stream=True)
    with pytest.raises(AssertionError):
        box.data(one, b"x", end_stream=False)


def test_what_all_streams_hold_is_counted() -> None:
    box = outbox(100)
    first, second = stream(0, 1), stream(0, 3)
    box.data(first, b"x" * 30, end_stream=False)
    box.data(second, b"x" * 40, end_stream=False)
    assert box.held_octets == 70
    first.send_window = 10
    box.drain(first)
    assert box.held_octets == 60
    box.forget(second)
    assert box.held_octets == 20
    box.forget(first)
    assert box.held_octets == 0


def test_of_a_piece_that_is_nearly_out_no_more_is_kept_than_is_left() -> None:
    box = outbox(100_000)
    one = stream(0)
    box.data(one, bytes(16384), end_stream=False)
    for sent in (8000, 8000, 383):
        one.send_window = sent
        box.drain(one)
        assert one.unsent is not None
        (left,) = one.unsent.pieces
        whole = left.obj if isinstance(left, memoryview) else left
        assert isinstance(whole, bytes)
        assert len(whole) <= 2 * one.held_octets
    assert one.held_octets == 1


@for_each("end", [False, True])
def test_what_is_larger_than_a_frame_goes_out_in_frames_at_once(end: bool) -> None:  # noqa: FBT001
    box = outbox()
    one = stream(65535)
    assert box.data(one, b"x" * 40_000, end_stream=end) == 40_000
    assert out(box) == [(DATA, 0, 1, 16384), (DATA, 0, 1, 16384), (DATA, int(end), 1, 40_000 - 2 * 16384)]
    assert (one.send_window, one.held_octets) == (65535 - 40_000, 0)
    assert one.state == (LOCAL if end else OPEN)


def test_what_is_larger_than_a_frame_and_a_window_is_held_in_frames() -> None:
    """So that what is out is let go of, and not kept by what is left."""
    box = outbox()
    one = stream(20_000)
    assert box.data(one, b"x" * 50_000, end_stream=True) == 20_000
    assert one.unsent is not None
    assert [len(piece) for piece in one.unsent.pieces] == [2 * 16384 - 20_000, 16384, 50_000 - 3 * 16384]
    assert all(
        memoryview(piece).nbytes == memoryview(memoryview(piece).obj).nbytes
        for piece in list(one.unsent.pieces)[1:]
    )
