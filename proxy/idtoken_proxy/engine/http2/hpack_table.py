"""The static table (RFC 7541 appendix A) and the dynamic one (sections 2.3.2 and 4)."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.pair import Pair

DEFAULT_TABLE_OCTETS: Final = 4096  # RFC 9113 section 6.5.2
ENTRY_OVERHEAD: Final = 32  # RFC 7541 section 4.1

STATIC_TABLE: Final[tuple[Pair, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
STATIC_ENTRIES: Final = len(STATIC_TABLE)


class DynamicTable:
    """The newest entry stands last: HPACK's index 62 is `entries[-1]`, index 63 `entries[-2]`."""

    __slots__ = ("capacity", "entries", "size")

    def __init__(self, capacity: int = DEFAULT_TABLE_OCTETS) -> None:
        self.entries: list[HeaderField] = []
        self.size = 0
        self.capacity = capacity

    def add(self, field: HeaderField) -> None:
        """Section 4.4: an entry larger than the table empties it, and that is no error."""
        self.size += field.size
        self.entries.append(field)
        if self.size > self.capacity:
            self._evict()

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        if self.size > capacity:
            self._evict()

    def _evict(self) -> None:
        gone = 0
        for field in self.entries:
            self.size -= field.size
            gone += 1
            if self.size <= self.capacity:
                break
        del self.entries[:gone]
