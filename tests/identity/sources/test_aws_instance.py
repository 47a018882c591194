from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import transport
from idtoken_proxy.identity.sources.aws_credentials import AwsCredentials
from idtoken_proxy.identity.sources.aws_instance import Instance
from idtoken_proxy.identity.sources.transport import Transport
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import fails

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
ROLES = "/iam/security-credentials"
GIVEN = json.dumps({"AccessKeyId": "a", "SecretAccessKey": "SENTINEL", "Token": "t"}).encode()


class Imds:
    """As an instance answers, but for what `changed` says instead, by path."""

    def __init__(self, **changed: Answer) -> None:
        self._changed = changed

    def __call__(self, received: Received) -> Answer:
        if received.path == "/token":
            assert received.method == "PUT"
            assert received.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "300"
            return self._changed.get("session", Answer(body=b"session"))
        assert received.headers["X-aws-ec2-metadata-token"] == "session"
        if received.path == "/zone":
            return self._changed.get("zone", Answer(body=b"eu-west-1a"))
        if received.path == ROLES:
            return self._changed.get("role", Answer(body=b"web\n"))
        assert received.path == f"{ROLES}/web"
        return self._changed.get("credentials", Answer(body=GIVEN))


def urls(base: str, *without: str) -> dict[str, str]:
    named = {
        "region_url": f"{base}/zone",
        "url": base + ROLES,
        "imdsv2_session_token_url": f"{base}/token",
    }
    return {key: url for key, url in named.items() if key not in without}


def test_one_session_for_all(http_endpoint: Serve) -> None:
    server = http_endpoint(Imds())
    with Transport() as asking:
        instance = Instance(urls(server.url), asking)
        assert instance.zone() == "eu-west-1a"
        assert instance.credentials() == AwsCredentials("a", "SENTINEL", "t")
    assert [received.path for received in server.received] == ["/token", "/zone", ROLES, f"{ROLES}/web"]


def test_without_a_session(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(body=b"eu-west-1a"))
    with Transport() as asking:
        assert Instance(urls(server.url, "imdsv2_session_token_url"), asking).zone() == "eu-west-1a"
    assert "X-aws-ec2-metadata-token" not in server.received[0].headers


def none(base: str, *without: str) -> TokenError:
    with Transport() as asking:
        return fails(Instance(urls(base, *without), asking).credentials, fault=Fault.OPERATOR)


@for_each(
    ("changed", "detail", "remedy"),
    [
        ({"role": Answer(404)}, "the instance ({}) has no role attached", "associate-iam-instance-profile"),
        ({"role": Answer()}, "the instance ({}) has no role attached", "associate-iam-instance-profile"),
        ({"role": Answer(body=b"<html>/SENTINEL")}, "the instance ({}) has no role attached", "associate"),
        (
            {"credentials": Answer(body=b"SENTINEL")},
            "the instance ({}) has none of its role web",
            "associate-iam-instance-profile",
        ),
        (
            {"credentials": Answer(404)},
            "asked the instance's metadata service ({}), and it answered 404",
            "associate-iam-instance-profile",
        ),
        (
            {"session": Answer(403, b"SENTINEL")},
            "asked the instance for a session (IMDSv2, {}), and it answered 403",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        ({"session": Answer(body=b"a\nb")}, "what {} gave for a session (IMDSv2) is none", "AWS_REGION"),
        ({"session": Answer(503)}, "asked the instance for a session (IMDSv2, {}), and {} answered 503", ""),
    ],
    ids=range(8),
)
def test_none_to_be_had(http_endpoint: Serve, changed: dict[str, Answer], detail: str, remedy: str) -> None:
    server = http_endpoint(Imds(**changed))
    error = none(server.url)
    assert error.cause == "aws_credentials"
    assert error.detail == "no AWS credentials could be had: " + detail.replace("{}", server.host)
    assert remedy in (error.remedy or "")


def test_the_file_does_not_say_where() -> None:
    assert "neither a variable of AWS nor the credential file's url" in none("x", "url").detail
    with Transport() as asking:
        assert Instance({}, asking).zone() is None


def test_nobody_there() -> None:
    error = none("http://127.0.0.1:1")
    assert error.cause == "aws_credentials"
    assert "127.0.0.1:1 cannot be reached" in error.detail
    assert "none of them is set here" in (error.remedy or "")


def test_the_hop_limit_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PUT is taken, and its answer never comes."""
    monkeypatch.setattr(transport, "READ_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        error = none(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert error.cause == "aws_hop_limit"
    assert "its hop limit of 1 keeps the answer away" in error.detail
    assert (error.remedy or "").startswith(
        "aws ec2 modify-instance-metadata-options --instance-id INSTANCE --http-put-response-hop-limit 2;"
    )


def test_what_hangs_without_a_session_is_no_hop_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "READ_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        error = none(f"http://127.0.0.1:{listening.getsockname()[1]}", "imdsv2_session_token_url")
    assert error.cause == "aws_credentials"
    assert "did not answer in time" in error.detail
