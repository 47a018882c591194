"""SETTINGS (RFC 9113 section 6.5): what each value may be, what a peer's mean to us, and what ours are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.frames import MAX_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE
from idtoken_proxy.engine.http2.hpack_table import DEFAULT_TABLE_OCTETS

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
NO_RFC7540_PRIORITIES: Final = 0x9  # RFC 9218 section 2.1

DEFAULT_WINDOW: Final = (1 << 16) - 1  # section 6.9.2
MAX_WINDOW: Final = (1 << 31) - 1  # section 6.9.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets, and streams. `header_octets` is what the peer is told; twice that, and twice as many fields as are taken, are
    decoded where `refuses`: the connection's owner then refuses the one message, and the others go on. `stream_window` is the most that one stream makes us keep, and not below 65,535: what a peer
    takes it for until it has read our SETTINGS.
    """

    max_streams: int = 100
    header_octets: int = 64 * 1024
    refuses: bool = False
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024

    @property
    def room(self) -> int:
        """By how much more is decoded than is taken."""
        return 2 if self.refuses else 1

    @property
    def most_header_octets(self) -> int:
        return self.header_octets * self.room


class PeerSettings:
    """A peer's values, defaults to begin with. Those without a limit are None until it sets one."""

    __slots__ = (
        "header_table_size", "initial_window_size", "max_concurrent_streams", "max_frame_size", "max_header_list_size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.header_table_size = DEFAULT_TABLE_OCTETS
        self.max_concurrent_streams: int | None = None
        self.initial_window_size = DEFAULT_WINDOW
        self.max_frame_size = MIN_MAX_FRAME_SIZE
        self.max_header_list_size: int | None = None

    def apply(self, name: int, value: int, *, of_server: bool) -> None:
        """Raises ConnectionFault. "An endpoint that receives a SETTINGS frame with any unknown or unsupported identifier
        MUST ignore that setting" (section 6.5.2).
        """
        if name == HEADER_TABLE_SIZE:
            self.header_table_size = value
        elif name == ENABLE_PUSH:
            # A server may not say that it takes pushes, a client may, and nobody gets one.
            if value > (0 if of_server else 1):
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH has a value that it cannot"
                )
        elif name == MAX_CONCURRENT_STREAMS:
            self.max_concurrent_streams = value
        elif name == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ConnectionFault(
                    ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1"
                )
            self.initial_window_size = value
        elif name == MAX_FRAME_SIZE:
            if not MIN_MAX_FRAME_SIZE <= value <= MAX_MAX_FRAME_SIZE:
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is not between 2^14 and 2^24-1"
                )
            self.max_frame_size = value
        elif name == MAX_HEADER_LIST_SIZE:
            self.max_header_list_size = value
        elif name == NO_RFC7540_PRIORITIES and value > 1:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR, "SETTINGS_NO_RFC7540_PRIORITIES has a value that it cannot"
            )
