"""Fields -> a header block (RFC 7541), from a table that only grows.

A field goes into the table when it is seen for the second time, and nothing leaves it: once it is full, or has what the
connection repeats, each field's octets are constant, and a head is a look into a dict for each field. Fields that
differ each time (a date, a trace context, a path) never go in, since they would fill it; credentials are "never indexed"
(section 7.1.3), so that no length of a compressed block tells of them (CRIME) and no hop behind keeps them in a table. So
is what came to us as that (fields.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from idtoken_proxy.engine.http2 import huffman
from idtoken_proxy.engine.http2.hpack_integer import encode_integer
from idtoken_proxy.engine.http2.hpack_table import (
    DEFAULT_TABLE_OCTETS,
    ENTRY_OVERHEAD,
    STATIC_ENTRIES,
    STATIC_TABLE,
)
from idtoken_proxy.engine.http2.pair import NeverIndexed, Pair
from idtoken_proxy.engine.line_table import holds_secret

_STATIC_PAIRS: Final = {
    pair: encode_integer(index, 0x7F, 0x80) for index, pair in enumerate(STATIC_TABLE, 1) if pair[1]
}
_STATIC_NAMES: Final = {pair[0]: index for index, pair in reversed(list(enumerate(STATIC_TABLE, 1)))}

_PATH_INDEX: Final = _STATIC_NAMES[b":path"]

# They differ from message to message, or as good as.
NEVER_INSERTED: Final = frozenset(
    {
        b":path", b"age", b"content-length", b"date", b"etag", b"expires", b"grpc-message", b"grpc-status-details-bin",
        b"grpc-timeout", b"grpc-trace-bin", b"if-modified-since", b"if-none-match", b"last-modified", b"location",
        b"referer", b"traceparent", b"tracestate", b"x-amzn-trace-id", b"x-b3-parentspanid", b"x-b3-spanid",
        b"x-b3-traceid", b"x-cloud-trace-context", b"x-correlation-id", b"x-request-id",
    }
)  # fmt: skip
# A large entry keeps many small ones out, and nothing makes room again.
_LARGEST_ENTRY: Final = 512
_MOST_SEEN: Final = 1024
_MOST_KNOWN: Final = 1024


def literal(index: int, name: bytes, value: bytes, pattern: int, prefix: int) -> bytes:
    """Section 6.2, the value as it is: `index` of the name, or 0."""
    if 0 < index < prefix and len(value) < 0x7F:  # a path, most of all
        return bytes((pattern | index, len(value))) + value
    head = encode_integer(index, prefix, pattern)
    if not index:
        head += _string(name)
    return head + encode_integer(len(value), 0x7F) + value


def never_indexed(name: bytes, value: bytes) -> bytes:
    """Section 6.2.3. The same octets whatever the table holds, so that a token's are made once for its life."""
    return literal(_STATIC_NAMES.get(name, 0), name, value, 0x10, 0x0F)


def path_field(path: bytes) -> bytes:
    """A :path, as an encoder has it: its name is in the static table, and it is never in the dynamic one."""
    return literal(_PATH_INDEX, b":path", path, 0x00, 0x0F)


def _string(text: bytes) -> bytes:
    """The shorter of the two forms of section 5.2."""
    if huffman.encoded_length(text) < len(text):
        text = huffman.encode(text)
        return encode_integer(len(text), 0x7F, 0x80) + text
    return encode_integer(len(text), 0x7F) + text


