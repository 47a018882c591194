"""Request bodies that are kept until their answer's head comes, for the one case in which they are sent again: Google's
front end refuses the token before the receiver's code has seen anything (retry.py).

Small ones alone, and not many at a time: a proxy that keeps bodies holds what its callers choose to send.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from idtoken_proxy.policy.request import Request

MAX_BODY: Final = 64 * 1024  # octets of one; what is larger is an upload, which its app can repeat
MAX_ALL: Final = 16 * 1024 * 1024  # octets of all together


def may_be_kept(request: Request, token: object) -> bool:
    """Whether its body may, as far as its head tells. `token`: out of the cache, or None, which no 401 makes another of."""
    if token is None and not request.http2:
        return False
    return request.chunked or 0 < (request.content_length or 0) <= MAX_BODY


Body: TypeAlias = bytes | bytearray


class KeptBodies:
    """All of a process. `octets`: what they hold now; `on_full` hears of each that found no room."""

    __slots__ = ("most", "octets", "on_full")

    def __init__(self, on_full: Callable[[], object], most: int = MAX_ALL) -> None:
        self.on_full = on_full
        self.most = most
        self.octets = 0

    def add(self, kept: Body, payload: bytes) -> Body | None:
        """What is kept of the body of which `kept` was. None: nothing is, and there is no way back."""
        size = len(payload)
        if len(kept) + size > MAX_BODY:
            self.free(kept)
            return None
        if self.octets + size > self.most:
            self.on_full()
            self.free(kept)
            return None
        self.octets += size
        # As it came, where it came at once; small pieces would each take more than they hold.
        if not kept:
            return payload
        if isinstance(kept, bytes):
            kept = bytearray(kept)
        kept += payload
        return kept

    def free(self, kept: Body) -> None:
        self.octets -= len(kept)
