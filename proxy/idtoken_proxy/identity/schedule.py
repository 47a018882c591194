"""When a token may be sent, and when the next is fetched: arithmetic alone, no clock and no I/O.

A `Lease` is a token with its moments worked out once, so that a request costs four comparisons of floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from idtoken_proxy.identity.token import Token

# A token with less life left is never sent: it has to live until the receiver has checked it. ESPv2 found 5 s
# too few (esp-v2#757); Envoy once *added* its margin, and served expired tokens (envoy#23278).
MARGIN = 30.0

# Between two fetches that went well: a source that keeps handing out the same old token is not asked in a loop.
MIN_INTERVAL = 5.0

# Between a failed fetch and the next: grows from the first to the last.
BACKOFF_FIRST = 0.75
BACKOFF_LAST = 30.0

JITTER = 0.1  # of refresh_ahead; later, never sooner: the metadata server must not be asked too early


@dataclass(frozen=True, slots=True)
class Lease:
    """`*_end`: from then on not to be sent. `*_due`: from then on to be refreshed. Whichever clock says so first."""

    token: Token
    wall_end: float
    boot_end: float
    hard_end: float  # boot clock: the token's whole life after we first saw it, whatever the wall clock says
    interval: float  # seconds from the fetch to the refresh

    def valid(self, wall: float, boot: float) -> bool:
        return wall < self.wall_end and boot < self.boot_end


def lease(
    token: Token,
    *,
    started: float,
    wall: float,
    boot: float,
    ahead: float,
    jitter: float,
    recheck: float = math.inf,
    before: Lease | None = None,
) -> Lease:
    """`started`: the boot clock when the fetch began; `wall`, `boot`: now; `ahead`: the source's refresh_ahead;
    `jitter` in 0..1; `before`: the lease that this one follows.

    The life left is `exp` less the wall clock. Where that clock is slow, it is too long: so no token lives
    longer than `exp - iat` after the fetch that first brought it either.
    """
    life = token.expires_at - wall
    hard_end = math.inf
    if token.issued_at is not None and token.issued_at < token.expires_at:
        hard_end = started + (token.expires_at - token.issued_at) - MARGIN
    if before is not None and before.token.value == token.value:
        hard_end = min(hard_end, before.hard_end)
    boot_end = min(boot + life - MARGIN, hard_end)
    usable = boot_end - boot

    ahead = max(ahead, 2 * MARGIN)
    interval = usable + MARGIN - ahead
    if interval < MIN_INTERVAL:
        # It came with less life than we like to have in hand, and the next may be the same one again. Half of what
        # is left, then half of that: in time for a new one, and logarithmically many fetches in the worst case.
        interval = max(usable / 2, MIN_INTERVAL)
    else:
        interval += min(ahead * JITTER * jitter, usable / 10)
    return Lease(
        token=token,
        wall_end=token.expires_at - MARGIN,
        boot_end=boot_end,
        hard_end=hard_end,
        interval=min(interval, recheck),
    )


def backoff(failures: int, jitter: float) -> float:
    """Seconds after the `failures`-th failure in a row (1, 2, ...); `jitter` in 0..1 takes up to a quarter off, so
    that a fleet that failed together does not come back together.
    """
    longest = min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 10), BACKOFF_LAST)
    return longest * (1.0 - jitter / 4)
