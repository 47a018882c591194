"""Heads that are alike but for some values: a path, a trace context, a length.

What a client sends once only it keeps out of the tables: as literals without indexing (RFC 7541 section 6.2.2). The block
around these values says what the head is, and it repeats where no whole block does. It means the same as long as the
decoder's table stands still, as a whole block does (block_memo.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

from idtoken_proxy.engine.http2 import huffman
from idtoken_proxy.engine.http2.fields import CONTENT_LENGTH, PATH, PLAIN, FieldTable, HeaderField
from idtoken_proxy.engine.http2.heads import RequestHead, is_path
from idtoken_proxy.engine.http2.hpack_integer import decode_integer

# What may differ from head to head: nothing but the receiver makes anything of these values.
_VARYING: Final = frozenset({PATH, CONTENT_LENGTH, PLAIN})
_MOST_SHAPES: Final = 8  # of a connection; each costs a comparison where it is not the one
_MOST_OCTETS: Final = 1024
_MOST_DECODED: Final = 6 * 1024
_LENGTH_OCTETS: Final = 4  # at the most


def around_values(block: bytes) -> tuple[list[bytes], list[int]] | None:
    """(what stands before each value of a literal without indexing, and behind the last one; the fields that the values
    are of, as numbers). None: there are none, or the block changes a table, or marks a field as a secret, or is broken.
    """
    pieces = []
    numbers = []
    begun = at = number = 0
    end = len(block)
    try:
        while at < end:
            first = block[at]
            at += 1
            if first >= 0x80:
                if first == 0xFF:
                    _, at = decode_integer(block, at, 0x7F)
            elif first < 0x10:
                if first == 0x0F:
                    _, at = decode_integer(block, at, 0x0F)
                elif not first:
                    at = _string_end(block, at)
                pieces.append(block[begun:at])
                numbers.append(number)
                begun = at = _string_end(block, at)
            else:
                return None
            number += 1
    except IndexError:
        return None
    if not numbers or at > end:
        return None
    pieces.append(block[begun:])
    return pieces, numbers


def _string_end(block: bytes, at: int) -> int:
    length = block[at] & 0x7F
    at += 1
    if length == 0x7F:
        length, at = decode_integer(block, at, 0x7F)
    return at + length


class HeadShape:
    """What such heads have in common. `made` and `requests` (by END_STREAM): whatever their user made of that."""

    __slots__ = ("_behind", "_common", "_head", "_octets", "_slots", "made", "requests")

    def __init__(
        self,
        head: RequestHead,
        common: list[HeaderField],
        slots: tuple[tuple[bytes, int, HeaderField], ...],
        behind: bytes,
        octets: int,
    ) -> None:
        self._head = head
        self._common = common
        self._slots = slots  # (octets before the value, their number, the field of the first head)
        self._behind = behind
        self._octets = octets  # decoded, without the values
        self.made: Any = None
        self.requests: list[Any] = [None, None]

    @classmethod
    def of(
        cls, head: RequestHead, fields: Sequence[HeaderField], pieces: Sequence[bytes], numbers: Sequence[int]
    ) -> Self | None:
        """`head`: that of `fields`, without a credential. `pieces`, `numbers`: as `around_values` found them in its block.
        None: another order of its fields could mean something else.
        """
        slots = [fields[number] for number in numbers]
        varying = [field for field in slots if field.rule in _VARYING]
        names = [field.name for field in fields]
        if any(names.count(field.name) > 1 for field in varying):
            return None
        common = [field for field in head.passing if not any(field is one for one in varying)]
        octets = sum(field.size for field in fields) - sum(len(field.value) for field in slots)
        before = tuple((piece, len(piece), slot) for piece, slot in zip(pieces, slots, strict=False))
        return cls(head, common, before, pieces[-1], octets)

    def head(self, block: bytes, table: FieldTable, max_octets: int) -> RequestHead | None:
        """Of a block of this shape. None: it is of another, or has to be looked at whole, since it breaks a rule, or says
        something else where heads of this shape agreed so far. Raises ConnectionFault.
        """
        at = 0
        octets = self._octets
        path = content_length = None
        varying: list[HeaderField] | None = None
        size = len(block)
        for before, count, slot in self._slots:
            if not block.startswith(before, at):
                return None
            at += count
            if at >= size:
                return None
            first = block[at]
            length = first & 0x7F
            at += 1
            if length == 0x7F:
                if at + _LENGTH_OCTETS > size:
                    return None
                length, at = decode_integer(block, at, 0x7F)
            text = block[at : at + length]
            at += length
            if first >= 0x80:
                text = huffman.decode(text)
            octets += len(text)
            rule = slot.rule
            if rule == PATH:
                if not is_path(text):
                    return None
                path = text
            elif rule == PLAIN:
                field = table.field(slot.name, text)
                if field.rule:
                    return None
                if varying is None:
                    varying = []
                varying.append(field)
            elif text == slot.value:
                pass
            elif rule == CONTENT_LENGTH and table.field(slot.name, text).rule == rule:
                content_length = int(text)
            else:
                return None
        if octets > max_octets or at > size or block[at:] != self._behind:
            return None
        like = self._head
        head = RequestHead()
        head.method = like.method
        head.scheme = like.scheme
        head.authority = like.authority
        head.path = like.path if path is None else path
        head.content_length = like.content_length if content_length is None else content_length
        head.te_trailers = like.te_trailers
        head.special = like.special
        head.passing = self._common
        head.shape = self
        head.octets = octets
        if varying is not None:
            head.varying = varying
            head.passing = self._common + varying
        return head


class ShapeMemo:
    """Of one connection; what was used last is looked at first, and what was not for longest goes."""

    __slots__ = ("_once", "_shapes")

    def __init__(self) -> None:
        self._shapes: list[HeadShape] = []
        self._once: set[bytes] = set()

    def head(self, block: bytes, table: FieldTable, max_octets: int) -> RequestHead | None:
        for number, shape in enumerate(self._shapes):
            head = shape.head(block, table, max_octets)
            if head is not None:
                if number:
                    self._shapes.insert(0, self._shapes.pop(number))
                return head
        return None

    def keep(self, block: bytes, head: RequestHead, fields: Sequence[HeaderField]) -> None:
        """At the second time. `head`: without a credential, of a block that left the decoder's table alone."""
        found = around_values(block)
        if found is None or len(block) > _MOST_OCTETS or head.octets > _MOST_DECODED:
            return
        mark = b"".join(found[0])
        if mark not in self._once:
            if len(self._once) >= _MOST_SHAPES:
                self._once.clear()
            self._once.add(mark)
            return
        shape = HeadShape.of(head, fields, *found)
        if shape is not None:
            self._once.discard(mark)
            del self._shapes[_MOST_SHAPES - 1 :]
            self._shapes.insert(0, shape)

    def clear(self) -> None:
        self._shapes.clear()
        self._once.clear()
