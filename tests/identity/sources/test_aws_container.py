from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.aws_container import asks_container, container_credentials, read_token
from idtoken_proxy.identity.sources.aws_credentials import AwsCredentials
from idtoken_proxy.identity.sources.transport import Transport
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import fails

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
GIVEN = json.dumps({"AccessKeyId": "a", "SecretAccessKey": "SENTINEL", "Token": "t"}).encode()


def given(_: Received) -> Answer:
    return Answer(body=GIVEN)


def credentials(environ: dict[str, str], ecs: str = "http://127.0.0.1:1") -> AwsCredentials:
    with Transport() as transport:
        return container_credentials(environ, transport, ecs)


def test_who_asks() -> None:
    assert not asks_container({})
    assert not asks_container({RELATIVE: ""})
    assert asks_container({RELATIVE: "/x"})
    assert asks_container({FULL: "http://localhost/x"})


def test_ecs(http_endpoint: Serve) -> None:
    server = http_endpoint(given)
    environ = {RELATIVE: "/v2/credentials/uuid?x=1", FULL: "http://127.0.0.1:1"}  # which goes second
    assert credentials(environ, server.url) == AwsCredentials("a", "SENTINEL", "t")
    assert [received.path for received in server.received] == ["/v2/credentials/uuid?x=1"]
    assert "Authorization" not in server.received[0].headers


def test_pod_identity(http_endpoint: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # which what is near never goes through
    server = http_endpoint(given)
    (tmp_path / "token").write_text("one\n")
    environ = {FULL: f"{server.url}/v1/credentials", TOKEN_FILE: f"{tmp_path}/token", TOKEN: "other"}
    assert credentials(environ).access_key_id == "a"
    (tmp_path / "token").write_text("two")  # as the kubelet renews it
    credentials(environ)
    assert [received.headers["Authorization"] for received in server.received] == ["one", "two"]


def test_the_token_itself(http_endpoint: Serve) -> None:
    server = http_endpoint(given)
    credentials({FULL: server.url, TOKEN: "Basic abc"})
    assert server.received[0].headers["Authorization"] == "Basic abc"


@for_each(
    ("answer", "why"),
    [
        (Answer(403, b"SENTINEL"), "and it answered 403"),
        (Answer(404), "and it answered 404"),
        (Answer(503), "and {} answered 503"),
        (Answer(200, b"SENTINEL"), "and what it answered holds none"),
    ],
    ids=range(4),
)
@for_each(("kind", "remedy"), [("ecs", "taskRoleArn"), ("eks", "list-pod-identity-associations")])
def test_none(http_endpoint: Serve, answer: Answer, why: str, kind: str, remedy: str) -> None:
    server = http_endpoint(lambda _: answer)
    environ = {RELATIVE: "/x"} if kind == "ecs" else {FULL: server.url}
    variable = f"{RELATIVE} is set (ECS, Fargate)" if kind == "ecs" else f"{FULL} is set (EKS Pod Identity)"
    error = fails(
        lambda: credentials(environ, server.url),
        cause="aws_credentials",
        fault=Fault.OPERATOR,
        detail=f"no AWS credentials could be had: {variable}: asked {server.host}, {why.format(server.host)}",
    )
    assert remedy in (error.remedy or "")


@for_each(
    "url",
    [
        "http://example.com/x",
        "http://169.254.169.254/x",  # the instance, which takes no token
        "http://127.0.0.1.example.com/",
        "http://[::2]/",
        "http://169.254.170.2.example.com/",
    ],
)
def test_no_token_goes_in_cleartext_to_a_stranger(url: str) -> None:
    error = fails(lambda: credentials({FULL: url, TOKEN: "SENTINEL"}), cause="aws_credentials")
    assert "would be read on the way" in error.detail


@for_each("url", ["nonsense", "ftp://localhost/", "http://", "http://[::1", "http://SENTINEL@localhost/"])
def test_a_url_that_is_none(url: str) -> None:
    error = fails(lambda: credentials({FULL: url}), cause="aws_credentials")
    assert error.detail.endswith(f"{FULL} is set and is no URL")


@for_each("url", ["http://[::1]:1/", "https://localhost:1/", "http://localhost:1/", "http://127.9.9.9:1/"])
def test_what_may_be_asked(url: str) -> None:
    assert "cannot be reached" in fails(lambda: credentials({FULL: url}), cause="aws_credentials").detail


def test_a_relative_uri_that_is_none() -> None:
    error = fails(lambda: credentials({RELATIVE: "@SENTINEL/x"}), cause="aws_credentials")
    assert error.detail.endswith(f"{RELATIVE} is set and begins with no /")


@pytest.mark.parametrize("token", ["a\r\nX: SENTINEL", "a\nSENTINEL"])
def test_a_token_that_would_be_a_field(http_endpoint: Serve, tmp_path: Path, token: str) -> None:
    server = http_endpoint(given)
    (tmp_path / "t").write_text(token)
    for environ in ({TOKEN: token}, {TOKEN_FILE: f"{tmp_path}/t"}):
        error = fails(lambda said=environ: credentials({FULL: server.url, **said}), cause="aws_credentials")
        assert "a line break in it" in error.detail
    assert server.received == []


def test_a_token_s_file(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(" SENTINEL \n")
    assert read_token("V", str(path)) == "SENTINEL"
    for content, what in ((b"", "is empty"), (b" \n", "is empty"), (b"\xff", "cannot be read")):
        path.write_bytes(content)
        error = fails(lambda: read_token("V", str(path)), cause="aws_credentials")
        assert error.detail == f"no AWS credentials could be had: V is set, and the file {path} {what}"
    path.unlink()
    assert "cannot be read" in fails(lambda: read_token("V", str(path))).detail


def test_the_token_in_place_of_its_path() -> None:
    error = fails(
        lambda: read_token("V", "eyJhbGciOiJSUzI1NiJ9.eyJhIjoiU0VOVElORUwifQ.c2ln"), cause="aws_credentials"
    )
    assert error.remedy == "Set V to the path of the token's file"
