"""Every failure of the proxy: whose fault it is, the status an app sees, and a message that is safe to show.

    ProxyError
      ConfigError              the operator's: exit code 2, one Problem a mistake
      RequestError             the caller's
        MalformedRequest         400, the connection closes (RFC 9112 section 11.2)
          NotHttp                  400, another protocol than HTTP/1.1
        Refused                  403, the guard
        Unauthenticated          401, a token that came and does not hold
        NotInvoker               403, the caller may not, or did not say who it is
        NoRoute                  404
        MethodNotAllowed         405
        HeadTooLarge             431
        VersionNotServed         505
        TooManyServices          429, of names of services that were new
        LoopDetected             508
      KeysUnavailable          503, no token can be checked: its issuer's keys could not be had
      TokenError               503, nothing was sent upstream; ours, the operator's or Google's
      UpstreamError            the receiver's, or the way there
        ConnectFailed            502 refused, unreachable, no such name
        TlsFailed                502 certificate or handshake; the token was not sent
        BrokenOff                502 closed before its response head
          ReceiverReset            502 one stream of HTTP/2, by its RST_STREAM
            NotProcessed             502 likewise, and it did nothing with it
        NoHttp2                  502 HTTP/1.1 alone; the token was not sent
        MalformedResponse        502
        AnswerHeadTooLarge       502 for the app, as it says
        RequestHeadTooLarge      431 for the receiver, as it says
        UpstreamTimeout          504
          DeadlineExceeded         504 the app's own, grpc-timeout
      Overloaded               503 over limits.connections
        HeldTooMuch              503 likewise, by what connections of HTTP/2 hold for who does not read
      Draining                 503 shutting down

`detail` goes to the app, so it never holds a query string, a token, a token endpoint's body or a header value, except a
refused Host or Origin, which the caller has to correct. `log_detail` holds what only the log may show.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Fault(enum.Enum):
    """Whose fault a failure is."""

    CALLER = "caller"
    OPERATOR = "operator"
    PROXY = "proxy"
    GOOGLE = "google"
    RECEIVER = "receiver"


class ProxyError(Exception):
    """Base of all. `proxy_status`: the error type of RFC 9209 section 2.3. `limit`: the name in metrics of the limit
    that was hit.
    """

    status: int = 500
    title: str = "Internal error"
    proxy_status: str = "proxy_internal_error"
    fault: Fault = Fault.PROXY
    closes: bool = False  # whether the app's connection ends with this answer

    def __init__(
        self,
        detail: str,
        *,
        remedy: str | None = None,
        log_detail: str | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.log_detail = log_detail
        self.limit = limit


# -- the operator's -----------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a configuration file. `line` counts from 1; 0 means that there is none."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(ProxyError):
    """Every mistake in the configuration at once. `files`: paths it names; the mistake may be in one of those."""

    title = "Configuration error"
    proxy_status = "proxy_configuration_error"
    fault = Fault.OPERATOR

    def __init__(self, problems: tuple[Problem, ...], files: Iterable[str] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.files = tuple(files)


# -- the caller's -------------------------------------------------------------


class RequestError(ProxyError):
    status = 400
    title = "Bad request"
    proxy_status = "http_request_error"
    fault = Fault.CALLER


class MalformedRequest(RequestError):
    """Malformed or ambiguous. The next request's start is unknown, so the connection closes."""

    closes = True


class NotHttp(MalformedRequest):
    """`looks_like`: a slug for metrics, from engine/not_http.py."""

    title = "Not HTTP/1.1"

    def __init__(self, detail: str, *, looks_like: str, remedy: str) -> None:
        super().__init__(detail, remedy=remedy)
        self.looks_like = looks_like


