"""What goes wrong, as a gRPC status: a client shows nothing of an HTTP answer but its status line.

https://github.com/grpc/grpc/blob/master/doc/statuscodes.md, and for what is answered in HTTP
https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md.
"""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.errors import (
    AnswerHeadTooLarge,
    Fault,
    HeadTooLarge,
    MalformedResponse,
    MethodNotAllowed,
    NoRoute,
    NotInvoker,
    Overloaded,
    ProxyError,
    Refused,
    RequestError,
    RequestHeadTooLarge,
    TokenError,
    TooManyServices,
    Unauthenticated,
    UpstreamError,
    UpstreamTimeout,
    VersionNotServed,
)
from idtoken_proxy.settings.model import Route

UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

_BY_HTTP: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    411: INTERNAL,
    413: RESOURCE_EXHAUSTED,
    429: UNAVAILABLE,
    431: RESOURCE_EXHAUSTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
# As clients bound their metadata: grpcio takes 8 KiB in all by default, and 16 KiB at most.
_LONGEST_MESSAGE: Final = 4096
_SPECIAL: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")


def of_error(error: ProxyError) -> int:
    match error:
        case HeadTooLarge() | AnswerHeadTooLarge() | RequestHeadTooLarge() | Overloaded() | TooManyServices():
            return RESOURCE_EXHAUSTED
        case Refused() | NotInvoker():
            return PERMISSION_DENIED
        case Unauthenticated():
            return UNAUTHENTICATED
        case NoRoute() | MethodNotAllowed() | VersionNotServed():
            return UNIMPLEMENTED
        case RequestError() | MalformedResponse():
            return INTERNAL
        case TokenError():
            return UNAUTHENTICATED if error.fault is Fault.OPERATOR else UNAVAILABLE
        case UpstreamTimeout():
            return UNAVAILABLE if error.proxy_status == "connection_timeout" else DEADLINE_EXCEEDED
        case UpstreamError():
            return UNAVAILABLE
    return UNAVAILABLE if error.status == 503 else INTERNAL


def of_http(status: int) -> int:
    """Of an answer that is no gRPC answer."""
    return _BY_HTTP.get(status, UNKNOWN)


def message_of(detail: str, remedy: str | None) -> str:
    """What a client shows: cause and remedy in one line. The remedy as it is: it may begin with a command, to be copied."""
    return detail if remedy is None else f"{detail}. Remedy: {remedy}"


def message_for(error: ProxyError, route: Route | None) -> str:
    """`route`: where there is one; on the receiving side a stranger is told no more than by the status itself."""
    if route is not None and route.receives:
        return error.title
    return message_of(error.detail, error.remedy)


def trailers(status: int, message: str) -> list[Pair]:
    return [(b"grpc-status", b"%d" % status), (b"grpc-message", _percent_encoded(message))]


def trailers_only(status: int, message: str) -> list[Pair]:
    """A whole answer in one head."""
    return [(b":status", b"200"), (b"content-type", b"application/grpc"), *trailers(status, message)]


def _percent_encoded(message: str) -> bytes:
    octets = message.encode("utf-8", "replace")[:_LONGEST_MESSAGE]
    return _SPECIAL.sub(lambda one: b"%%%02X" % one[0][0], octets)
