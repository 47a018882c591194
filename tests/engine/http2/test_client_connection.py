"""Towards the receiver: answers, what of it may be said again, and a hostile one."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.frames import DATA, END_HEADERS, HEADERS, PREFACE, PUSH_PROMISE, frame
from idtoken_proxy.engine.http2.hpack_encoder import never_indexed
from idtoken_proxy.engine.http2.settings import Limits
from tests.cases import for_each
from tests.engine.http2.peer import GET, OK, POST, Clock, Recorder, Subject, client, data, headers, opened

REFUSED = ErrorCode.REFUSED_STREAM


def test_our_preface() -> None:
    recorder = Recorder()
    connection = ClientConnection(recorder, Limits(header_octets=1 << 20), Clock())
    octets = b"".join(connection.take_output())
    assert octets == (
        PREFACE
        + frames.build_settings({2: 0, 4: 256 * 1024, 6: 1 << 20})
        + frames.build_window_update(0, (1 << 20) - 65535)
    )


def test_a_request_may_go_out_before_the_receivers_settings_came() -> None:
    recorder = Recorder()
    subject = Subject(ClientConnection(recorder, Limits(), Clock()), recorder, Clock())
    preface = subject.connection.take_output()
    assert preface
    subject.connection.open(subject.connection.encode(GET), end_stream=True)
    assert subject.said() == [("headers", 1, GET, True)]
    assert subject.receive(frames.build_settings({}) + headers(1, OK, end=True)) == [
        ("response", 1, 200, True)
    ]


def test_an_exchange() -> None:
    subject = client()
    token = never_indexed(b"authorization", b"Bearer t")
    stream = subject.connection.open(subject.connection.encode(POST) + token)
    subject.connection.send_data(stream, b"hello", end_stream=True)
    assert subject.said() == [
        ("headers", 1, [*POST, (b"authorization", b"Bearer t")], False),
        ("data", 1, b"hello", True),
    ]
    events = subject.receive(
        headers(1, [(b":status", b"103"), (b"link", b"a")]),
        headers(1, OK),
        data(1, b"world"),
        headers(1, [(b"grpc-status", b"0")], end=True),
    )
    assert events == [
        ("interim", 1, 103),
        ("response", 1, 200, False),
        ("data", 1, b"world", False),
        ("end", 1, [(b"grpc-status", b"0")]),
    ]
    assert subject.connection.streams == {}
    assert opened(subject).id == 3


def test_an_answer_whole_in_its_head() -> None:
    """What gRPC calls trailers-only."""
    subject = client()
    stream = opened(subject)
    assert subject.receive(headers(1, [*OK, (b"grpc-status", b"7")], end=True)) == [
        ("response", 1, 200, True)
    ]
    assert stream.state == "closed"


def test_an_answer_before_the_requests_end() -> None:
    subject = client()
    stream = opened(subject, POST, end=False)
    assert subject.receive(headers(1, OK, end=True)) == [("response", 1, 200, True)]
    subject.connection.send_data(stream, b"x")
    assert subject.receive(frames.build_rst_stream(1, 0)) == [("reset", 1, 0, "peer", False)]
    opened(subject, POST, end=False)
    subject.receive(headers(3, OK, end=True))
    subject.connection.reset(subject.recorder.streams[3], ErrorCode.CANCEL)
    assert subject.said()[-1] == ("rst", 3, ErrorCode.CANCEL)


@for_each(("status", "has_body"), [(b"200", False), (b"404", False), (b"204", True), (b"304", True)], ids=str)
def test_an_answer_without_a_body_may_tell_its_length(status: bytes, *, has_body: bool) -> None:
    subject = client()
    head = [(b":status", status), (b"content-length", b"5")]
    opened(subject, answer_has_body=has_body)
    assert subject.receive(headers(1, head, end=True)) == [("response", 1, int(status), True)]
    opened(subject, answer_has_body=has_body)
    subject.receive(headers(3, head))
    assert subject.receive(data(3, end=True)) == [("data", 3, b"", True)]
    opened(subject, answer_has_body=has_body)
    subject.receive(headers(5, head))
    assert subject.receive(data(5, b"hello")) == [("reset", 5, ErrorCode.PROTOCOL_ERROR, "fault", False)]


MALFORMED = {
    "no status": headers(1, [(b"a", b"b")]),
    "101": headers(1, [(b":status", b"101")]),
    "an interim answer that ends": headers(1, [(b":status", b"103")], end=True),
    "connection": headers(1, [*OK, (b"connection", b"close")]),
    "LF": headers(1, [*OK, (b"a", b"\nb")]),
    "a length and no body": headers(1, [*OK, (b"content-length", b"5")], end=True),
    "a body beyond its length": headers(1, [*OK, (b"content-length", b"5")]) + data(1, b"123456"),
    "a body short of its length": headers(1, [*OK, (b"content-length", b"5")]) + data(1, b"1234", end=True),
    "a second head": headers(1, OK) + headers(1, OK),
    "trailers that end nothing": headers(1, OK) + headers(1, [(b"a", b"b")]),
    "trailers with a status": headers(1, OK) + headers(1, OK, end=True),
}


@for_each("case", MALFORMED)
def test_a_malformed_message_costs_its_stream(case: str) -> None:
    for octets in ([MALFORMED[case]], [MALFORMED[case][at : at + 1] for at in range(len(MALFORMED[case]))]):
        subject = client()
        opened(subject)
        assert subject.receive(*octets)[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR, "fault", False)
        assert subject.said() == [("rst", 1, ErrorCode.PROTOCOL_ERROR)]
        opened(subject)
        assert subject.receive(headers(3, OK, end=True)) == [("response", 3, 200, True)]


FAULTS = {
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"), ErrorCode.PROTOCOL_ERROR),
    "a stream of the receiver's own": (headers(2, OK, end=True), ErrorCode.PROTOCOL_ERROR),
    "an answer to no request": (headers(3, OK, end=True), ErrorCode.PROTOCOL_ERROR),
    "DATA on an idle stream": (data(3, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA on a stream of its own": (data(2, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA before the head": (data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA behind the end": (headers(1, OK, end=True) + data(1, b"x"), ErrorCode.STREAM_CLOSED),
    "HEADERS behind the end": (headers(1, OK, end=True) + headers(1, OK), ErrorCode.STREAM_CLOSED),
    "RST_STREAM on an idle stream": (frames.build_rst_stream(3, 0), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (frames.build_window_update(3, 1), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of 0": (frames.build_window_update(1, 0), ErrorCode.PROTOCOL_ERROR),
    "a window over its end": (frames.build_window_update(1, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    "a bad PRIORITY": (frame(2, 0, 1, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    "no block": (frame(HEADERS, END_HEADERS, 1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "a frame over our size": (frame(DATA, 0, 1, b"x" * 16385), ErrorCode.FRAME_SIZE_ERROR),
    "a GOAWAY that takes back": (
        frames.build_goaway(1, 0) + frames.build_goaway(3, 0),
        ErrorCode.PROTOCOL_ERROR,
    ),
}


@for_each("case", FAULTS)
def test_a_malformed_frame_costs_the_receivers_connection(case: str) -> None:
    octets, code = FAULTS[case]
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        subject = client()
        stream = opened(subject, POST, end="behind the end" in case)
        assert subject.receive(*pieces)[-1] == ("fault", code)
        assert subject.fault() == code
        assert subject.said()[-1] == ("goaway", 0, code)
        assert stream.state in ("closed", "reset by us")
        assert subject.connection.capacity == 0


def test_data_behind_the_end_of_an_open_stream() -> None:
    subject = client()
    opened(subject, POST, end=False)
    subject.receive(headers(1, OK, end=True), data(1, b"x"))
    assert subject.fault() == ErrorCode.STREAM_CLOSED


def test_data_beyond_a_streams_window_costs_the_connection() -> None:
    subject = client(Limits(stream_window=65535))
    opened(subject)
    subject.receive(headers(1, OK) + data(1, b"x" * 16384) * 4)
    assert subject.fault() == ErrorCode.FLOW_CONTROL_ERROR


def test_frames_that_were_under_way_to_a_stream_that_we_reset_are_ignored() -> None:
    subject = client()
    stream = opened(subject)
    subject.connection.reset(stream, ErrorCode.CANCEL)
    assert subject.receive(headers(1, OK) + data(1, b"x") * 100 + headers(1, [(b"a", b"b")], end=True)) == []
    assert subject.fault() is None


# -- what may be said again ---------------------------------------------------


def test_a_refused_stream_was_not_processed() -> None:
    subject = client()
    opened(subject)
    assert subject.receive(frames.build_rst_stream(1, REFUSED)) == [("reset", 1, REFUSED, "peer", True)]


@for_each("code", [0, 1, 2, 8, 11, 99])
def test_any_other_code_says_nothing_of_that(code: int) -> None:
    subject = client()
    opened(subject)
    assert subject.receive(frames.build_rst_stream(1, code)) == [("reset", 1, code, "peer", False)]


def test_who_has_answered_has_processed() -> None:
    subject = client()
    opened(subject)
    assert subject.receive(headers(1, OK), frames.build_rst_stream(1, REFUSED))[-1] == (
        "reset",
        1,
        REFUSED,
        "peer",
        False,
    )


def test_a_goaway_leaves_out_what_is_above_its_id() -> None:
    subject = client()
    for _ in range(3):
        opened(subject)
    assert subject.receive(frames.build_goaway(2**31 - 1, 0)) == [("goaway", 2**31 - 1, 0, b"")]
    assert subject.connection.capacity == 0
    assert subject.receive(frames.build_goaway(3, 0, b"age")) == [
        ("goaway", 3, 0, b"age"),
        ("reset", 5, REFUSED, "goaway", True),
    ]
    assert subject.said() == []
    # The others come to their end, and what comes for the one that was left out is ignored.
    assert subject.receive(headers(5, OK, end=True), headers(1, OK, end=True), headers(3, OK, end=True)) == [
        ("response", 1, 200, True),
        ("response", 3, 200, True),
    ]


def test_a_goaway_may_be_answered_with_resets_from_within() -> None:
    subject = client()
    streams = [opened(subject) for _ in range(3)]
    subject.recorder.then["reset"] = lambda _: subject.connection.reset(streams[2], ErrorCode.CANCEL)
    assert subject.receive(frames.build_goaway(1, 0))[1:] == [("reset", 3, REFUSED, "goaway", True)]


def test_a_connection_that_is_lost_says_nothing_of_what_was_processed() -> None:
    subject = client()
    opened(subject)
    subject.connection.lost()
    assert subject.recorder.take() == [("reset", 1, 0, "connection", False)]


# -- capacity -----------------------------------------------------------------


def test_no_more_streams_than_the_receiver_takes() -> None:
    subject = client(settings={3: 2})
    streams = [opened(subject), opened(subject)]
    assert subject.connection.capacity == 0
    with pytest.raises(AssertionError):
        opened(subject)
    subject.connection.reset(streams[0], ErrorCode.CANCEL)
    assert subject.connection.capacity == 1
    assert subject.receive(frames.build_settings({3: 0})) == []
    assert subject.connection.capacity == 0
    assert subject.receive(frames.build_settings({3: 9})) == [("capacity",)]
    assert subject.connection.capacity == 8


def test_a_hundred_are_assumed_before_the_receiver_says() -> None:
    connection = ClientConnection(Recorder(), Limits(max_streams=1000), Clock())
    assert connection.capacity == 100
    connection.receive(frames.build_settings({}))
    assert connection.capacity == 1000


def test_ids_come_to_an_end() -> None:
    subject = client()
    subject.connection._next_id = 2**31 - 1
    assert opened(subject).id == 2**31 - 1
    assert subject.connection.capacity == 0


def test_a_flood_of_interim_answers_ends_the_connection() -> None:
    subject = client()
    opened(subject)
    subject.receive(headers(1, [(b":status", b"103")]) * 2000)
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


def test_a_bulk_upload_earns_its_window_updates() -> None:
    subject = client(settings={4: 1 << 20})
    stream = opened(subject, POST, end=False)
    for _ in range(3000):
        subject.connection.send_data(stream, b"x" * 16384)
        subject.connection.take_output()
        subject.receive(
            frames.build_window_update(0, 16384),
            frames.build_window_update(1, 16384),
            frames.build_ping(b"12345678"),
        )
        subject.connection.written()
    assert subject.fault() is None


def test_a_head_that_repeats_is_the_same_head() -> None:
    subject = client()
    for _ in range(3):
        opened(subject)
    subject.receive(*(headers(stream_id, OK, end=True) for stream_id in (1, 3, 5)))
    assert subject.recorder.heads[3] is subject.recorder.heads[5]
