"""Field lines, checked and taken apart once: most of a connection's repeat to the letter, and are remembered by their bytes.

In a bounded table; a line with a credential never is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, KeysView

from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import Field

MEMO_LINES = (
    2048  # x 512 octets, three times (the line, its value, its wire form): 3 MiB at the most for each of two
)
MEMO_LINE_OCTETS = 512

# RFC 9110 section 5.6.2.
METHOD_OCTETS = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN = METHOD_OCTETS + rb"+"
# RFC 9112 section 5: no space before the colon, no control character but HTAB within.
FIELD_NAME = re.compile(TOKEN).fullmatch
FIELD_OCTETS = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
SECRET_FIELDS = set(fields.TOKEN_HEADERS) | {
    *(b"cookie", b"set-cookie", b"x-api-key", b"x-goog-api-key", fields.IAP_ASSERTION)
}


class LineTable:
    """Field lines by their bytes; emptied when full, since a table that forgets at once costs one parse a line."""

    __slots__ = ("_kind_of", "_lines", "_names", "get")

    def __init__(self, kind_of: Callable[[bytes], int]) -> None:
        self._kind_of = kind_of
        self._lines: dict[bytes, Field] = {}
        self._names: dict[
            bytes, tuple[bytes, int, bool]
        ] = {}  # as spelled: lower case, kind, may be remembered
        self.get = self._lines.get

    @property
    def lines(self) -> KeysView[bytes]:
        """Those that are remembered."""
        return self._lines.keys()

    @property
    def names(self) -> KeysView[bytes]:
        """Those that are remembered, as they were spelled."""
        return self._names.keys()

    def parse(self, line: bytes) -> Field | None:
        """None: malformed."""
        spelled, colon, value = line.partition(b":")
        known = self._names.get(spelled) or self._name(spelled)
        if known is None or not colon or line.translate(None, FIELD_OCTETS):
            return None
        name, kind, memorable = known
        value = value.strip(b" \t")
        field = Field(name, value, b"%b: %b\r\n" % (spelled, value), kind)
        if memorable and len(line) <= MEMO_LINE_OCTETS:
            if len(self._lines) >= MEMO_LINES:
                self._lines.clear()
            self._lines[line] = field
        return field

    def forget(self) -> None:
        self._lines.clear()
        self._names.clear()

    def _name(self, spelled: bytes) -> tuple[bytes, int, bool] | None:
        if FIELD_NAME(spelled) is None:
            return None
        name = spelled.lower()
        known = (name, self._kind_of(name), not holds_secret(name))
        if len(spelled) <= MEMO_LINE_OCTETS:
            if len(self._names) >= MEMO_LINES:
                self._names.clear()
            self._names[spelled] = known
        return known


def never_remember(name: str) -> None:
    """Lines of this field hold a secret (guard.caller_token_header)."""
    SECRET_FIELDS.add(fields.folded(name.lower().encode("ascii")))
    REQUEST_LINES.forget()


def holds_secret(name: bytes) -> bool:
    """Whether a field of this name, in lower case, is never remembered."""
    return fields.folded(name) in SECRET_FIELDS


REQUEST_LINES = LineTable(fields.request_kind)
RESPONSE_LINES = LineTable(fields.response_kind)
