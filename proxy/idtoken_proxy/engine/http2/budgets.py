"""How much is borne of what costs us more than it costs the peer: rates with room, in tokens.

Limits in numbers alone would either end honest connections that live for weeks or let an attack run for weeks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


class Budget:
    """Refilled by `rate` tokens a second up to `capacity`. The clock (seconds) is asked only where it runs out: what is
    spent from now until some time later is never more than `capacity` and the rate's share, which is all it is for.
    """

    __slots__ = ("_clock", "_rate", "_since", "capacity", "left")

    def __init__(self, capacity: float, rate: float, clock: Callable[[], float]) -> None:
        self.capacity = capacity
        self._rate = rate
        self._clock = clock
        self._since = clock()
        self.left = capacity

    def spend(self, tokens: float = 1) -> bool:
        """False: there is not as much left."""
        self.left -= tokens
        if self.left >= 0:
            return True
        now = self._clock()
        refilled = min(self.capacity, (now - self._since) * self._rate)
        self._since = now
        self.left = min(self.capacity, self.left + max(0.0, refilled))
        return self.left >= 0

    def earn(self, tokens: float) -> None:
        """What the peer may do more of because of what else it does, or we do; above `capacity` by one such gift at most."""
        if self.left < self.capacity:
            self.left += tokens


# Streams that end before their answer, by the app's RST_STREAM or by ours for a fault of the app's ("rapid reset",
# CVE-2023-44487; "MadeYouReset", CVE-2025-8671): each costs a request to the receiver, and frees its place at once. A page
# of a browser that is left, or a batch that is given up, cancels all it has, which is a hundred at the most.
EARLY_ENDS: Final = 100
EARLY_ENDS_A_SECOND: Final = 33

# Frames that carry nothing: PING, SETTINGS (and each value in it), PRIORITY, RST_STREAM, WINDOW_UPDATE, DATA without
# octets, what is unknown, streams beyond the limit, interim answers (CVE-2019-9511 to -9518). A second of the attacks in
# those reports is 10,000 and more; libraries' keep-alives and settings are a handful.
CONTROL_FRAMES: Final = 1000
CONTROL_FRAMES_A_SECOND: Final = 200
# grpcio sends two WINDOW_UPDATEs for each call, and with bulk a PING for each measurement of its bandwidth: they come with
# the streams and the DATA that they are about, and those earn them.
EARNED_BY_STREAM: Final = 6
EARNED_BY_DATA: Final = (
    8  # each frame, and each 4 KiB in it: that is what Go reads before it gives credit, twice
)
EARNING_OCTETS: Final = 4096
# DATA that a window of one octet cut to pieces earns nothing, lest updates of one octet pay for one another.
LEAST_EARNING_OCTETS: Final = 1024
