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
    """Emptied when full: paths that all differ push out what repeats once in 256 heads, and it is back with its next."""

    __slots__ = ("_made", "get")

    def __init__(self) -> None:
        self._made: dict[bytes, Made] = {}
        self.get = self._made.get

    def keep(self, block: bytes, made: Made) -> None:
        if len(block) <= _MOST_OCTETS:
            if len(self._made) >= _MOST_BLOCKS:
                self._made.clear()
            self._made[block] = made

    def clear(self) -> None:
        self._made.clear()
