"""Header blocks by their octets -> what was made of them.

A client that repeats a head repeats its block, once its encoder's table has what it needs; then nothing is decoded. That
holds while the decoder's table stands still, and it never holds for a block with a credential (hpack_decoder.py tells of
both): no memo keeps one.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

_MOST_BLOCKS: Final = 256  # x 1 KiB and what was made of it, for a connection
_MOST_OCTETS: Final = 1024

Made = TypeVar("Made")


class BlockMemo(Generic[Made]):
    """What comes for the second time is kept: heads that all differ push nothing out, and live no longer than their streams
    (a dict full of them is what the garbage collector would go through again and again). Emptied when full.
    """

    __slots__ = ("_made", "_once", "get")

    def __init__(self) -> None:
        self._made: dict[bytes, Made] = {}
        self._once: set[bytes] = set()
        self.get = self._made.get

    def keep(self, block: bytes, made: Made) -> None:
        once = self._once
        if block in once:
            once.discard(block)
            if len(self._made) >= _MOST_BLOCKS:
                self._made.clear()
            self._made[block] = made
        elif len(block) <= _MOST_OCTETS:
            if len(once) >= _MOST_BLOCKS:
                once.clear()
            once.add(block)

    def clear(self) -> None:
        self._made.clear()
        self._once.clear()
