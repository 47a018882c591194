"""What a connection tells. Its methods are called from within `receive`, and may call any `send_*` of the connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from idtoken_proxy.engine.http2.error_codes import ConnectionFault
from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.heads import RequestHead, ResponseHead
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2.streams import Stream

BY_PEER: Final = "peer"  # its RST_STREAM
BY_FAULT: Final = "fault"  # ours, for what the peer did
BY_GOAWAY: Final = "goaway"  # the peer's GOAWAY leaves this stream out
BY_CONNECTION: Final = "connection"  # the connection has ended with streams open


@dataclass(frozen=True, slots=True)
class Reset:
    """How a stream ended that did not come to its end. `unprocessed`: the peer says that it did nothing with it (RFC 9113
    section 8.7), so that it may be said again elsewhere.
    """

    code: int
    by: str
    reason: str = ""
    unprocessed: bool = False


class StreamListener(Protocol):
    """What both roles tell. Nothing more is told of a stream after `on_end` or `on_reset`, but `on_sent` after the first."""

    def on_data(self, stream: Stream, payload: bytes, *, end_stream: bool) -> None:
        """`payload`: its credit goes back with `release_credit`, once it has left. May be empty with `end_stream`."""

    def on_end(self, stream: Stream, trailers: Sequence[HeaderField]) -> None:
        """The peer's trailers, which end its side."""

    def on_sent(self, stream: Stream, octets: int) -> None:
        """So much of what was held for want of a window has gone out."""

    def on_reset(self, stream: Stream, reset: Reset) -> None:
        """The stream is no more."""

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        """The peer's. `debug`: its own words, to be distrusted."""

    def on_pong(self, payload: bytes) -> None:
        """A PING of ours was answered."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """The peer broke the protocol, and GOAWAY is in the output: write it and close. Streams were told before."""


class ServerListener(StreamListener, Protocol):
    def on_request(self, stream: Stream, head: RequestHead, *, end_stream: bool) -> None:
        """A request's head. Its concurrency slot is the app's until the stream ends, and `release_slot` where it was reset."""

    def on_malformed(self, stream_id: int, reason: str, fields: Sequence[HeaderField]) -> Sequence[Pair]:
        """A request that comes to nothing else: its stream is reset with PROTOCOL_ERROR. What is given is sent before that, as
        an answer that is whole in its head (section 8.1.1: "MAY send an HTTP response prior to closing or resetting").
        """


class ClientListener(StreamListener, Protocol):
    def on_response(self, stream: Stream, head: ResponseHead, *, end_stream: bool) -> None:
        """The final response's head."""

    def on_interim(self, stream: Stream, head: ResponseHead) -> None:
        """A 1xx."""

    def on_capacity(self) -> None:
        """More streams may be opened than could be before."""
