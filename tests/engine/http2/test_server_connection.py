"""Towards the app: requests, what is refused of them, drain, and attacks."""

from __future__ import annotations

from hpack import Encoder as OtherEncoder

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    frame,
)
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2.streams import Stream
from tests.cases import for_each
from tests.engine.http2.peer import (
    GET,
    OK,
    POST,
    Clock,
    Event,
    Recorder,
    Subject,
    block,
    data,
    headers,
    in_pieces,
    server,
)

REQUEST = ("request", 1, b"GET", b"/", True)
CANCEL = frames.build_rst_stream(1, ErrorCode.CANCEL)


def answer(subject: Subject, stream: Stream, *, end: bool = True) -> None:
    subject.connection.send_head(stream, subject.connection.encode(OK), end_stream=end)


# -- prefaces -----------------------------------------------------------------


def test_our_preface_is_settings_and_the_connections_window() -> None:
    recorder = Recorder()
    subject = Subject(ServerConnection(recorder, Limits(max_streams=7), Clock()), recorder, Clock())
    assert subject.said() == [
        ("settings", {3: 7, 4: 256 * 1024, 6: 64 * 1024}),
        ("window", 0, 1024 * 1024 - 65535),
    ]


def test_a_whole_connection_is_the_same_at_every_split() -> None:
    octets = (
        PREFACE
        + frames.build_settings({})
        + headers(1, POST)
        + frame(DATA, PADDED, 1, b"\2hello\0\0")
        + headers(1, [(b"x-trailer", b"a")], end=True)
        + in_pieces(3, block(GET), 2, end=True)
        + CANCEL
        + frame(DATA, 0, 5, b"idle")
    )
    expected: list[Event] | None = None
    for pieces in (
        [octets],
        *([octets[:at], octets[at:]] for at in range(len(octets))),
        [octets[at : at + 1] for at in range(len(octets))],
    ):
        recorder = Recorder()
        subject = Subject(ServerConnection(recorder, Limits(), Clock()), recorder, Clock())
        events = subject.receive(*pieces)
        expected = expected or events
        assert events == expected
    assert expected == [
        ("request", 1, b"POST", b"/", False),
        ("data", 1, b"hello", False),
        ("end", 1, [(b"x-trailer", b"a")]),
        ("request", 3, b"GET", b"/", True),
        ("reset", 1, ErrorCode.CANCEL, "peer", False),
        ("reset", 3, ErrorCode.PROTOCOL_ERROR, "connection", False),
        ("fault", ErrorCode.PROTOCOL_ERROR),
    ]


