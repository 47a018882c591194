"""Windows (RFC 9113 sections 5.2 and 6.9), and when credit is given back.

The connection's credit goes back on receipt, a stream's only for what has left this proxy: so a reader that stalls holds
its own stream's window here and nobody else's, and what one stream can make us keep is bounded by its window.
"""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.http2.settings import MAX_WINDOW

# Fewer updates cost less; with half a window at hand the peer does not stall for want of one.
GIVEN_FROM: Final = 2


def is_beyond(window: int) -> bool:
    """Whether a peer has let a window of its own come to more than it may (section 6.9.1). How much it still takes is a plain
    number; a smaller SETTINGS_INITIAL_WINDOW_SIZE can make it negative (section 6.9.2).
    """
    return window > MAX_WINDOW


class ReceiveWindow:
    """A connection's; a stream is its own (streams.py). How much we still take: `left` is what the peer knows of, `owed` what it may have and was not told of."""

    __slots__ = ("_size", "left", "owed")

    def __init__(self, size: int, known: int | None = None) -> None:
        """`known`: what the peer takes it for at first, where that is less."""
        self.left = size if known is None else known
        self.owed = size - self.left
        self._size = size

    def take(self, octets: int) -> bool:
        """False: more than there was."""
        self.left -= octets
        return self.left >= 0

    def give(self, octets: int) -> int:
        """The increment to tell the peer of; 0: none yet."""
        owed = self.owed + octets
        if owed * GIVEN_FROM < self._size or not owed:
            self.owed = owed
            return 0
        self.owed = 0
        self.left += owed
        return owed
