"""The states of an exchange and what leads from one to the next, as data.

    WAITING     nothing has been sent upstream: a token or a connection is awaited
    SENDING     the request's head is sent, its body is on its way
    SENT        the request is wholly sent, no final answer has come
    EARLY       the answer's head came while the request's body was still on its way
    RELAYING    the request is wholly sent, the answer is on its way back
    TUNNEL      101: bytes both ways, no messages any more
    DONE        both sides ended cleanly: both connections may be used again
    CUT         the answer ended before the request did: neither connection can be used again
    BROKEN      either side broke off, or the proxy answered by itself

Plain strings, and a dict of dicts: a request passes here four times, and an enum's hash is a Python call. An event that
a state does not know is a bug of ours: KeyError, and the connection dies with it.
"""

from __future__ import annotations

from typing import Final

WAITING: Final = "waiting"
SENDING: Final = "sending"
SENT: Final = "sent"
EARLY: Final = "early"
RELAYING: Final = "relaying"
TUNNEL: Final = "tunnel"
DONE: Final = "done"
CUT: Final = "cut"
BROKEN: Final = "broken"

HEAD_SENT: Final = "head sent"
REQUEST_SENT: Final = "request sent"
OWN_ANSWER: Final = "own answer"  # the proxy's, and nothing is wrong
ANSWER: Final = "answer"
ANSWER_END: Final = "answer end"
SWITCH: Final = "switch"
RETRY: Final = "retry"
BREAK: Final = "break"

TRANSITIONS: Final[dict[str, dict[str, str]]] = {
    WAITING: {HEAD_SENT: SENDING, REQUEST_SENT: SENT, OWN_ANSWER: DONE, BREAK: BROKEN},
    SENDING: {REQUEST_SENT: SENT, ANSWER: EARLY, RETRY: WAITING, BREAK: BROKEN},
    SENT: {ANSWER: RELAYING, SWITCH: TUNNEL, RETRY: WAITING, BREAK: BROKEN},
    EARLY: {REQUEST_SENT: RELAYING, ANSWER_END: CUT, BREAK: BROKEN},
    RELAYING: {ANSWER_END: DONE, BREAK: BROKEN},
    TUNNEL: {},
    DONE: {},
    CUT: {},
    BROKEN: {},
}
FINAL: Final = frozenset({TUNNEL, DONE, CUT, BROKEN})
UNANSWERED: Final = frozenset({WAITING, SENDING, SENT})

# What an exchange has been through, beside its state: bits of one number.
ACTED: Final = 0x1  # the receiver's own code has spoken
FRESH: Final = 0x2  # only a fresh connection will do
RETRIED: Final = 0x4  # with the token that it has
