"""Field lines, checked and taken apart once: most of a connection's repeat to the letter, and are remembered by their bytes.

In a bounded table; a line with a credential never is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, KeysView
from typing import Final

from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import Field

MEMO_LINES: Final = (
    2048  # x 512 octets, three times (the line, its value, its wire form): 3 MiB at the most for each of two
)
MEMO_LINE_OCTETS: Final = 512

# RFC 9110 section 5.6.2.
METHOD_OCTETS: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN: Final = METHOD_OCTETS + rb"+"
# RFC 9112 section 5: no space before the colon, no control character but HTAB within.
FIELD_NAME: Final = re.compile(TOKEN).fullmatch
FIELD_OCTETS: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
# Makes other octets of what no field holds, and nothing else: what it leaves as it is, is sound. To delete FIELD_OCTETS, which
# says the same, costs twice as much.
UNSOUND: Final = bytes(octet if octet in FIELD_OCTETS else 0x20 for octet in range(0x100))
# What differs from message to message: to remember it would cost as much again, and push out what comes back.
_DIFFERING: Final = frozenset(
    {
        b"traceparent", b"tracestate", b"x-amzn-trace-id", b"x-b3-parentspanid", b"x-b3-spanid", b"x-b3-traceid",
        b"x-cloud-trace-context", b"x-correlation-id", b"x-request-id",
    }
)  # fmt: skip
SECRET_FIELDS: Final = set(fields.TOKEN_HEADERS) | {
    *(b"cookie", b"set-cookie", b"x-api-key", b"x-goog-api-key", fields.IAP_ASSERTION)
}


class LineTable:
    """Field lines by their bytes; emptied when full, since a table that forgets at once costs one parse a line."""

    __slots__ = ("_differing", "_kind_of", "_names", "known")

    def __init__(self, kind_of: Callable[[bytes], int]) -> None:
        self._kind_of = kind_of
        self.known: dict[bytes, Field] = {}  # for whoever reads heads to look into, before `parse`
        self._names: dict[
            bytes, tuple[bytes, int, bool]
        ] = {}  # as spelled: lower case, kind, may be remembered
        self._differing: set[bytes] = set()  # of them, those whose lines pass, and are not remembered

    @property
    def names(self) -> KeysView[bytes]:
        """Those that are remembered, as they were spelled."""
        return self._names.keys()

    def passing(self, line: bytes) -> bytes | None:
        """A line that passes, and is not remembered, as it is written on: half of what `parse` costs. None: that tells."""
        name, _, value = line.partition(b": ")
        if name not in self._differing or not value or value[0] <= 0x20 or value[-1] <= 0x20:
            return None
        return line + b"\r\n" if line.translate(UNSOUND) == line else None

    def parse(self, line: bytes) -> Field | None:
        """None: malformed."""
        spelled, colon, value = line.partition(b":")
        known = self._names.get(spelled) or self._name(spelled)
        if known is None or not colon or line.translate(UNSOUND) != line:
            return None
        name, kind, memorable = known
        bare = value.strip(b" \t")
        if (
            len(value) == len(bare) + 1 and value[0] == 0x20
        ):  # as nearly all are written, and as it is written on
            field = Field(name, bare, line + b"\r\n", kind)
        else:
            field = Field(name, bare, b"%b: %b\r\n" % (spelled, bare), kind)
        if memorable and len(line) <= MEMO_LINE_OCTETS:
            if len(self.known) >= MEMO_LINES:
                self.known.clear()
            self.known[line] = field
        return field

    def forget(self) -> None:
        self.known.clear()
        self._names.clear()
        self._differing.clear()

    def _name(self, spelled: bytes) -> tuple[bytes, int, bool] | None:
        if FIELD_NAME(spelled) is None:
            return None
        name = spelled.lower()
        known = (name, self._kind_of(name), name not in _DIFFERING and not holds_secret(name))
        if len(spelled) <= MEMO_LINE_OCTETS:
            if len(self._names) >= MEMO_LINES:
                self._names.clear()
                self._differing.clear()
            self._names[spelled] = known
            if known[1] == fields.PASS and not known[2]:
                self._differing.add(spelled)
        return known


def never_remember(name: str) -> None:
    """Lines of this field hold a secret (guard.caller_token_header)."""
    SECRET_FIELDS.add(fields.folded(name.lower().encode("ascii")))
    REQUEST_LINES.forget()


def holds_secret(name: bytes) -> bool:
    """Whether a field of this name, in lower case, is never remembered."""
    return fields.folded(name) in SECRET_FIELDS


REQUEST_LINES: Final = LineTable(fields.request_kind)
RESPONSE_LINES: Final = LineTable(fields.response_kind)
