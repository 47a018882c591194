"""HEADERS and the CONTINUATIONs behind it -> one block (RFC 9113 section 4.3).

Counted before anything is joined: without an end to it, a block is a way to fill memory, or to spend processor time on
octets that no limit for decoded fields ever sees (CVE-2024-28182, "CONTINUATION flood").
"""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode

# At 16 KiB each they hold more than any head that we take; empty ones hold nothing.
MAX_CONTINUATIONS: Final = 8


class HeaderBlock:
    """A block whose END_HEADERS has yet to come."""

    __slots__ = ("_left", "_parts", "end_stream", "stream_id")

    def __init__(self, stream_id: int, fragment: bytes, max_octets: int, *, end_stream: bool) -> None:
        self.stream_id = stream_id
        self.end_stream = end_stream
        self._parts: list[bytes] = []
        self._left = max_octets
        self._add(fragment)

    def go_on(self, fragment: bytes) -> None:
        """Raises ConnectionFault."""
        if len(self._parts) > MAX_CONTINUATIONS:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"a header block in more than {MAX_CONTINUATIONS} CONTINUATIONs",
                limit="continuations",
            )
        self._add(fragment)

    def whole(self) -> bytes:
        return b"".join(self._parts)

    def _add(self, fragment: bytes) -> None:
        self._left -= len(fragment)
        if self._left < 0:
            raise too_large()
        self._parts.append(fragment)


def too_large() -> ConnectionFault:
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too large", limit="header_bytes")
