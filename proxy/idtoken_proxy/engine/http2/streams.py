"""The states of a stream (RFC 9113 section 5.1, figure 2) and what leads from one to the next, as data.

    IDLE      no frame has named it
    OPEN      both sides may send
    LOCAL     half-closed (local): we have ended our side
    REMOTE    half-closed (remote): the peer has ended its side
    CLOSED    both sides have ended, or the peer reset it
    RESET     closed, by our RST_STREAM: what the peer sent before it came there is on its way

Nobody pushes, so nothing is ever reserved. Plain strings, and a dict of dicts, as engine/states.py has them. What a peer's
frame may not do is a Refusal; what we may not do is not in the table: a bug of ours, and a KeyError.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, Http2Error, StreamFault
from idtoken_proxy.engine.http2.flow_control import GIVEN_FROM
from idtoken_proxy.engine.http2.pair import Pair

IDLE: Final = "idle"
OPEN: Final = "open"
LOCAL: Final = "half-closed (local)"
REMOTE: Final = "half-closed (remote)"
CLOSED: Final = "closed"
RESET: Final = "reset by us"

RECV_HEADERS: Final = "HEADERS received"
RECV_DATA: Final = "DATA received"
RECV_END: Final = "END_STREAM received"
RECV_RST: Final = "RST_STREAM received"
RECV_WINDOW: Final = "WINDOW_UPDATE received"
SEND_HEADERS: Final = "HEADERS sent"
SEND_DATA: Final = "DATA sent"
SEND_END: Final = "END_STREAM sent"
SEND_RST: Final = "RST_STREAM sent"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a frame in a state that does not have it means."""

    code: ErrorCode
    of_connection: bool

    def error(self, stream_id: int, state: str, event: str) -> Http2Error:
        reason = f"{event} on a stream that is {state}"
        if self.of_connection:
            return ConnectionFault(self.code, reason)
        return StreamFault(stream_id, self.code, reason)


# "Receiving any frame other than HEADERS or PRIORITY on a stream in this state MUST be treated as a connection error".
_NOT_YET: Final = Refusal(ErrorCode.PROTOCOL_ERROR, of_connection=True)
# "If an endpoint receives additional frames, other than WINDOW_UPDATE, PRIORITY, or RST_STREAM, for a stream that is in
# this state, it MUST respond with a stream error of type STREAM_CLOSED."
_ENDED: Final = Refusal(ErrorCode.STREAM_CLOSED, of_connection=False)
# "An endpoint MAY treat receipt of any other type of frame on a closed stream as a connection error".
_GONE: Final = Refusal(ErrorCode.STREAM_CLOSED, of_connection=True)

TRANSITIONS: Final[dict[str, dict[str, str | Refusal]]] = {
    IDLE: {
        RECV_HEADERS: OPEN,
        RECV_DATA: _NOT_YET,
        RECV_RST: _NOT_YET,
        RECV_WINDOW: _NOT_YET,
        SEND_HEADERS: OPEN,
    },
    OPEN: {
        RECV_HEADERS: OPEN,
        RECV_DATA: OPEN,
        RECV_END: REMOTE,
        RECV_RST: CLOSED,
        RECV_WINDOW: OPEN,
        SEND_HEADERS: OPEN,
        SEND_DATA: OPEN,
        SEND_END: LOCAL,
        SEND_RST: RESET,
    },
    LOCAL: {
        RECV_HEADERS: LOCAL,
        RECV_DATA: LOCAL,
        RECV_END: CLOSED,
        RECV_RST: CLOSED,
        RECV_WINDOW: LOCAL,
        SEND_RST: RESET,
    },
    REMOTE: {
        RECV_HEADERS: _ENDED,
        RECV_DATA: _ENDED,
        RECV_RST: CLOSED,
        RECV_WINDOW: REMOTE,
        SEND_HEADERS: REMOTE,
        SEND_DATA: REMOTE,
        SEND_END: CLOSED,
        SEND_RST: RESET,
    },
    # "WINDOW_UPDATE or RST_STREAM frames can be received in this state for a short period after a frame with END_STREAM".
    CLOSED: {RECV_HEADERS: _GONE, RECV_DATA: _GONE, RECV_RST: CLOSED, RECV_WINDOW: CLOSED},
    # "An endpoint MUST ignore frames that it receives on closed streams after it has sent a RST_STREAM frame."
    RESET: {RECV_HEADERS: RESET, RECV_DATA: RESET, RECV_RST: RESET, RECV_WINDOW: RESET},
}
ENDED: Final = frozenset({CLOSED, RESET})
# What the table says of the frames that are nearly all: they leave the state as it is, or end a side.
SENDING: Final = frozenset(state for state, ways in TRANSITIONS.items() if ways.get(SEND_DATA) == state)
RECEIVING: Final = frozenset(
    state for state, ways in TRANSITIONS.items() if ways.get(RECV_DATA) == state and state != RESET
)
BEHIND_OUR_END: Final = {
    state: str(ways[SEND_END]) for state, ways in TRANSITIONS.items() if SEND_END in ways
}
BEHIND_ITS_END: Final = {
    state: str(ways[RECV_END]) for state, ways in TRANSITIONS.items() if RECV_END in ways
}


