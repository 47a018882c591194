"""SETTINGS, PING, what is ignored, and how much of it; the same at every split."""

from __future__ import annotations

from idtoken_proxy.engine.http2 import frames
from idtoken_proxy.engine.http2.dispatcher import MAX_UNWRITTEN_ANSWERS
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.frames import ACK, HEADERS, PING, PREFACE, PRIORITY, SETTINGS, frame
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from tests.cases import for_each
from tests.engine.http2.peer import Clock, Recorder, Subject, client, data, headers, server

PING_FRAME = frames.build_ping(b"12345678")


def test_settings_are_acknowledged_and_ours_are_known_to_be() -> None:
    subject = server()
    assert subject.connection.acknowledged
    subject.receive(frames.build_settings({5: 32768, 6: 16384}))
    assert subject.said() == [("ack",)]
    assert (subject.connection.peer.max_frame_size, subject.connection.peer.max_header_list_size) == (
        32768,
        16384,
    )


def test_a_ping_is_answered_and_an_answer_is_told() -> None:
    subject = server()
    assert subject.receive(PING_FRAME, frames.build_ping(b"abcdefgh", ack=True)) == [("pong", b"abcdefgh")]
    assert subject.said() == [("pong", b"12345678")]
    subject.connection.ping(b"87654321")
    assert subject.said() == [("ping", b"87654321")]


def test_what_is_unknown_is_ignored() -> None:
    subject = server()
    assert subject.receive(frame(0x42, 0xFF, 7, b"x"), frame(PRIORITY, 0, 9, b"\0" * 5)) == []
    assert subject.said() == []
    assert subject.fault() is None


@for_each(
    "first",
    [PING_FRAME, headers(1, []), data(1), frame(SETTINGS, ACK, 0), frame(0x8, 0, 0, b"\0\0\0\1"), b"\0" * 9],
)
@for_each("role", ["server", "client"])
def test_the_first_frame_is_settings(first: bytes, role: str) -> None:
    """Section 3.4: "MUST be the first frame it sends in the HTTP/2 connection"."""
    subject = client() if role == "client" else server()
    fresh = type(subject.connection)(subject.recorder, Limits(), Clock())
    fresh.receive((PREFACE if role == "server" else b"") + first)
    assert fresh.failure is not None
    assert fresh.failure.code == ErrorCode.PROTOCOL_ERROR