class Encoder:
    """`generation` changes whenever octets made before may mean something else: a block that was made while it stood
    still may be sent again as long as it does.
    """

    __slots__ = (
        "_capacity", "_entries", "_inserted", "_known", "_names", "_positions", "_seen", "_size", "_smallest",
        "generation",
    )  # fmt: skip

    def __init__(self) -> None:
        self._capacity = DEFAULT_TABLE_OCTETS
        self._size = 0
        self._inserted = 0  # ever
        self._entries: list[Pair] = []  # the oldest first
        self._positions: dict[Pair, int] = {}  # as the how many-th it was inserted
        self._names: dict[bytes, int] = {}  # likewise, by name
        self._seen: set[Pair] = set()
        self._known: dict[Pair, bytes] = {}
        self._smallest: int | None = None  # of the sizes since the last block, where one is to be told
        self.generation = 0

    def limit_table(self, octets: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE: "An encoder can choose to use less capacity" (section 4.2), and this one
        never takes more than the default.
        """
        capacity = min(octets, DEFAULT_TABLE_OCTETS)
        if capacity == self._capacity:
            return
        self._capacity = capacity
        self._smallest = capacity if self._smallest is None else min(capacity, self._smallest)
        gone = 0
        while self._size > capacity:
            pair = self._entries[gone]
            gone += 1
            self._size -= _size_of(pair)
            del self._positions[pair]
        del self._entries[:gone]
        self._names = {pair[0]: position for pair, position in self._positions.items()}
        self._change()

    def encode(self, pairs: Iterable[Pair]) -> bytes:
        """Names are in lower case, and values without what section 8.2.1 of RFC 9113 forbids."""
        known = self._known.get
        if self._smallest is not None:
            return self._size_updates() + b"".join([known(pair) or self._octets(pair) for pair in pairs])
        return b"".join([known(pair) or self._octets(pair) for pair in pairs])

    def _size_updates(self) -> bytes:
        """Section 4.2: the smallest size in between, then the one that holds."""
        assert self._smallest is not None
        updates = encode_integer(self._capacity, 0x1F, 0x20)
        if self._smallest < self._capacity:
            updates = encode_integer(self._smallest, 0x1F, 0x20) + updates
        self._smallest = None
        self.generation += 1  # a block that tells of this is for this once
        return updates

    def _octets(self, pair: Pair) -> bytes:
        """Of a pair that is not among the known: seldom once the table has what the connection repeats."""
        name, value = pair
        octets = _STATIC_PAIRS.get(pair)
        if octets is None:
            position = self._positions.get(pair)
            if position is not None:
                octets = encode_integer(STATIC_ENTRIES + self._inserted - position, 0x7F, 0x80)
        if octets is None:
            if isinstance(pair, NeverIndexed) or (name not in NEVER_INSERTED and holds_secret(name)):
                return never_indexed(name, value)
            if name in NEVER_INSERTED:
                return literal(self._index_of(name), name, value, 0x00, 0x0F)
            if not self._has_room(pair):
                octets = literal(self._index_of(name), name, value, 0x00, 0x0F)
            elif pair in self._seen:
                return self._insert(pair)
            else:
                if len(self._seen) >= _MOST_SEEN:
                    self._seen.clear()
                self._seen.add(pair)
                return literal(self._index_of(name), name, value, 0x00, 0x0F)
        if _size_of(pair) <= _LARGEST_ENTRY:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[pair] = octets
        return octets

    def _has_room(self, pair: Pair) -> bool:
        size = _size_of(pair)
        return size <= _LARGEST_ENTRY and self._size + size <= self._capacity

    def _insert(self, pair: Pair) -> bytes:
        name, value = pair
        octets = encode_integer(self._index_of(name), 0x3F, 0x40)
        if len(octets) == 1 and octets[0] == 0x40:
            octets += _string(name)
        octets += _string(value)
        self._seen.discard(pair)
        self._entries.append(pair)
        self._positions[pair] = self._names[name] = self._inserted
        self._inserted += 1
        self._size += _size_of(pair)
        self._change()
        return octets

    def _index_of(self, name: bytes) -> int:
        index = _STATIC_NAMES.get(name)
        if index is not None:
            return index
        position = self._names.get(name)
        return 0 if position is None else STATIC_ENTRIES + self._inserted - position

    def _change(self) -> None:
        """Every index of the dynamic table moves with each insertion."""
        self._known.clear()
        self.generation += 1


def _size_of(pair: Pair) -> int:
    return len(pair[0]) + len(pair[1]) + ENTRY_OVERHEAD
