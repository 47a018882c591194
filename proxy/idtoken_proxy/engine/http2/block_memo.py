"""Header blocks by their octets -> what was made of them.

A client that repeats a head repeats its block, once its encoder's table has what it needs; then nothing is decoded. That
holds while the decoder's table stands still, and it never holds for a block with a credential (hpack_decoder.py tells of
both): no memo keeps one.
"""

from __future__ import annotations

from array import array
from typing import Final, Generic, TypeVar

_MOST_BLOCKS: Final = 256
_MARKS: Final = 128  # a power of two; in pairs
_MOST_OCTETS: Final = 1024
# Decoded, of all of them: what is made of a head (a request, what goes upstream of it) takes some five times that.
_MOST_DECODED: Final = 48 * 1024

_NONE: Final = array("i")
_UNUSED: Final = array("i", [0])

Made = TypeVar("Made")


class BlockMemo(Generic[Made]):
    """What comes for the second time is kept: heads that all differ push nothing out, and live no longer than their streams
    (a dict full of them is what the garbage collector would go through again and again). Emptied when full.

    Of what came once the hash is there, in one of two places that it names itself, until two others have come that name the
    same. A set of them would take 24 KiB.
    """

    __slots__ = ("_decoded", "_made", "_once", "get")

    def __init__(self) -> None:
        self._made: dict[bytes, Made] = {}
        self._decoded = 0
        self._once = _NONE
        self.get = self._made.get

    def keep(self, block: bytes, made: Made, decoded: int) -> bool:
        """Whether it is kept. `decoded`: its fields' octets."""
        if len(block) > _MOST_OCTETS or decoded > _MOST_DECODED // 8:
            return False
        once = self._once
        if not once:
            once = self._once = _UNUSED * _MARKS
        mark = hash(block)
        place = mark & (_MARKS - 2)
        sign = mark >> 16 & 0x7FFFFFFF
        if sign not in (once[place], once[place + 1]):
            once[place + 1] = once[place]
            once[place] = sign
            return False
        self._decoded += decoded
        if len(self._made) >= _MOST_BLOCKS or self._decoded > _MOST_DECODED:
            self._made.clear()
            self._decoded = decoded
        self._made[block] = made
        return True

    def clear(self) -> None:
        self._made.clear()
        self._decoded = 0
        self._once = _NONE