def transition(stream_id: int, state: str, event: str) -> str:
    """The state behind a peer's frame. Raises ConnectionFault or StreamFault."""
    after = TRANSITIONS[state][event]
    if isinstance(after, Refusal):
        raise after.error(stream_id, state, event)
    return after


# What a stream's `marks` are made of; from OWNERS on they are its owner's.
HEAD_CAME: Final = 0x1  # the request's, or the final response's
ANSWERED: Final = 0x2  # by our final response's head; by the peer's first one, an interim one too
HELD: Final = 0x4  # by its owner: the peer is told of no more credit for now
OWNERS: Final = 0x8


class Unsent:
    """DATA that the windows do not let out yet, and `end`: what comes behind it, None for nothing so far, () for END_STREAM on
    the last DATA, fields for trailers.
    """

    __slots__ = ("end", "octets", "pieces")

    def __init__(self) -> None:
        self.pieces: deque[bytes | memoryview] = deque()
        self.octets = 0
        self.end: tuple[Pair, ...] | None = None


class Stream:
    """One stream, with its windows: whoever owns a connection derives from it what else a stream is to it, since a connection
    may have hundreds, most of which wait and do nothing. What few of them need is an object of its own, or a bit of `marks`.

    `left` is what the peer knows that it may send, `owed` what it may send and was not told of (flow_control.py).
    """

    __slots__ = ("body_left", "id", "left", "marks", "owed", "send_window", "state", "unsent")

    def __init__(self, stream_id: int, state: str, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.state = state
        self.send_window = send_window  # may be negative (section 6.9.2)
        self.left = receive_window
        self.owed = 0
        self.unsent: Unsent | None = None
        self.marks = 0
        self.body_left: int | None = None  # of what Content-Length announced

    def __repr__(self) -> str:
        return f"<Stream {self.id} {self.state}>"

    def take(self, octets: int) -> bool:
        """False: more has come than the peer may send."""
        self.left -= octets
        return self.left >= 0

    def give(self, octets: int, size: int) -> int:
        """The increment to tell the peer of, 0: none yet. `size`: of the whole window."""
        owed = self.owed + octets
        if owed * GIVEN_FROM < size or not owed or self.marks & HELD:
            self.owed = owed
            return 0
        self.owed = 0
        self.left += owed
        return owed

    @property
    def held_octets(self) -> int:
        return 0 if self.unsent is None else self.unsent.octets


class ContextStream(Stream):
    """For an owner that needs to find one thing again, whatever that is."""

    __slots__ = ("context",)

    def __init__(self, stream_id: int, state: str, send_window: int, receive_window: int) -> None:
        Stream.__init__(self, stream_id, state, send_window, receive_window)
        self.context: object = None


# Of id, state, what may be sent and what may be received.
MakeStream: TypeAlias = Callable[[int, str, int, int], Stream]