class Refused(RequestError):
    """`reason`: a slug for metrics."""

    status = 403
    title = "Refused by the proxy's guard"
    proxy_status = "http_request_denied"

    def __init__(self, detail: str, *, reason: str = "other", remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.reason = reason


class Unauthenticated(RequestError):
    """The request's token does not hold. `cause`: a slug for metrics. Detail and remedy are for the log alone."""

    status = 401
    title = "Unauthorized"
    proxy_status = "http_request_denied"

    def __init__(self, detail: str, *, cause: str, remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.cause = cause


class NotInvoker(RequestError):
    """The caller may not, or did not say who it is. `cause`: a slug for metrics. Detail and remedy are for the log
    alone.
    """

    status = 403
    title = "Forbidden"
    proxy_status = "http_request_denied"

    def __init__(self, detail: str, *, cause: str, remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.cause = cause


class NoRoute(RequestError):
    status = 404
    title = "No route"
    proxy_status = "destination_not_found"


class MethodNotAllowed(RequestError):
    status = 405
    title = "Method not allowed"
    proxy_status = "http_request_denied"

    def __init__(
        self, detail: str, *, allow: tuple[str, ...], closes: bool = False, remedy: str | None = None
    ) -> None:
        super().__init__(detail, remedy=remedy)
        self.allow = allow
        self.closes = closes


class VersionNotServed(RequestError):
    """The app's protocol cannot be carried to this receiver."""

    status = 505
    title = "HTTP version not served"


class TooManyServices(RequestError):
    status = 429
    title = "Too many new services"
    proxy_status = "http_request_denied"


class LoopDetected(RequestError):
    """Via shows that the request has been here before."""

    status = 508
    title = "Loop detected"
    proxy_status = "proxy_loop_detected"
    fault = Fault.OPERATOR


class HeadTooLarge(RequestError):
    status = 431
    title = "Request header fields too large"
    closes = True


class KeysUnavailable(ProxyError):
    """No token can be checked, because its issuer's keys have not been fetched yet."""

    status = 503
    title = "Service unavailable"
    proxy_status = "proxy_internal_error"
    fault = Fault.OPERATOR
    cause = "no_keys"


# -- identity -----------------------------------------------------------------


class TokenError(ProxyError):
    """No valid token could be had: nothing is sent upstream.

    `retry_after`: seconds. `cause`: a short slug for logs and metrics (such as `metadata_unreachable`). `identity`: the
    one that was asked, in words. `login`: the command with which a person mends it, if a login does.
    """

    status = 503
    title = "No ID token"
    proxy_status = "proxy_internal_error"

    def __init__(
        self,
        detail: str,
        *,
        cause: str,
        fault: Fault,
        remedy: str | None = None,
        retry_after: int = 5,
        log_detail: str | None = None,
        identity: str | None = None,
        login: str | None = None,
    ) -> None:
        super().__init__(detail, remedy=remedy, log_detail=log_detail)
        self.identity = identity
        self.login = login
        self.cause = cause
        self.fault = fault
        self.retry_after = retry_after


# -- the receiver's -----------------------------------------------------------


class UpstreamError(ProxyError):
    status = 502
    title = "Bad gateway"
    proxy_status = "destination_unavailable"
    fault = Fault.RECEIVER


class ConnectFailed(UpstreamError):
    title = "The receiver could not be reached"

    def __init__(
        self, detail: str, *, proxy_status: str = "destination_unavailable", remedy: str | None = None
    ) -> None:
        super().__init__(detail, remedy=remedy)
        self.proxy_status = proxy_status


class TlsFailed(UpstreamError):
    title = "The receiver's certificate was not accepted"
    proxy_status = "tls_certificate_error"


class BrokenOff(UpstreamError):
    title = "The receiver broke off"
    proxy_status = "connection_terminated"


class ReceiverReset(BrokenOff):
    """The receiver reset this request's stream. `code`: of RFC 9113 section 7."""

    def __init__(self, detail: str, *, code: int = 0x2, remedy: str | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.code = code


class NotProcessed(ReceiverReset):
    """The receiver reset the stream and says that it did not process the request (RFC 9113 section 8.7)."""


class NoHttp2(UpstreamError):
    """The receiver speaks only HTTP/1.1. The token was not sent."""

    title = "The receiver does not speak HTTP/2"
    proxy_status = "http_protocol_error"


class MalformedResponse(UpstreamError):
    title = "The receiver's answer is malformed"
    proxy_status = "http_protocol_error"


class AnswerHeadTooLarge(UpstreamError):
    """Larger than the app accepts (SETTINGS_MAX_HEADER_LIST_SIZE)."""

    title = "The answer's header fields are too large for the app"
    proxy_status = "http_response_header_section_size"


class RequestHeadTooLarge(UpstreamError):
    """Larger than the receiver says it accepts. It has not seen the request."""

    status = 431
    title = "Request header fields too large"
    proxy_status = "http_request_error"
    fault = Fault.CALLER


class UpstreamTimeout(UpstreamError):
    status = 504
    title = "Timeout"
    proxy_status = "http_response_timeout"


class DeadlineExceeded(UpstreamTimeout):
    """The app's own deadline has passed: grpc-timeout."""

    title = "The app's deadline has passed"


# -- this proxy's -------------------------------------------------------------


class Overloaded(ProxyError):
    status = 503
    title = "Too many connections"
    proxy_status = "connection_limit_reached"
    closes = True


class HeldTooMuch(Overloaded):
    title = "Too much waits to be read"
    closes = False


class Draining(ProxyError):
    status = 503
    title = "Shutting down"
    proxy_status = "proxy_internal_error"
    closes = True