@for_each("octets", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", PREFACE[:-1] + b"\r", b"\0"])
def test_another_preface_ends_the_connection(octets: bytes) -> None:
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        recorder = Recorder()
        subject = Subject(ServerConnection(recorder, Limits(), Clock()), recorder, Clock())
        assert subject.receive(*pieces) == [("fault", ErrorCode.PROTOCOL_ERROR)]
        assert subject.said()[-1] == ("goaway", 0, ErrorCode.PROTOCOL_ERROR)


# -- exchanges ----------------------------------------------------------------


def test_a_request_and_its_answer() -> None:
    subject = server()
    assert subject.receive(headers(1, GET, end=True)) == [REQUEST]
    stream = subject.recorder.streams[1]
    answer(subject, stream, end=False)
    assert subject.connection.send_data(stream, b"hello") == 5
    subject.connection.send_end(stream, [(b"grpc-status", b"0")])
    assert subject.said() == [
        ("headers", 1, OK, False),
        ("data", 1, b"hello", False),
        ("headers", 1, [(b"grpc-status", b"0")], True),
    ]
    assert subject.connection.streams == {}
    assert stream.state == "closed"


def test_an_answer_may_come_before_the_requests_end() -> None:
    subject = server()
    subject.receive(headers(1, POST))
    stream = subject.recorder.streams[1]
    answer(subject, stream)
    assert subject.receive(data(1, b"x"), data(1, b"y", end=True)) == [
        ("data", 1, b"x", False),
        ("data", 1, b"y", True),
    ]
    assert subject.connection.streams == {}
    subject.receive(headers(3, POST))
    stream = subject.recorder.streams[3]
    answer(subject, stream)
    subject.connection.reset(stream, ErrorCode.NO_ERROR)
    assert subject.said()[-1] == ("rst", 3, ErrorCode.NO_ERROR)
    assert subject.receive(data(3, b"late", end=True)) == []
    assert subject.fault() is None


def test_interim_answers_do_not_end_a_request() -> None:
    subject = server()
    subject.receive(headers(1, POST))
    stream = subject.recorder.streams[1]
    subject.connection.send_interim(stream, subject.connection.encode([(b":status", b"100")]))
    answer(subject, stream)
    assert [event[:3] for event in subject.said()] == [
        ("headers", 1, [(b":status", b"100")]),
        ("headers", 1, OK),
    ]


def test_what_is_sent_on_a_stream_that_was_reset_goes_nowhere() -> None:
    subject = server()
    subject.receive(headers(1, GET, end=True) + CANCEL)
    stream = subject.recorder.streams[1]
    subject.connection.send_interim(stream, b"\x88")
    answer(subject, stream, end=False)
    assert subject.connection.send_data(stream, b"hello") == 5
    subject.connection.send_end(stream)
    subject.connection.reset(stream, ErrorCode.CANCEL)
    subject.connection.release_credit(stream, 5)
    assert subject.said() == []


def test_a_listener_may_answer_from_within_and_reset_from_within() -> None:
    subject = server()
    subject.recorder.then["request"] = lambda stream: answer(subject, stream)
    subject.recorder.then["data"] = lambda stream: subject.connection.reset(stream, ErrorCode.CANCEL)
    subject.receive(
        headers(1, GET, end=True)
        + headers(3, POST)
        + data(3, b"x")
        + data(3, b"y")
        + headers(5, GET, end=True)
    )
    assert [event[0] for event in subject.said()] == ["headers", "headers", "rst", "headers"]
    assert subject.connection.streams == {}


def test_a_head_that_repeats_is_the_same_head() -> None:
    subject = server()
    other = OtherEncoder()
    heads = []
    for number in range(5):
        octets = other.encode([*GET, (b"x-a", b"1")])
        subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, octets))
        heads.append(subject.recorder.heads[2 * number + 1])
    assert heads[0] is not heads[2]  # the first changed the table
    assert heads[2] is heads[3] is heads[4]
    subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, 11, other.encode([*GET, (b"x-new", b"1")])))
    subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, 13, other.encode([*GET, (b"x-a", b"1")])))
    assert subject.recorder.heads[13] is not heads[3]
    assert [each.pair for each in subject.recorder.heads[13].passing] == [(b"x-a", b"1")]


def test_the_same_octets_behind_a_change_of_the_table_are_read_anew() -> None:
    subject = server()
    pseudo = block(GET)
    stream_ids = iter(range(1, 100, 2))
    for name in (b"x-a", b"x-b"):
        insertion = b"\x40" + block([(name, b"1")])[1:]
        subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, next(stream_ids), pseudo + insertion))
        for _ in range(3):
            stream_id = next(stream_ids)
            subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, pseudo + b"\xbe"))
            assert [each.name for each in subject.recorder.heads[stream_id].passing] == [name]


@for_each("secret", [(b"authorization", b"a"), (b"cookie", b"a=b"), (b"x-api-key", b"a")])
def test_a_head_with_a_credential_is_not_kept(secret: tuple[bytes, bytes]) -> None:
    subject = server()
    for stream_id in (1, 3, 5):
        subject.receive(headers(stream_id, [*GET, secret], end=True))
    assert len({id(head) for head in subject.recorder.heads.values()}) == 3


# -- what is refused ----------------------------------------------------------

