"""The table itself: figure 2 of RFC 9113, closed, reachable, and without a way back from an end."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.http2 import streams
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, StreamFault
from idtoken_proxy.engine.http2.streams import (
    CLOSED,
    ENDED,
    IDLE,
    LOCAL,
    OPEN,
    RECEIVING,
    RECV_DATA,
    RECV_END,
    RECV_HEADERS,
    RECV_RST,
    RECV_WINDOW,
    REMOTE,
    RESET,
    SEND_DATA,
    SEND_END,
    SEND_HEADERS,
    SEND_RST,
    SENDING,
    TRANSITIONS,
    Refusal,
    transition,
)
from tests.cases import for_each

CONNECTION_PROTOCOL = (ConnectionFault, ErrorCode.PROTOCOL_ERROR)
CONNECTION_CLOSED = (ConnectionFault, ErrorCode.STREAM_CLOSED)
STREAM_CLOSED = (StreamFault, ErrorCode.STREAM_CLOSED)

# Section 5.1, state by state: what each frame of a peer's leads to.
RECEIVED: dict[tuple[str, str], str | tuple[type[ConnectionFault | StreamFault], ErrorCode]] = {
    (IDLE, RECV_HEADERS): OPEN,
    (IDLE, RECV_DATA): CONNECTION_PROTOCOL,
    (IDLE, RECV_RST): CONNECTION_PROTOCOL,
    (IDLE, RECV_WINDOW): CONNECTION_PROTOCOL,
    (OPEN, RECV_HEADERS): OPEN,
    (OPEN, RECV_DATA): OPEN,
    (OPEN, RECV_END): REMOTE,
    (OPEN, RECV_RST): CLOSED,
    (OPEN, RECV_WINDOW): OPEN,
    (LOCAL, RECV_HEADERS): LOCAL,
    (LOCAL, RECV_DATA): LOCAL,
    (LOCAL, RECV_END): CLOSED,
    (LOCAL, RECV_RST): CLOSED,
    (LOCAL, RECV_WINDOW): LOCAL,
    (REMOTE, RECV_HEADERS): STREAM_CLOSED,
    (REMOTE, RECV_DATA): STREAM_CLOSED,
    (REMOTE, RECV_RST): CLOSED,
    (REMOTE, RECV_WINDOW): REMOTE,
    (CLOSED, RECV_HEADERS): CONNECTION_CLOSED,
    (CLOSED, RECV_DATA): CONNECTION_CLOSED,
    (CLOSED, RECV_RST): CLOSED,
    (CLOSED, RECV_WINDOW): CLOSED,
    (RESET, RECV_HEADERS): RESET,
    (RESET, RECV_DATA): RESET,
    (RESET, RECV_RST): RESET,
    (RESET, RECV_WINDOW): RESET,
}
SENT = {
    (IDLE, SEND_HEADERS): OPEN,
    (OPEN, SEND_HEADERS): OPEN,
    (OPEN, SEND_DATA): OPEN,
    (OPEN, SEND_END): LOCAL,
    (OPEN, SEND_RST): RESET,
    (LOCAL, SEND_RST): RESET,
    (REMOTE, SEND_HEADERS): REMOTE,
    (REMOTE, SEND_DATA): REMOTE,
    (REMOTE, SEND_END): CLOSED,
    (REMOTE, SEND_RST): RESET,
}


@for_each(("state", "event"), RECEIVED)
def test_what_a_peers_frame_leads_to(state: str, event: str) -> None:
    expected = RECEIVED[state, event]
    if isinstance(expected, str):
        assert transition(7, state, event) == expected
        return
    kind, code = expected
    with pytest.raises(kind) as raised:
        transition(7, state, event)
    assert raised.value.code == code
    if isinstance(raised.value, StreamFault):
        assert raised.value.stream_id == 7


def test_the_table_has_nothing_else() -> None:
    assert {(state, event) for state, ways in TRANSITIONS.items() for event in ways} == {*RECEIVED, *SENT}
    for (state, event), after in SENT.items():
        assert TRANSITIONS[state][event] == after


def test_every_frame_of_a_peers_has_an_answer_in_every_state() -> None:
    for ways in TRANSITIONS.values():
        assert {RECV_HEADERS, RECV_DATA, RECV_RST, RECV_WINDOW} <= set(ways)


def test_an_end_has_no_way_out() -> None:
    for state in ENDED:
        assert {after for after in TRANSITIONS[state].values() if not isinstance(after, Refusal)} == {state}
    assert set(TRANSITIONS) - ENDED - {IDLE} == SENDING | RECEIVING


@for_each("state", [LOCAL, CLOSED, RESET])
def test_what_we_may_not_send_is_a_bug(state: str) -> None:
    for event in (SEND_HEADERS, SEND_DATA, SEND_END):
        with pytest.raises(KeyError):
            TRANSITIONS[state][event]


def test_a_stream_shows_its_state() -> None:
    assert repr(streams.Stream(5, OPEN, 1, 1)) == "<Stream 5 open>"
