"""The name and the value of a field, as an encoder takes them. A module of its own: a subclass of a tuple cannot be compiled."""

from __future__ import annotations

from typing import TypeAlias

# Always of two. Said so, a compiled build would take each apart and make another of it, and a NeverIndexed would come out as
# what may be indexed.
Pair: TypeAlias = tuple[bytes, ...]


class NeverIndexed(tuple[bytes, ...]):
    """The name and value of a field that its sender never wants in a table: "Intermediaries MUST use the same
    representation for encoding this header field" (RFC 7541 section 6.2.3). It is found in no dict but as itself.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other
