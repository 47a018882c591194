"""The emulator's STS checks each signature, as AWS does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.aws import AwsWorkload
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.external_account import ExternalAccountSource
from idtoken_proxy.identity.sources.transport import Transport
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import AMAZON, TARGET, Google, fails, write

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
AWS: Any = AMAZON.trusts
GIVEN = {
    "AccessKeyId": AWS.access_key_id,
    "SecretAccessKey": AWS.secret_access_key,
    "Token": AWS.session_token,
}
KEYS = {
    "AWS_ACCESS_KEY_ID": AWS.access_key_id,
    "AWS_SECRET_ACCESS_KEY": AWS.secret_access_key,
    "AWS_SESSION_TOKEN": AWS.session_token,
}
AWAY = {"AWS_REGION": AWS.region}


def federated(google: Google, path: Path, environ: dict[str, str], *without: str) -> ExternalAccountSource:
    content = google.emulator.external_account(AMAZON.name, "aws", impersonate=TARGET.email)
    source: Any = content["credential_source"]
    for key in without:
        source.pop(key)
    return ExternalAccountSource(CredentialFile(str(write(path, content))), google.endpoints, environ)


NO_INSTANCE = ("region_url", "url", "imdsv2_session_token_url")


async def test_the_instance_s_role(google: Google, tmp_path: Path) -> None:
    await google.accepts(federated(google, tmp_path / "f", {}), email=TARGET.email)


async def test_the_environment_s_keys(google: Google, tmp_path: Path) -> None:
    source = federated(google, tmp_path / "f", KEYS | AWAY, *NO_INSTANCE)
    await google.accepts(source, email=TARGET.email)


async def test_a_container_s_role(google: Google, tmp_path: Path, http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(body=json.dumps(GIVEN).encode()))
    environ = AWAY | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url}
    await google.accepts(federated(google, tmp_path / "f", environ, *NO_INSTANCE), email=TARGET.email)
    assert len(server.received) == 1


async def test_a_pod_s_role(google: Google, tmp_path: Path, http_endpoint: Serve) -> None:
    fields = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in zip(
            ("AccessKeyId", "SecretAccessKey", "SessionToken"), GIVEN.values(), strict=True
        )
    )
    server = http_endpoint(lambda _: Answer(body=f"<Credentials>{fields}</Credentials>".encode()))
    (tmp_path / "token").write_text("jwt")
    environ = AWAY | {
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{tmp_path}/token",
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/web",
        "AWS_ENDPOINT_URL_STS": server.url,
        # As AWS's own SDKs do, it goes before the container's.
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
    }
    await google.accepts(federated(google, tmp_path / "f", environ, *NO_INSTANCE), email=TARGET.email)


async def test_the_region_may_be_the_instance_s_where_the_keys_are_not(
    google: Google, tmp_path: Path
) -> None:
    await google.accepts(federated(google, tmp_path / "f", KEYS), email=TARGET.email)


async def test_a_role_that_the_provider_does_not_know(google: Google, tmp_path: Path) -> None:
    environ = AWAY | KEYS | {"AWS_SECRET_ACCESS_KEY": "another"}
    source = federated(google, tmp_path / "f", environ, *NO_INSTANCE)
    error = await asyncio.to_thread(fails, source.access_token, cause="sts_refused")
    assert "from AWS" in error.detail


def workload(environ: dict[str, str], tmp_path: Path, **changed: object) -> AwsWorkload:
    source = {
        "environment_id": "aws1",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
        **changed,
    }
    info = {"audience": "//iam.googleapis.com/x", "credential_source": source}
    return AwsWorkload.of(CredentialFile(str(write(tmp_path / "f", info))), info, environ)


def token(environ: dict[str, str], tmp_path: Path, **changed: object) -> str:
    with Transport() as transport:
        return workload(environ, tmp_path, **changed).subject_token(transport)


@pytest.mark.parametrize(
    ("present", "absent"), [("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"), ("SECRET_ACCESS_KEY", "ACCESS_KEY_ID")]
)
def test_half_a_key(tmp_path: Path, present: str, absent: str) -> None:
    fails(
        lambda: token(AWAY | {f"AWS_{present}": "SENTINEL"}, tmp_path),
        cause="aws_credentials",
        fault=Fault.OPERATOR,
        detail=f"no AWS credentials could be had: AWS_{present} is set and AWS_{absent} is not",
        remedy=f"Set AWS_{absent} too, or unset AWS_{present}",
    )


@for_each("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
@for_each("region", ["SENTINEL", "evil.example/", "eu-west-1\n", "eu-west-1.evil"])
def test_a_region_that_is_none(tmp_path: Path, variable: str, region: str) -> None:
    """It becomes a part of the host that gets the token."""
    error = fails(lambda: token({variable: region}, tmp_path), cause="aws_region", fault=Fault.OPERATOR)
    assert error.detail == f"{variable} holds what is no region of AWS"


@pytest.mark.parametrize("region", ["us-gov-east-1", "ap-southeast-2", "cn-north-1", "us-iso-east-1"])
def test_regions(tmp_path: Path, region: str) -> None:
    assert f"sts.{region}.amazonaws.com" in token(KEYS | {"AWS_REGION": region}, tmp_path)


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        (b"us-east-2b", "us-east-2"),
        (b"us-west-2-lax-1a\n", "us-west-2"),
        (b"us-gov-west-1a", "us-gov-west-1"),
    ],
)
def test_the_region_of_a_zone(tmp_path: Path, http_endpoint: Serve, zone: bytes, region: str) -> None:
    server = http_endpoint(lambda _: Answer(body=zone))
    assert f"sts.{region}.amazonaws.com" in token(KEYS, tmp_path, region_url=server.url)


def test_no_region(tmp_path: Path, http_endpoint: Serve) -> None:
    error = fails(lambda: token(KEYS, tmp_path), cause="aws_region")
    assert error.detail.endswith("the credential file has no region_url")
    server = http_endpoint(lambda _: Answer(body=b"<html>SENTINEL"))
    error = fails(lambda: token(KEYS, tmp_path, region_url=server.url), cause="aws_region")
    assert error.detail.endswith("the instance names none")
    assert error.remedy == "Set AWS_REGION to the region that the workload runs in"


@pytest.mark.parametrize(
    "environ",
    [
        KEYS,
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost/x"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"},
    ],
    ids=range(4),
)
def test_who_needs_no_instance_is_told_of_the_region_alone(tmp_path: Path, environ: dict[str, str]) -> None:
    url = "http://127.0.0.1:1/zone"
    error = fails(lambda: token(environ, tmp_path, region_url=url), cause="aws_region", fault=Fault.OPERATOR)
    assert "127.0.0.1:1 cannot be reached" in error.detail
    assert error.remedy == "Set AWS_REGION to the region that the workload runs in"


def test_who_has_nothing_is_told_of_all(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/zone"
    error = fails(lambda: token({}, tmp_path, region_url=url), cause="aws_credentials")
    assert "none of them is set here" in (error.remedy or "")


@for_each(
    ("changed", "what"),
    [
        ({"environment_id": "aws2"}, "whose environment_id is not aws1"),
        ({"environment_id": None}, "whose environment_id is not aws1"),
        ({"regional_cred_verification_url": ""}, "without regional_cred_verification_url"),
        ({"regional_cred_verification_url": 7}, "without regional_cred_verification_url"),
        ({"url": 7}, "whose url is no text"),
        ({"imdsv2_session_token_url": ["SENTINEL"]}, "whose imdsv2_session_token_url is no text"),
    ],
    ids=range(6),
)
def test_a_file_that_describes_none(tmp_path: Path, changed: dict[str, object], what: str) -> None:
    error = fails(lambda: workload({}, tmp_path, **changed), cause="credential_file_invalid")
    assert error.detail == f"the credential file {tmp_path}/f has a credential_source {what}"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    assert "SENTINEL" not in repr(workload({"AWS_SECRET_ACCESS_KEY": "SENTINEL"}, tmp_path))
