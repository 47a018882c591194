from __future__ import annotations

from idtoken_proxy.engine.http1 import parse_request, parse_response
from idtoken_proxy.engine.retry import (
    after_no_answer,
    can_be_said_again,
    is_googles_refusal,
    refuses_in_grpc,
    with_another_token,
)
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.settings.model import Route, Scopes, Upstream
from tests.cases import for_each

GOOGLES = 'Bearer error="invalid_token" error_description="The access token could not be verified"'


RUN = Route("run", Upstream("https", "a.a.run.app", 443), "https://a.a.run.app")
API = Route("api", Upstream("https", "storage.googleapis.com", 443), None, scopes=Scopes())


def request(method: str = "GET", *fields: str) -> Request:
    return parse_request("\r\n".join([f"{method} / HTTP/1.1", "Host: localhost", *fields]).encode())


def answer(status: int = 401, *challenges: str) -> Response:
    fields = [f"WWW-Authenticate: {challenge}" for challenge in challenges]
    return parse_response("\r\n".join([f"HTTP/1.1 {status} X", *fields]).encode())


WITH_BODY = (
    ("Content-Length: 1",),
    ("Transfer-Encoding: chunked",),
    ("Connection: Upgrade", "Upgrade: websocket"),
)


@for_each("fields", WITH_BODY)
def test_what_is_not_kept_cannot_be_said_again(fields: tuple[str, ...]) -> None:
    asked = request("GET", *fields)
    assert not can_be_said_again(asked)
    assert not after_no_answer(asked)
    assert not with_another_token(asked, kept=False)


def test_a_body_that_was_kept_can_and_what_follows_an_upgrade_cannot() -> None:
    for fields in WITH_BODY[:2]:
        assert with_another_token(request("POST", *fields), kept=True)
    assert not with_another_token(request("GET", *WITH_BODY[2]), kept=True)


def test_an_empty_body_is_none() -> None:
    assert can_be_said_again(request("POST", "Content-Length: 0"))


@for_each(
    ("method", "again"),
    [
        *(("GET", True), ("HEAD", True), ("OPTIONS", True)),
        *(
            ("POST", False),
            ("PUT", False),
            ("PATCH", False),
            ("DELETE", False),
            ("get", False),
            ("PURGE", False),
        ),
    ],
)
def test_without_an_answer_only_what_changes_nothing(method: str, again: bool) -> None:  # noqa: FBT001
    """A receiver may have acted and died: a POST reaches it at most once."""
    assert after_no_answer(request(method)) is again


@for_each("method", ["GET", "POST", "DELETE"])
def test_after_google_s_401_any_method(method: str) -> None:
    assert with_another_token(request(method), kept=False)


def test_google_s_refusal_is_told_by_its_challenge() -> None:
    assert is_googles_refusal(answer(401, GOOGLES), None, RUN)
    assert is_googles_refusal(answer(401, "Basic realm=x", GOOGLES), None, RUN)


@for_each(
    "refusal",
    [
        answer(401),
        answer(401, "Bearer"),
        answer(401, 'Bearer error="insufficient_scope"'),
        answer(403, GOOGLES),
        answer(200, GOOGLES),
    ],
)
def test_any_other_refusal_is_the_app_s_affair(refusal: Response) -> None:
    assert not is_googles_refusal(refusal, b'{"error": {"status": "UNAUTHENTICATED"}}', RUN)


UNAUTHENTICATED = b"""{
  "error": {"code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED"}
}"""


@for_each(
    ("refusal", "body", "told"),
    [
        (answer(401, 'Bearer realm="https://accounts.google.com/", error="invalid_token"'), None, True),
        (answer(401, 'Bearer realm="https://accounts.google.com/", error=invalid_token'), b"<html>", True),
        (answer(401), UNAUTHENTICATED, True),
        (answer(401), b'{"error": "no"}', False),
        (answer(401, 'Bearer realm="https://us-docker.pkg.dev/v2/token",service="x"'), None, False),
        (answer(403), UNAUTHENTICATED, False),
        (answer(200), UNAUTHENTICATED, False),
    ],
)
def test_an_api_refuses_an_access_token_by_its_challenge_or_its_status(
    refusal: Response,
    body: bytes | None,
    told: bool,  # noqa: FBT001
) -> None:
    assert is_googles_refusal(refusal, body, API) is told


CALL = b"grpc-status: 16\r\n"
WORDS = b"grpc-message: The access token could not be verified\r\n"
CHALLENGE = f"www-authenticate: {GOOGLES}\r\n".encode()


@for_each(
    ("route", "lines", "told"),
    [
        (API, [CALL], True),
        (API, [b"grpc-status: 7\r\n"], False),
        (API, [b"grpc-status: 160\r\n"], False),
        (API, [], False),
        (RUN, [CALL], False),
        (RUN, [CALL, b"grpc-message: who are you?\r\n"], False),
        (RUN, [CALL, WORDS], True),
        (RUN, [CHALLENGE, CALL], True),
        (RUN, [WORDS], False),
    ],
)
def test_a_grpc_status_refuses_a_token_where_nobody_else_can_have_said_it(
    route: Route,
    lines: list[bytes],
    told: bool,  # noqa: FBT001
) -> None:
    assert refuses_in_grpc(lines, route) is told
    head = answer(200)
    head.passing = lines
    assert is_googles_refusal(head, b"", route) is told
    assert not is_googles_refusal(head, None, route)  # more is to come, so that it is no status of the whole
    head.status = 403
    assert not is_googles_refusal(head, b"", route)
