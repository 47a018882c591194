from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.aws_credentials import AwsCredentials
from idtoken_proxy.identity.sources.aws_web_identity import (
    asks_web_identity,
    sts_endpoint,
    web_identity_credentials,
)
from idtoken_proxy.identity.sources.transport import Transport
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import fails

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
ROLE = "arn:aws:iam::123456789012:role/path/web"
GIVEN = b"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:n:a</SubjectFromWebIdentityToken>
    <Credentials>
      <SessionToken>t/+=&amp;</SessionToken>
      <SecretAccessKey>SENTINEL</SecretAccessKey>
      <Expiration>2026-11-29T03:00:00Z</Expiration>
      <AccessKeyId>a</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text("SENTINEL-jwt\n")
    return {"AWS_WEB_IDENTITY_TOKEN_FILE": f"{tmp_path}/token", "AWS_ROLE_ARN": ROLE}


def credentials(environ: dict[str, str]) -> AwsCredentials:
    with Transport() as transport:
        return web_identity_credentials(environ, "eu-west-1", transport)


def test_who_asks() -> None:
    assert not asks_web_identity({"AWS_ROLE_ARN": ROLE})
    assert asks_web_identity({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"})


@pytest.mark.parametrize(
    ("named", "name"), [(None, "idtoken-proxy"), ("pod-7", "pod-7"), ("a b", "idtoken-proxy")]
)
def test_the_one_call(http_endpoint: Serve, environ: dict[str, str], named: str | None, name: str) -> None:
    server = http_endpoint(lambda _: Answer(body=GIVEN))
    more = {"AWS_ENDPOINT_URL_STS": server.url} | ({"AWS_ROLE_SESSION_NAME": named} if named else {})
    assert credentials(environ | more) == AwsCredentials("a", "SENTINEL", "t/+=&")
    (received,) = server.received
    assert (received.method, "Authorization" in received.headers) == ("POST", False)
    assert urllib.parse.parse_qs(received.body.decode()) == {
        "Action": ["AssumeRoleWithWebIdentity"],
        "Version": ["2011-06-15"],
        "RoleArn": [ROLE],
        "RoleSessionName": [name],
        "WebIdentityToken": ["SENTINEL-jwt"],
    }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            Answer(
                400,
                b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>SENTINEL</Message></Error></ErrorResponse>",
            ),
            "and it answered 400 (InvalidIdentityToken)",
        ),
        (Answer(403, b"SENTINEL"), "and it answered 403"),
        (Answer(500), "and {} answered 500"),
        (Answer(200, b"<x>SENTINEL</x>"), "and what it answered holds none"),
    ],
    ids=range(4),
)
def test_none(http_endpoint: Serve, environ: dict[str, str], answer: Answer, why: str) -> None:
    server = http_endpoint(lambda _: answer)
    fails(
        lambda: credentials(environ | {"AWS_ENDPOINT_URL_STS": server.url}),
        cause="aws_credentials",
        fault=Fault.OPERATOR,
        detail="no AWS credentials could be had: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are set (EKS: IRSA): asked "
        f"{server.host} for {ROLE}, {why.format(server.host)}",
        remedy="See that the role trusts the cluster's OIDC provider and this service account: aws iam get-role --role-name "
        "web --query Role.AssumeRolePolicyDocument",
    )


def test_a_pod_without_a_role(environ: dict[str, str]) -> None:
    del environ["AWS_ROLE_ARN"]
    error = fails(lambda: credentials(environ), cause="aws_credentials")
    assert "AWS_WEB_IDENTITY_TOKEN_FILE is set (EKS: IRSA) and AWS_ROLE_ARN is not" in error.detail
    assert "eks.amazonaws.com/role-arn=ARN" in (error.remedy or "")


@pytest.mark.parametrize("role", ["SENTINEL", "arn:aws:iam::1:role/x", ROLE + "\n", ROLE + "&Action=x"])
def test_a_role_that_is_none(environ: dict[str, str], role: str) -> None:
    error = fails(lambda: credentials(environ | {"AWS_ROLE_ARN": role}), cause="aws_credentials")
    assert error.detail.endswith("AWS_ROLE_ARN holds what is no role's ARN")


def test_a_token_that_is_not_there(environ: dict[str, str]) -> None:
    error = fails(
        lambda: credentials(environ | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/t"}), cause="aws_credentials"
    )
    assert "AWS_WEB_IDENTITY_TOKEN_FILE is set, and the file /nowhere/t cannot be read" in error.detail


@for_each(
    ("said", "region", "url"),
    [
        ({}, "eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
        ({}, "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
        ({"AWS_ENDPOINT_URL": "https://b.example"}, "eu-west-1", "https://b.example"),
        (
            {"AWS_ENDPOINT_URL": "https://b.example", "AWS_ENDPOINT_URL_STS": "https://a.example"},
            "eu-west-1",
            "https://a.example",
        ),
        ({"AWS_ENDPOINT_URL_STS": "http://localhost:4566"}, "eu-west-1", "http://localhost:4566"),
    ],
)
def test_whom_it_asks(said: dict[str, str], region: str, url: str) -> None:
    assert sts_endpoint(said, region) == url


@for_each("url", ["SENTINEL", "http://sts.example", "https://SENTINEL@sts.example", "https://[::1"])
def test_no_token_goes_elsewhere(url: str) -> None:
    error = fails(lambda: sts_endpoint({"AWS_ENDPOINT_URL_STS": url}, "eu-west-1"), cause="aws_credentials")
    assert error.detail.endswith("AWS_ENDPOINT_URL_STS is set and is no https:// URL")
