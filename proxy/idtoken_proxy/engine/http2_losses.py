"""How an answer over HTTP/2 was lost, as the error that the app and the log are told."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.connect_errors import NO_HTTP2
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.listener import BY_CONNECTION, BY_FAULT, Reset
from idtoken_proxy.engine.http2_liveness import ANSWERED
from idtoken_proxy.errors import (
    BrokenOff,
    MalformedResponse,
    NoHttp2,
    NotProcessed,
    ReceiverReset,
    UpstreamError,
)

_NOT_HTTP2: Final = b"HTTP/1."


def error_of(reset: Reset) -> UpstreamError:
    """Of a stream."""
    if reset.by == BY_FAULT:
        return MalformedResponse(f"the receiver's answer is malformed: {reset.reason}")
    if reset.by == BY_CONNECTION:
        if reset.code != ErrorCode.NO_ERROR:  # that we found on it
            return MalformedResponse(f"the receiver broke the rules of HTTP/2: {reset.reason}")
        return BrokenOff("the receiver closed the connection before its answer was complete")
    if reset.unprocessed:
        return NotProcessed(
            "the receiver refused the request before it did anything with it", code=reset.code
        )
    return ReceiverReset(f"the receiver reset the request's stream: {_name_of(reset.code)}", code=reset.code)


def gone_silent() -> BrokenOff:
    """Of every stream of a connection whose receiver does not answer a PING either (http2_liveness.py)."""
    return BrokenOff(
        f"nothing is heard of the receiver any more: no answer to a PING within {ANSWERED:g} s",
        remedy="say it again, which takes a fresh connection; if it comes again, check the way there (VPN, NAT, firewall)",
    )


def _name_of(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"code {code}"


def no_http2(first: bytes, said: str | None) -> NoHttp2:
    """`first`: the receiver's first octets. `said`: what is known of it otherwise."""
    if first.startswith(_NOT_HTTP2):
        said = "it answers in HTTP/1.1"
    return NoHttp2(
        f"the receiver does not speak HTTP/2: {said or 'it closed the connection where that was to begin'}",
        remedy=NO_HTTP2,
    )
