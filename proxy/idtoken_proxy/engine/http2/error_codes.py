"""Error codes (RFC 9113 section 7), and the two kinds of error that carry one (section 5.4)."""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def name_of(code: int) -> str:
    """For logs and metrics. "Unknown or unsupported error codes MUST NOT trigger any special behavior" (section 7)."""
    return ErrorCode(code).name if code in ErrorCode.__members__.values() else "UNKNOWN"


class Http2Error(Exception):
    """What a peer did against the protocol. `reason` holds no octet of the peer's, so that it may go into a log and into
    GOAWAY's debug data; `limit` names the limit that was hit, as metrics do.
    """

    def __init__(self, code: ErrorCode, reason: str, *, limit: str | None = None) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason
        self.limit = limit


class ConnectionFault(Http2Error):
    """A connection error (section 5.4.1): GOAWAY, and the connection ends."""


class StreamFault(Http2Error):
    """A stream error (section 5.4.2): RST_STREAM, and the connection goes on."""

    def __init__(self, stream_id: int, code: ErrorCode, reason: str, *, limit: str | None = None) -> None:
        super().__init__(code, reason, limit=limit)
        self.stream_id = stream_id
