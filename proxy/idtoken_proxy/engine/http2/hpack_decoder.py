"""A header block -> fields (RFC 7541 sections 3 and 6), bounded while it is decoded.

A few octets of a block may stand for megabytes of fields ("HPACK bomb", CVE-2016-6581: an entry of 4 KiB, and an octet for
each mention of it), so that what is decoded is counted as it is, and the block dropped where it goes over. What the
table holds afterwards is then not what the peer believes: every error here is one of the connection's.
"""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.http1 import MAX_FIELDS
from idtoken_proxy.engine.http2 import huffman
from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.fields import COOKIE, SECRET, FieldTable, HeaderField
from idtoken_proxy.engine.http2.hpack_integer import decode_integer
from idtoken_proxy.engine.http2.hpack_table import (
    DEFAULT_TABLE_OCTETS,
    STATIC_ENTRIES,
    STATIC_TABLE,
    DynamicTable,
)

_FIRST_DYNAMIC: Final = STATIC_ENTRIES + 1
# Section 4.2: the smallest size in between and the last one; more in one block are a game (RFC 7541 section 4.2 has a
# sender that changes it several times "signal the smallest maximum size, and then the final one").
_MOST_SIZE_UPDATES: Final = 2
_MEMO_STRINGS: Final = 1024  # x 64 octets: what is decoded of them is as long again
_MEMO_OCTETS: Final = 64


class Decoder:
    """`max_octets`: of what is decoded, by RFC 9113's reckoning: name, value and 32 for each field.

    After each block: `octets`, as reckoned so, `stands_still` tells whether its octets mean the same again (it left the dynamic table alone), and
    `secret` whether it holds a credential.
    """

    __slots__ = (
        "_fields", "_max_fields", "_max_octets", "_static", "_strings", "_table", "_table_limit", "_update_is_due",
        "octets", "secret", "stands_still",
    )  # fmt: skip

    def __init__(self, fields: FieldTable, max_octets: int, max_fields: int = MAX_FIELDS) -> None:
        self._fields = fields
        self._max_octets = max_octets
        self._max_fields = max_fields
        # Index 0 is none: whatever stands there is never looked at.
        self._static = tuple(fields.field(*pair) for pair in ((b"", b""), *STATIC_TABLE))
        self._table = DynamicTable()
        self._table_limit = DEFAULT_TABLE_OCTETS
        self._update_is_due = False
        self._strings: dict[bytes, bytes] = {}
        self.octets = 0
        self.stands_still = True
        self.secret = False

    @property
    def table_octets(self) -> int:
        return self._table.size

    def limit_table(self, octets: int) -> None:
        """Our SETTINGS_HEADER_TABLE_SIZE, once the peer has acknowledged it. Where that is less than what it uses, its
        next block begins by saying so (section 4.2: "the encoder MUST ... signal").
        """
        self._table_limit = octets
        self._update_is_due = octets < self._table.capacity

    def decode(self, block: bytes) -> list[HeaderField]:
        """Raises ConnectionFault."""
        self.stands_still = True
        self.secret = False
        if self._update_is_due and not (block and block[0] & 0xE0 == 0x20):
            raise ConnectionFault(
                ErrorCode.COMPRESSION_ERROR, "the table's size was to be reduced, and a block does not say so"
            )
        try:
            return self._decode(block)
        except IndexError:
            raise ConnectionFault(
                ErrorCode.COMPRESSION_ERROR,
                "a header block ends within a field, or names an index that is none",
            ) from None

    def _decode(self, block: bytes) -> list[HeaderField]:
        found: list[HeaderField] = []
        static = self._static
        dynamic = self._table.entries
        octets = at = updates = 0
        end = len(block)
        while at < end:
            first = block[at]
            at += 1
            if first >= 0x80:  # section 6.1, indexed
                index = first & 0x7F
                if index == 0x7F:
                    index, at = decode_integer(block, at, 0x7F)
                if index >= _FIRST_DYNAMIC:
                    field = dynamic[STATIC_ENTRIES - index]
                elif index:
                    field = static[index]
                else:
                    raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "index 0 is none")
                if field.rule >= COOKIE:
                    self.secret = True
            elif first & 0xE0 == 0x20:  # section 6.3, a new size for the dynamic table
                size = first & 0x1F
                if size == 0x1F:
                    size, at = decode_integer(block, at, 0x1F)
                updates += 1
                if found or updates > _MOST_SIZE_UPDATES:
                    # Section 4.2: "MUST occur at the beginning of the first header block".
                    raise ConnectionFault(
                        ErrorCode.COMPRESSION_ERROR, "the table's size changes within a block, or too often"
                    )
                self._resize(size)
                continue
            else:
                field, at = self._literal(block, at, first)
            found.append(field)
            octets += field.size
            if octets > self._max_octets:
                raise ConnectionFault(
                    ErrorCode.ENHANCE_YOUR_CALM, "a header block decodes to too much", limit="header_bytes"
                )
            if len(found) > self._max_fields:
                raise ConnectionFault(
                    ErrorCode.ENHANCE_YOUR_CALM,
                    f"a header block holds more than {self._max_fields} fields",
                    limit="header_fields",
                )
        if self._update_is_due:
            # All that it said was a size above the one that it has to come down to, or nothing.
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "the table's size was to be reduced")
        self.octets = octets
        return found

    def _resize(self, size: int) -> None:
        if size > self._table_limit:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "the table is to be larger than we allow")
        self._update_is_due = False
        self.stands_still = False
        self._table.resize(size)

    def _literal(self, block: bytes, at: int, first: int) -> tuple[HeaderField, int]:
        """Section 6.2: with incremental indexing, without, and never indexed."""
        prefix = 0x3F if first & 0x40 else 0x0F
        index = first & prefix
        if index == prefix:
            index, at = decode_integer(block, at, prefix)
        if index >= _FIRST_DYNAMIC:
            name = self._table.entries[STATIC_ENTRIES - index].name
        elif index:
            name = self._static[index].name
        else:
            name, at = self._string(block, at, memorable=True)
        indexed = first & 0x40
        never = first & 0xF0 == 0x10
        value, at = self._string(block, at, memorable=not (never or self._fields.is_secret(name)))
        field = self._fields.never_indexed(name, value) if never else self._fields.field(name, value)
        # "Never indexed" is how a sender marks a secret (section 7.1.3), whatever the field is called.
        if never or field.rule >= COOKIE:
            self.secret = True
        if indexed:
            self.stands_still = False
            self._table.add(field)
        return field, at

    def _string(self, block: bytes, at: int, *, memorable: bool) -> tuple[bytes, int]:
        first = block[at]
        at += 1
        length = first & 0x7F
        if length == 0x7F:
            length, at = decode_integer(block, at, 0x7F)
        end = at + length
        if end > len(block):
            raise IndexError
        text = block[at:end]
        if first < 0x80:
            return text, end
        if not memorable or length > _MEMO_OCTETS:
            return huffman.decode(text), end
        known = self._strings.get(text)
        if known is None:
            known = huffman.decode(text)
            if len(self._strings) >= _MEMO_STRINGS:
                self._strings.clear()
            self._strings[text] = known
        return known, end


assert COOKIE < SECRET  # what is compared above
