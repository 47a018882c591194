"""Failures as gRPC statuses."""

from __future__ import annotations

from urllib.parse import unquote

from idtoken_proxy.engine import grpc_status
from idtoken_proxy.engine.grpc_status import message_of, of_error, of_http, trailers, trailers_only
from idtoken_proxy.errors import (
    AnswerHeadTooLarge,
    BrokenOff,
    ConnectFailed,
    DeadlineExceeded,
    Draining,
    Fault,
    HeadTooLarge,
    LoopDetected,
    MalformedRequest,
    MalformedResponse,
    MethodNotAllowed,
    NoHttp2,
    NoRoute,
    Overloaded,
    ProxyError,
    Refused,
    RequestHeadTooLarge,
    TlsFailed,
    TokenError,
    UpstreamTimeout,
    VersionNotServed,
)
from tests.cases import for_each


def late(cause: str) -> UpstreamTimeout:
    error = UpstreamTimeout("late")
    error.proxy_status = cause
    return error


@for_each(
    ("error", "status"),
    [
        (Refused("no"), 7),
        (NoRoute("no"), 12),
        (MethodNotAllowed("no", allow=("GET",)), 12),
        (VersionNotServed("no"), 12),
        (MalformedRequest("no"), 13),
        (LoopDetected("no"), 13),
        (MalformedResponse("no"), 13),
        (HeadTooLarge("no"), 8),
        (RequestHeadTooLarge("no"), 8),
        (AnswerHeadTooLarge("no"), 8),
        (Overloaded("no"), 8),
        (Draining("no"), 14),
        (TokenError("no", cause="x", fault=Fault.OPERATOR), 16),
        (TokenError("no", cause="x", fault=Fault.GOOGLE), 14),
        (TokenError("no", cause="x", fault=Fault.PROXY), 14),
        (ConnectFailed("no"), 14),
        (TlsFailed("no"), 14),
        (NoHttp2("no"), 14),
        (BrokenOff("no"), 14),
        (late("http_response_timeout"), 4),
        (late("connection_timeout"), 14),
        (DeadlineExceeded("no"), 4),
        (ProxyError("a bug"), 13),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ProxyError) else str(value),
)
def test_of_an_error(error: ProxyError, status: int) -> None:
    assert of_error(error) == status


def test_of_an_answer_in_http() -> None:
    told = {
        status: of_http(status) for status in (400, 401, 403, 404, 411, 413, 429, 500, 502, 503, 504, 418)
    }
    assert told == {
        400: 13, 401: 16, 403: 7, 404: 12, 411: 13, 413: 8, 429: 14, 500: 2, 502: 14, 503: 14, 504: 14, 418: 2,
    }  # fmt: skip


def test_a_message_holds_cause_and_remedy_in_one_line() -> None:
    assert message_of("no route", None) == "no route"
    assert message_of("no route", "add one") == "no route. Remedy: add one"


def test_a_command_is_told_as_it_is_typed() -> None:
    assert message_of("may not", "gcloud run services list").endswith(" gcloud run services list")


def test_what_a_header_cannot_hold_is_percent_encoded() -> None:
    (_, code), (name, value) = trailers(5, "nö 100%\r\nx: y")
    assert (code, name) == (b"5", b"grpc-message")
    assert value == b"n%C3%B6 100%25%0D%0Ax: y"
    assert unquote(value.decode()) == "nö 100%\r\nx: y"


def test_a_message_is_no_longer_than_clients_take() -> None:
    (_, (_, value)) = trailers(grpc_status.INTERNAL, "x" * 100_000)
    assert len(value) == 4096


def test_a_whole_answer_is_one_head() -> None:
    assert trailers_only(7, "no") == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"7"),
        (b"grpc-message", b"no"),
    ]
