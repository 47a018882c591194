from __future__ import annotations

import json
from typing import Any

from idtoken_proxy.engine.local_responses import problem
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.refusal import Answered, Refused, refused
from tests.cases import for_each
from tests.mcp.conftest import ROUTE

PAGE = b"<html><title>403 Forbidden</title><h1>Error: Forbidden</h1>Your client does not have permission to get URL /mcp"


def error_of(refusal: Refused) -> dict[str, Any]:
    (message,) = messages.read(refusal.answer_to("own"))
    assert message.id == "own"
    return dict(message.body["error"])


TOKEN = IdToken("secret", "https://tools-abc-uc.a.run.app", 3600.0, 0.0, "me@p.iam.gserviceaccount.com")


def to(status: int, body: bytes = b"", path: str = "/mcp", **fields: str) -> Refused:
    named = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return refused(Answered(status, named, body), ROUTE, TOKEN, path, lambda: 0.0)


def test_the_proxy_s_own_503_keeps_its_words_and_its_remedy() -> None:
    lacking = TokenError(
        "gcloud has no login",
        cause="no_login",
        fault=Fault.OPERATOR,
        remedy="gcloud auth login",
        retry_after=5,
    )
    head, _, body = problem(lacking, ROUTE, head_only=False, closes=False).partition(b"\r\n\r\n")
    fields = tuple(tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")[1:])
    refusal = refused(Answered(503, fields, body), ROUTE, None, "/mcp")  # type: ignore[arg-type]  # pairs
    told = error_of(refusal)
    assert told["message"] == "idtoken-proxy: No ID token: gcloud has no login. To mend it: gcloud auth login"
    assert told["data"] == {"cause": "no_login", "httpStatus": 503, "remedy": "gcloud auth login"}


def test_google_s_refusal_names_the_role() -> None:
    told = error_of(to(403, PAGE, Server="Google Frontend", Content_Type="text/html"))
    assert told["data"]["cause"] == "no_invoker"
    assert "--member=serviceAccount:me@p.iam.gserviceaccount.com --role=roles/run.invoker" in told["message"]
    assert "secret" not in str(told)
    assert ROUTE.upstream.host in told["message"]


def test_google_s_401_is_explained() -> None:
    told = error_of(
        to(
            401,
            Server="Google Frontend",
            WWW_Authenticate='Bearer error="invalid_token" error_description="x"',
        )
    )
    assert told["data"]["httpStatus"] == 401
    assert told["data"]["remedy"]


def test_the_server_s_own_error_is_passed_on_by_the_request_s_id() -> None:
    body = json.dumps(
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no", "data": [1]}}
    ).encode()
    assert error_of(to(400, body)) == {"code": -32602, "message": "no", "data": [1]}


def test_anything_else_is_quoted_briefly_and_cannot_speak_to_a_terminal() -> None:
    told = error_of(to(500, b"Traceback \x1b[2J" + b"x" * 1000, Content_Type="text/plain"))
    assert told["message"].startswith(
        "idtoken-proxy: the MCP server answers 500 Internal Server Error: Traceback \\x1b[2Jx"
    )
    assert len(told["message"]) < 500
    assert error_of(to(599))["message"] == "idtoken-proxy: the MCP server answers 599"


@for_each(("path", "remedy"), [("/", "often /mcp"), ("/sse", "/sse is the server's MCP endpoint")])
def test_a_404_doubts_the_path(path: str, remedy: str) -> None:
    assert remedy in error_of(to(404, path=path))["message"]


def test_a_problem_of_somebody_else_is_not_ours() -> None:
    said = {"Proxy_Status": "other-proxy; error=x", "Content_Type": "application/problem+json"}
    assert to(502, b'{"title": "a"}', **said).cause == "mcp_server"
    ours = {"Proxy_Status": "idtoken-proxy; error=x", "Content_Type": "application/problem+json"}
    assert to(502, b"cut", **ours).cause == "mcp_server"
