from __future__ import annotations

import json
from typing import NoReturn

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.google_error import GoogleError
from idtoken_proxy.identity.sources.aws_credentials import HOP_LIMIT, AwsCredentials, asked, no_credentials
from idtoken_proxy.identity.sources.transport import EndpointRefused, Response
from tests.cases import for_each
from tests.identity.sources.emulated import fails


def test_as_aws_gives_them() -> None:
    said = {"AccessKeyId": "a", "SecretAccessKey": "SENTINEL", "Token": "t"}
    found = AwsCredentials.of_json(json.dumps(said).encode())
    assert found == AwsCredentials("a", "SENTINEL", "t")
    assert "SENTINEL" not in repr(found)
    assert AwsCredentials.of_json(b'{"AccessKeyId": "a", "SecretAccessKey": "s"}') == AwsCredentials(
        "a", "s", None
    )


@for_each(
    "data",
    [
        b"",
        b"SENTINEL",
        b"[]",
        b"7",
        b"null",
        b'{"AccessKeyId": "a"}',
        b'{"AccessKeyId": "", "SecretAccessKey": "s"}',
        b'{"AccessKeyId": 7, "SecretAccessKey": "s"}',
        b"[" * 100_000,
    ],
    ids=range(9),
)
def test_what_are_none(data: bytes) -> None:
    assert AwsCredentials.of_json(data) is None


def raising(error: Exception) -> NoReturn:
    raise error


@for_each(
    ("error", "detail"),
    [
        (
            EndpointRefused(GoogleError(403, "InvalidIdentityToken")),
            "X is set, and it answered 403 (InvalidIdentityToken)",
        ),
        (EndpointRefused(GoogleError(404)), "X is set, and it answered 404"),
        (
            TokenError("h answered 503", cause="endpoint_unavailable", fault=Fault.GOOGLE, remedy="Google's"),
            "X is set, and h answered 503",
        ),
    ],
)
def test_what_was_seen_is_told(error: Exception, detail: str) -> None:
    def ask() -> Response:
        raising(error)

    fails(
        lambda: asked(ask, "X is set", "Do it"),
        cause="aws_credentials",
        fault=Fault.OPERATOR,
        detail=f"no AWS credentials could be had: {detail}",
        remedy="Do it",
    )


@for_each("cause", ["aws_credentials", HOP_LIMIT])
def test_who_knew_better_is_believed(cause: str) -> None:
    def ask() -> Response:
        raising(no_credentials("better", "r", cause=cause))

    fails(
        lambda: asked(ask, "X is set", "Do it"),
        cause=cause,
        detail="no AWS credentials could be had: better",
        remedy="r",
    )


def test_an_answer() -> None:
    assert asked(lambda: Response(200, {}, b"it"), "X is set", "Do it") == b"it"
