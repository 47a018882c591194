from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.identity.google_error import GoogleError
from idtoken_proxy.identity.grpc_error import in_http, refuses
from tests.cases import for_each


def status_details(*details: Any) -> bytes:
    """`grpc-status-details-bin`, as Google's own library writes it."""
    packed = []
    for one in details:
        packed.append(_ANY())
        packed[-1].Pack(one)
    told: Any = status_pb2.Status(code=7, message="m" * 300, details=packed)
    return base64.b64encode(told.SerializeToString()).rstrip(b"=")


def lines(status: object, message: str = "", *details: Any) -> list[bytes]:
    """As they stand in trailers."""
    return [
        b"content-type: application/grpc\r\n",
        f"grpc-status: {status}\r\n".encode(),
        f"grpc-message: {message}\r\n".encode(),
        b"grpc-status-details-bin: " + status_details(*details) + b"\r\n",
    ]


def read(said: list[bytes]) -> GoogleError:
    told = in_http(said)
    assert told is not None
    return GoogleError.read(*told)


_ANY: Any = any_pb2.Any  # type: ignore[attr-defined]
INFO = error_details_pb2.ErrorInfo(
    reason="USER_PROJECT_DENIED",
    domain="googleapis.com",
    metadata={"consumer": "projects/42", "service": "pubsub.googleapis.com"},
)


def test_the_reason_and_what_belongs_to_it() -> None:
    help_ = error_details_pb2.Help(links=[{"description": "d", "url": "https://x"}])
    error = read(lines(7, "Caller does not%2C 100%25 sure", help_, INFO))
    assert (error.status, error.code, error.reason) == (403, "PERMISSION_DENIED", "USER_PROJECT_DENIED")
    assert (error.project, error.service) == ("42", "pubsub.googleapis.com")
    assert error.message == "Caller does not, 100% sure"


def test_a_perimeter_s_violation() -> None:
    violation = {"type": "VPC_SERVICE_CONTROLS", "subject": "s", "description": "VQQnKfXtZ16NHnOmdJAy0E92tVT"}
    error = read(lines(7, "Prohibited.", error_details_pb2.PreconditionFailure(violations=[violation])))
    assert (error.violated, error.identifier) == (("VPC_SERVICE_CONTROLS",), "VQQnKfXtZ16NHnOmdJAy0E92tVT")


@for_each(
    ("status", "http", "code"),
    [(16, 401, "UNAUTHENTICATED"), (7, 403, "PERMISSION_DENIED"), (8, 429, "RESOURCE_EXHAUSTED")],
)
def test_what_is_a_refusal(status: int, http: int, code: str) -> None:
    assert refuses(lines(status))
    error = read([f"grpc-status: {status}\r\n".encode()])
    assert (error.status, error.code, error.reason) == (http, code, None)


@for_each("status", [0, 1, 2, 5, 13, 14, 70, 160, "", "x", "\u0667", "7" * 5000])
def test_what_is_none(status: object) -> None:
    assert not refuses(lines(status))
    assert in_http(lines(status)) is None
    assert in_http([]) is None


WHOLE = status_details(INFO) + b"=="


@given(st.binary(max_size=200) | st.integers(0, 300).map(lambda end: base64.b64decode(WHOLE)[:end]))
def test_details_that_cannot_be_read_are_none(details: bytes) -> None:
    """Whatever they are: what stands beside them is told all the same."""
    for value in (base64.b64encode(details), details.replace(b"\r", b"").replace(b"\n", b"")):
        told = in_http([b"grpc-status: 7\r\n", b"grpc-status-details-bin: " + value + b"\r\n"])
        assert told is not None
        assert json.loads(told[1])["error"]["status"] == "PERMISSION_DENIED"


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=10), st.text(max_size=200), max_size=4))
def test_it_reads_what_google_s_library_writes(reason: str, metadata: dict[str, str]) -> None:
    info = error_details_pb2.ErrorInfo(reason=reason, metadata=metadata)
    told = in_http(lines(7, "", info))
    assert told is not None
    (detail,) = json.loads(told[1])["error"]["details"]
    assert detail == {"reason": reason, "metadata": metadata}
