"""Whether a receiver that says nothing is still there: what a PING is for (RFC 9113 section 6.7), and when one may be sent.

A way that has been forgotten on its way (a VPN that was left, a NAT's table, a machine that lost its power) tells nobody: what
is written on it vanishes, and requests would wait there for timeouts.response while a fresh connection would do.

Servers of gRPC count PINGs as abuse that come within five minutes of the one before, unless they themselves have sent
HEADERS or DATA since; the third such strike ends the connection by GOAWAY with "too_many_pings", and with it every stream
(https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md). So a stream on which the receiver has nothing to
say is asked about soon once, and then every five minutes alone.
"""

from __future__ import annotations

import enum
from typing import Final

SILENT: Final = 30.0  # seconds without an octet, while streams are open, until the receiver is asked
ANSWERED: Final = 15.0  # seconds for the answer, which no honest implementation keeps back
RARELY: Final = (
    310.0  # seconds between two PINGs with neither HEADERS nor DATA between them; of servers' clocks 300
)
_STRIKES: Final = 1  # sooner than that; two are forgiven


class Verdict(enum.Enum):
    WAIT = enum.auto()
    ASK = enum.auto()  # by a PING
    GONE = enum.auto()


class Liveness:
    """Of one connection, in running time (sweeper.py), seconds. Its owner sets `heard` to when an octet came, and `silent` to
    False; `spoke` to True where it was HEADERS or DATA.
    """

    __slots__ = ("_asked", "_strikes", "_waiting", "gone", "heard", "silent", "spoke")

    def __init__(self, now: float) -> None:
        self.heard = now
        self.silent = True  # since the last PING
        self.spoke = True
        self.gone = False
        self._asked = float("-inf")  # when the last PING went out
        self._waiting = False  # for its answer, or for anything else
        self._strikes = 0

    def look(self, now: float) -> Verdict:
        """While streams are open, and when one is opened on a connection that had none."""
        if self._waiting and self.silent:
            self.gone = now >= self._asked + ANSWERED
            return Verdict.GONE if self.gone else Verdict.WAIT
        self._waiting = False
        if now < self._due():
            return Verdict.WAIT
        self._strikes = 0 if self.spoke else self._strikes + (now < self._asked + RARELY)
        self._asked = now
        self._waiting = self.silent = True
        self.spoke = False
        return Verdict.ASK

    def next_look(self, now: float) -> float:
        """It may say something meanwhile and then vanish, so not only when the next PING is due."""
        if self._waiting and self.silent:
            return self._asked + ANSWERED
        return min(max(self._due(), now), now + SILENT)

    def _due(self) -> float:
        due = self.heard + SILENT
        if not self.spoke and self._strikes >= _STRIKES:
            due = max(due, self._asked + RARELY)
        return due