C, S = "connection", "stream"
OPEN_POST = headers(1, POST)
WITH_LENGTH = headers(1, [*POST, (b"content-length", b"5")])
FAULTS = {
    # Section 5.1, 5.1.1.
    "DATA on an idle stream": (data(1, b"x"), C, ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (CANCEL, C, ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (frames.build_window_update(1, 1), C, ErrorCode.PROTOCOL_ERROR),
    "a bad PRIORITY on an idle stream": (frame(2, 0, 1, b"x"), C, ErrorCode.FRAME_SIZE_ERROR),
    "an even id": (headers(2, GET, end=True), C, ErrorCode.PROTOCOL_ERROR),
    "an even id below": (headers(5, GET, end=True) + headers(2, GET, end=True), C, ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of an even id": (
        OPEN_POST + frames.build_window_update(2, 1),
        C,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "an id below": (headers(5, GET, end=True) + headers(3, GET, end=True), C, ErrorCode.PROTOCOL_ERROR),
    "HEADERS behind END_STREAM": (
        headers(1, GET, end=True) + headers(1, GET, end=True),
        S,
        ErrorCode.STREAM_CLOSED,
    ),
    "DATA behind END_STREAM": (headers(1, GET, end=True) + data(1, b"x"), S, ErrorCode.STREAM_CLOSED),
    "DATA behind RST_STREAM": (OPEN_POST + CANCEL + data(1, b"x"), C, ErrorCode.STREAM_CLOSED),
    "HEADERS behind RST_STREAM": (OPEN_POST + CANCEL + headers(1, GET), C, ErrorCode.STREAM_CLOSED),
    # Section 6.
    "a bad PRIORITY": (OPEN_POST + frame(2, 0, 1, b"x"), S, ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 0": (OPEN_POST + frames.build_window_update(1, 0), S, ErrorCode.PROTOCOL_ERROR),
    "the connection's of 0": (OPEN_POST + frames.build_window_update(0, 0), C, ErrorCode.PROTOCOL_ERROR),
    "a window over its end": (
        OPEN_POST + frames.build_window_update(1, MAX_STREAM_ID),
        S,
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "the connection's over its end": (
        OPEN_POST + frames.build_window_update(0, MAX_STREAM_ID),
        C,
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "a window over its end by SETTINGS": (
        OPEN_POST + frames.build_window_update(1, 1) + frames.build_settings({4: MAX_STREAM_ID}),
        C,
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "PUSH_PROMISE": (OPEN_POST + frame(5, END_HEADERS, 1, b"\0\0\0\2"), C, ErrorCode.PROTOCOL_ERROR),
    # Section 8.1.1 and 8.2.
    "DATA beyond its length": (WITH_LENGTH + data(1, b"123456"), S, ErrorCode.PROTOCOL_ERROR),
    "DATA beyond its length in two": (
        WITH_LENGTH + data(1, b"12345") + data(1, b"6"),
        S,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "DATA short of its length": (WITH_LENGTH + data(1, b"1234", end=True), S, ErrorCode.PROTOCOL_ERROR),
    "trailers short of its length": (
        WITH_LENGTH + headers(1, [(b"a", b"b")], end=True),
        S,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "trailers that end nothing": (OPEN_POST + headers(1, [(b"a", b"b")]), S, ErrorCode.PROTOCOL_ERROR),
    "a second head": (OPEN_POST + headers(1, GET), S, ErrorCode.PROTOCOL_ERROR),
    "pseudo-fields among trailers": (
        OPEN_POST + headers(1, [(b":path", b"/")], end=True),
        S,
        ErrorCode.PROTOCOL_ERROR,
    ),
    "trailers with CR": (OPEN_POST + headers(1, [(b"a", b"\r")], end=True), S, ErrorCode.PROTOCOL_ERROR),
    # RFC 7541.
    "no block": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), C, ErrorCode.COMPRESSION_ERROR),
    "no block on a stream that was": (
        OPEN_POST + CANCEL + frame(HEADERS, END_HEADERS, 1, b"\x80"),
        C,
        ErrorCode.COMPRESSION_ERROR,
    ),
    "no block for trailers": (
        OPEN_POST + frame(HEADERS, END_HEADERS, 1, b"\x80"),
        C,
        ErrorCode.COMPRESSION_ERROR,
    ),
}


@for_each("case", FAULTS)
def test_faults_have_their_code(case: str) -> None:
    octets, scope, code = FAULTS[case]
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        subject = server()
        events = subject.receive(*pieces)
        said = [event for event in subject.said() if event[0] in ("rst", "goaway")]
        if scope == C:
            assert subject.fault() == code
            assert said[-1][0::2] == ("goaway", code)
            assert events[-1] == ("fault", code)
            assert subject.connection.streams == {}
        else:
            assert said == [("rst", 1, code)]
            assert events[-1] == ("reset", 1, code, "fault", False)
            # The stream is gone, and the connection goes on: with HPACK's tables as they were.
            assert subject.receive(headers(7, GET, end=True)) == [("request", 7, b"GET", b"/", True)]


@for_each("pairs", [GET[1:], [*GET, (b"connection", b"close")], [*GET, (b"x", b"\n")], []])
def test_a_malformed_request_is_reset_and_told_of(pairs: list[tuple[bytes, bytes]]) -> None:
    subject = server()
    ((name, stream_id, reason),) = subject.receive(headers(1, pairs, end=True))
    assert (name, stream_id) == ("malformed", 1)
    assert reason
    assert subject.said() == [("rst", 1, ErrorCode.PROTOCOL_ERROR)]
    # What of it is under way is ignored.
    assert subject.receive(data(1, b"x"), headers(3, GET, end=True)) == [("request", 3, b"GET", b"/", True)]


@for_each("end", [True, False])
def test_a_malformed_request_may_be_answered_before_it_is_reset(*, end: bool) -> None:
    subject = server()
    subject.recorder.malformed = [(b":status", b"400"), (b"x-why", b"connection")]
    subject.receive(headers(1, [*GET, (b"connection", b"close")], end=end))
    assert subject.said() == [
        ("headers", 1, [(b":status", b"400"), (b"x-why", b"connection")], True),
        ("rst", 1, ErrorCode.PROTOCOL_ERROR),
    ]
    subject.recorder.malformed = ()
    assert subject.receive(data(1, b"x"), headers(3, GET, end=True)) == [("request", 3, b"GET", b"/", True)]


def test_a_head_that_announces_a_body_and_ends_is_malformed() -> None:
    subject = server()
    subject.receive(headers(1, [*POST, (b"content-length", b"5")], end=True))
    assert subject.said() == [("rst", 1, ErrorCode.PROTOCOL_ERROR)]
    assert subject.receive(headers(3, [*POST, (b"content-length", b"0")], end=True))[0][0] == "request"


def test_frames_that_were_under_way_to_a_stream_that_we_reset_are_ignored() -> None:
    subject = server()
    subject.receive(headers(1, POST))
    subject.connection.reset(subject.recorder.streams[1], ErrorCode.CANCEL)
    late = [data(1, b"x"), headers(1, [(b"a", b"b")], end=True), CANCEL, frames.build_window_update(1, 1)]
    assert subject.receive(*late) == []
    assert subject.fault() is None


def test_they_count_towards_both_windows() -> None:
    subject = server(Limits(stream_window=65535))
    subject.receive(headers(1, POST) + data(1, b"x" * 16383))
    subject.connection.reset(subject.recorder.streams[1], ErrorCode.CANCEL)
    subject.receive(data(1, b"x" * 16384) * 3)
    assert subject.fault() is None
    subject.receive(data(1, b"x"))
    assert subject.fault() == ErrorCode.FLOW_CONTROL_ERROR


def test_only_so_many_resets_are_remembered() -> None:
    subject = server()
    for number in range(1100):
        stream_id = 2 * number + 1
        subject.receive(headers(stream_id, POST))
        subject.connection.reset(subject.recorder.streams[stream_id], ErrorCode.CANCEL)
        subject.wrote()
    assert len(subject.connection._resets) == 1024
    subject.receive(data(2199, b"x"))
    assert subject.fault() is None
    subject.receive(data(1, b"x"))
    assert subject.fault() == ErrorCode.STREAM_CLOSED


def test_window_updates_and_resets_may_come_late() -> None:
    subject = server()
    subject.receive(headers(1, GET, end=True))
    answer(subject, subject.recorder.streams[1])
    subject.receive(frames.build_window_update(1, 100), CANCEL, frame(2, 0, 1, b"\0" * 5))
    assert subject.fault() is None


# -- limits -------------------------------------------------------------------


def test_streams_beyond_the_limit_are_refused_and_their_blocks_are_decoded() -> None:
    subject = server(Limits(max_streams=2))
    other = OtherEncoder()
    for stream_id in (1, 3, 5):
        octets = other.encode([*GET, (b"x-%d" % stream_id, b"a")])
        subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, octets))
    assert subject.said() == [("rst", 5, ErrorCode.REFUSED_STREAM)]
    answer(subject, subject.recorder.streams[1])
    subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, 7, other.encode([*GET, (b"x-5", b"a")])))
    assert [each.name for each in subject.recorder.heads[7].passing] == [b"x-5"]


def test_a_cancelled_stream_holds_its_place_until_its_upstream_side_is_released() -> None:
    subject = server(Limits(max_streams=1))
    subject.receive(headers(1, GET, end=True) + CANCEL)
    assert (subject.connection.open_streams, subject.connection.streams) == (1, {})
    subject.receive(headers(3, GET, end=True))
    assert subject.said() == [("rst", 3, ErrorCode.REFUSED_STREAM)]
    subject.connection.release_slot(subject.recorder.streams[1])
    assert subject.receive(headers(5, GET, end=True)) == [("request", 5, b"GET", b"/", True)]


def test_it_may_be_released_from_within() -> None:
    subject = server(Limits(max_streams=1))
    subject.recorder.then["reset"] = subject.connection.release_slot
    for number in range(5):
        stream_id = 2 * number + 1
        subject.receive(headers(stream_id, GET, end=True) + frames.build_rst_stream(stream_id, 8))
    assert subject.said() == []


def test_rapid_reset_ends_the_connection() -> None:
    """CVE-2023-44487."""
    subject = server()
    subject.recorder.then["reset"] = subject.connection.release_slot
    for number in range(101):
        assert subject.fault() is None
        subject.receive(headers(2 * number + 1, GET, end=True), frames.build_rst_stream(2 * number + 1, 8))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM
    assert subject.connection.failure.limit == "early_ends"
    assert subject.said() == [("goaway", 201, ErrorCode.ENHANCE_YOUR_CALM)]


@for_each(
    "misdeed",
    [frames.build_window_update(1, 0), data(1, b"x"), frame(2, 0, 1, b"x"), headers(1, GET, end=True)],
    ids=["a window of 0", "DATA behind the end", "a bad PRIORITY", "a second head"],
)
def test_resets_that_the_peer_makes_us_send_count_likewise(misdeed: bytes) -> None:
    """CVE-2025-8671, also where the answer's head is out."""
    subject = server()
    subject.recorder.then["request"] = lambda stream: answer(subject, stream, end=False)
    subject.recorder.then["reset"] = subject.connection.release_slot
    for number in range(101):
        assert subject.fault() is None
        stream_id = 2 * number + 1
        subject.receive(
            headers(stream_id, GET, end=True), misdeed[:5] + stream_id.to_bytes(4, "big") + misdeed[9:]
        )
        subject.wrote()
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


def test_malformed_requests_count_too() -> None:
    subject = server()
    for number in range(101):
        assert subject.fault() is None
        subject.receive(headers(2 * number + 1, []))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


def test_cancelling_what_has_its_answers_head_is_how_streams_end() -> None:
    subject = server()
    subject.recorder.then["request"] = lambda stream: answer(subject, stream, end=False)
    subject.recorder.then["reset"] = subject.connection.release_slot
    for number in range(500):
        subject.receive(headers(2 * number + 1, GET, end=True), frames.build_rst_stream(2 * number + 1, 8))
        subject.wrote()
    assert subject.fault() is None


def test_cancelling_at_a_persons_pace_is_borne_for_ever() -> None:
    subject = server()
    subject.recorder.then["reset"] = subject.connection.release_slot
    for number in range(1000):
        subject.receive(headers(2 * number + 1, GET, end=True), frames.build_rst_stream(2 * number + 1, 8))
        subject.clock.now += 1 / 33
    assert subject.fault() is None


def test_a_flood_of_refused_streams_ends_the_connection() -> None:
    subject = server(Limits(max_streams=0))
    for number in range(500):
        assert subject.fault() is None
        subject.receive(headers(2 * number + 1, GET, end=True))
        subject.wrote()
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


def test_window_updates_of_honest_calls_are_earned() -> None:
    """Grpcio sends two for each call."""
    subject = server()
    for number in range(2000):
        stream_id = 2 * number + 1
        subject.receive(headers(stream_id, POST), data(stream_id, b"hello", end=True))
        stream = subject.recorder.streams[stream_id]
        answer(subject, stream, end=False)
        subject.connection.send_data(stream, b"world")
        subject.receive(frames.build_window_update(0, 5), frames.build_window_update(stream_id, 5))
        subject.connection.send_end(stream, [(b"grpc-status", b"0")])
        subject.connection.take_output()
        subject.connection.written()
    assert subject.fault() is None


def test_so_are_those_of_a_bulk_download() -> None:
    """Go gives credit for each 4 KiB that it has read, of the stream and of the connection."""
    subject = server(settings={4: 1 << 20})
    subject.receive(headers(1, GET, end=True))
    stream = subject.recorder.streams[1]
    answer(subject, stream, end=False)
    for _ in range(2000):
        subject.connection.send_data(stream, b"x" * 15_000)
        subject.connection.take_output()
        subject.receive((frames.build_window_update(0, 3750) + frames.build_window_update(1, 3750)) * 4)
        subject.connection.written()
    assert subject.fault() is None


def test_a_window_of_one_octet_does_not_pay_for_its_updates() -> None:
    """CVE-2019-9511."""
    subject = server(settings={4: 0})
    subject.receive(headers(1, GET, end=True))
    stream = subject.recorder.streams[1]
    answer(subject, stream, end=False)
    subject.connection.send_data(stream, b"x" * 100_000)
    for _ in range(1100):
        subject.receive(frames.build_window_update(1, 1))
        subject.connection.take_output()
        subject.connection.written()
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_of_nine_continuations_ends_the_connection() -> None:
    """CVE-2024-28182."""
    subject = server()
    assert subject.receive(in_pieces(1, block(GET), 8, end=True)) == [REQUEST]
    subject.receive(in_pieces(3, block(GET), 9, end=True))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


@for_each("pieces", [1, 2])
def test_a_block_beyond_the_limit_ends_the_connection(pieces: int) -> None:
    subject = server(Limits(header_octets=1024))
    octets = b"\x20" * 1025
    if pieces == 1:
        subject.receive(frame(HEADERS, END_HEADERS, 1, octets))
    else:
        subject.receive(frame(HEADERS, 0, 1, octets[:600]) + frame(CONTINUATION, 0, 1, octets[600:]))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM
    assert subject.connection.failure.limit == "header_bytes"


def test_a_bomb_of_references_ends_the_connection() -> None:
    subject = server(Limits(header_octets=16384))
    entry = b"\x40" + block([(b"x-a", b"y" * 3000)])[1:]
    subject.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(GET) + entry + b"\xbe" * 10))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


# -- drain --------------------------------------------------------------------


def test_a_drain_is_two_goaways_with_a_ping_between() -> None:
    subject = server()
    subject.receive(headers(1, GET, end=True))
    subject.connection.drain()
    subject.connection.drain()
    assert subject.said() == [("goaway", MAX_STREAM_ID, ErrorCode.NO_ERROR), ("ping", b"draining")]
    assert not subject.connection.drained
    # What was under way is served.
    assert subject.receive(headers(3, GET, end=True)) == [("request", 3, b"GET", b"/", True)]
    assert subject.receive(frames.build_ping(b"draining", ack=True)) == [("pong", b"draining")]
    assert subject.said() == [("goaway", 3, ErrorCode.NO_ERROR)]
    # What comes later is not, and its block is decoded all the same.
    assert subject.receive(headers(5, POST), data(5, b"x", end=True)) == []
    assert subject.said() == []
    for stream_id in (1, 3):
        assert not subject.connection.drained
        answer(subject, subject.recorder.streams[stream_id])
    assert subject.connection.drained
    assert subject.fault() is None


def test_a_drain_may_be_finished_without_an_answer() -> None:
    subject = server()
    subject.connection.drain()
    subject.connection.finish_drain()
    subject.connection.finish_drain()
    subject.receive(frames.build_ping(b"draining", ack=True))
    assert [event for event in subject.said() if event[0] == "goaway"] == [
        ("goaway", MAX_STREAM_ID, ErrorCode.NO_ERROR),
        ("goaway", 0, ErrorCode.NO_ERROR),
    ]
    assert subject.connection.drained


def test_a_pong_that_no_drain_asked_for_drains_nothing() -> None:
    subject = server()
    subject.receive(frames.build_ping(b"draining", ack=True))
    assert subject.said() == []


def test_a_flood_behind_the_real_goaway_ends_the_connection() -> None:
    subject = server()
    subject.connection.finish_drain()
    for number in range(600):
        subject.receive(headers(2 * number + 1, GET, end=True))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM
    assert subject.said()[-1] == ("goaway", 0, ErrorCode.ENHANCE_YOUR_CALM)  # never above what was said


def test_an_apps_goaway_is_told_and_its_streams_go_on() -> None:
    subject = server()
    subject.receive(headers(1, GET, end=True))
    assert subject.receive(frames.build_goaway(0, 0, b"bye")) == [("goaway", 0, 0, b"bye")]
    answer(subject, subject.recorder.streams[1])
    assert subject.said() == [("headers", 1, OK, True)]


def test_a_connection_that_is_lost_tells_its_streams() -> None:
    subject = server()
    subject.receive(headers(1, GET, end=True) + headers(3, POST))
    subject.connection.lost()
    subject.connection.lost()
    assert subject.recorder.take() == [("reset", stream_id, 0, "connection", False) for stream_id in (1, 3)]