@for_each(
    ("values", "code"),
    [
        ({2: 2}, ErrorCode.PROTOCOL_ERROR),
        ({4: 2**31}, ErrorCode.FLOW_CONTROL_ERROR),
        ({5: 16383}, ErrorCode.PROTOCOL_ERROR),
        ({5: 2**24}, ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_a_setting_beyond_its_bounds_ends_the_connection(values: dict[int, int], code: ErrorCode) -> None:
    for subject in (server(), client()):
        assert subject.receive(frames.build_settings(values)) == [("fault", code)]
        assert subject.said() == [("goaway", 0, code)]


def test_a_server_does_not_offer_to_take_pushes() -> None:
    subject = client()
    subject.receive(frames.build_settings({2: 1}))
    assert subject.fault() == ErrorCode.PROTOCOL_ERROR
    subject = server()
    subject.receive(frames.build_settings({2: 1}))
    assert subject.fault() is None


def test_the_last_of_a_settings_values_holds() -> None:
    """Section 6.5.3: in the order in which they appear."""
    subject = server()
    subject.receive(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1" + b"\0\4\0\0\0\2"))
    assert subject.connection.peer.initial_window_size == 2


def test_nothing_is_read_behind_a_fault() -> None:
    subject = server()
    assert subject.receive(frame(PING, 0, 1, b"12345678") + headers(1, []), PING_FRAME) == [
        ("fault", ErrorCode.PROTOCOL_ERROR)
    ]
    assert subject.said() == [("goaway", 0, ErrorCode.PROTOCOL_ERROR)]
    assert not subject.connection.wants_input


# -- floods (CVE-2019-9511 to -9518) ------------------------------------------

FLOODS = {
    "PING": PING_FRAME,
    "answers to no PING": frames.build_ping(b"12345678", ack=True),
    "SETTINGS": frames.build_settings({}),
    "acknowledgments": frames.SETTINGS_ACK,
    "PRIORITY": frame(PRIORITY, 0, 1, b"\0" * 5),
    "unknown frames": frame(0x42, 0, 0),
    "WINDOW_UPDATE": frames.build_window_update(0, 1),
    "WINDOW_UPDATE of a stream": frames.build_window_update(1, 1),
    "empty DATA": data(1),
    "a padded nothing": frame(0, 0x8, 1, b"\1\0"),
    "GOAWAY": frames.build_goaway(0, 0),
}


def drive(subject: Subject, octets: bytes, times: int) -> None:
    for _ in range(times):
        subject.connection.receive(octets)
        subject.connection.take_output()
        subject.connection.written()


@for_each("case", FLOODS)
def test_a_flood_of_nothing_is_borne_for_so_long(case: str) -> None:
    subject = server()
    subject.receive(
        headers(1, [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")])
    )
    drive(subject, FLOODS[case], 990)
    assert subject.fault() is None
    drive(subject, FLOODS[case], 20)
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM
    assert subject.connection.failure.limit == "control_frames"


@for_each("case", FLOODS)
def test_the_same_in_a_days_time_is_nothing(case: str) -> None:
    subject = server()
    subject.receive(
        headers(1, [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")])
    )
    for _ in range(30):
        drive(subject, FLOODS[case], 100)
        subject.clock.now += 1
    assert subject.fault() is None


def test_each_value_of_settings_counts() -> None:
    subject = server()
    subject.receive(frame(SETTINGS, 0, 0, b"\0\x42\0\0\0\0" * 500))
    assert subject.fault() is None
    subject.receive(frame(SETTINGS, 0, 0, b"\0\x42\0\0\0\0" * 500))
    assert subject.fault() == ErrorCode.ENHANCE_YOUR_CALM


# -- a peer that does not read our answers ------------------------------------


def test_reading_stops_while_the_peer_does_not_read_our_answers() -> None:
    recorder, clock = Recorder(), Clock()
    connection = ServerConnection(recorder, Limits(), clock)
    connection.receive(PREFACE + frames.build_settings({}))
    answers = MAX_UNWRITTEN_ANSWERS // 17
    pings = 0
    while connection.wants_input:
        connection.receive(PING_FRAME)
        clock.now += 0.1
        pings += 1
    assert answers - 5 <= pings <= answers + 1
    connection.take_output()  # what is taken is not written
    connection.receive(
        PING_FRAME * 3
        + headers(
            1,
            [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")],
            end=True,
        )
    )
    assert recorder.take() == []
    assert connection.take_output() == []
    connection.written()
    assert [name for name, *_ in recorder.take()] == ["request"]
    assert len(connection.take_output()) == 3
    assert connection.wants_input


def test_one_read_full_of_pings_is_answered_up_to_there() -> None:
    recorder, clock = Recorder(), Clock()
    connection = ServerConnection(recorder, Limits(), clock)
    connection._control.left = 1e9
    connection.receive(PREFACE + frames.build_settings({}) + PING_FRAME * 10_000)
    first = len(b"".join(connection.take_output()))
    assert first < MAX_UNWRITTEN_ANSWERS + 200
    total = first
    while not connection.wants_input:
        connection.written()
        total += len(b"".join(connection.take_output()))
    assert total > 10_000 * 17


def test_settings_within_a_header_block_are_refused() -> None:
    subject = server()
    subject.receive(frame(HEADERS, 0, 1, b"\x82") + frames.build_settings({}))
    assert subject.fault() == ErrorCode.PROTOCOL_ERROR
