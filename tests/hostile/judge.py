"""What a recording receiver saw, judged: well-formed requests, each with exactly one token of its route, and no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tests.hostile.strict import Head, Incomplete, Reader

TOKEN_HEADERS: Final = (b"authorization", b"x-serverless-authorization", b"proxy-authorization")
HOP_BY_HOP: Final = (b"keep-alive", b"proxy-connection", b"trailer", b"http2-settings", b"metadata-flavor")
BASE: Final = b"/base"  # of the bounded route: whatever comes there is for its audience


@dataclass(frozen=True)
class Tokens:
    """By route: the one for everything, and the one behind a base path."""

    open: str
    bounded: str

    def of(self, target: bytes) -> bytes:
        path = target.partition(b"?")[0]
        return (self.bounded if path == BASE or path.startswith(BASE + b"/") else self.open).encode()


@dataclass(frozen=True)
class Record:
    """`begun`: the head of a request that the receiver never got to the end of; `torn`: octets of an unfinished head."""

    requests: list[Head]
    begun: Head | None
    torn: bytes


def read(stream: bytes) -> Record:
    """All that a connection carried. Raises Malformed."""
    reader = Reader(stream)
    requests: list[Head] = []
    while reader.left:
        at = reader.at
        try:
            requests.append(reader.request())
        except Incomplete as incomplete:
            return Record(requests, incomplete.head, stream[at:] if incomplete.head is None else b"")
    return Record(requests, None, b"")


def check(head: Head, tokens: Tokens, host: bytes) -> None:
    """AssertionError for a request that a proxy of ours must not send."""
    assert head.one(b"host") == host, head
    ours = b"Bearer " + tokens.of(head.target)
    assert sum(value == ours for _, value in head.fields) == 1, (head, "not one token of the route")
    for name, value in head.fields:
        folded = re.sub(rb"[^0-9a-z]", b"-", name)
        if folded in TOKEN_HEADERS:
            assert name == folded, (name, "an alias of a token header")
            assert value == ours or name == b"authorization", (name, value)
            assert value == ours or b"x-serverless-authorization" in dict(head.fields), (name, value)
        assert tokens.open.encode() not in value or value == b"Bearer " + tokens.of(head.target), (
            name,
            "a foreign token",
        )
        assert tokens.bounded.encode() not in value or value == b"Bearer " + tokens.of(head.target), (
            name,
            "a foreign token",
        )
    assert len(head.all(b"authorization")) <= 1, head
    for name in HOP_BY_HOP:
        assert not head.all(name), (name, head)
    assert not head.trailers, head
    options = b",".join(head.all(b"connection")).lower()
    assert options in (b"", b"upgrade", b"te"), options
    assert head.all(b"upgrade") == ([b"websocket"] if options == b"upgrade" else []), head
