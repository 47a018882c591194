from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.federation import Federation
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import Google, fails, write

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
PROVIDER = (
    "//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/my-pool/providers/my-provider"
)
WORKFORCE = "//iam.googleapis.com/locations/global/workforcePools/my-pool/providers/my-provider"
PROVIDERS = "gcloud iam workload-identity-pools providers"
IN_POOL = "my-provider --location=global --workload-identity-pool=my-pool"


def federation(
    path: Path, credential_source: object, sts: str | None = "http://127.0.0.1:1", **more: Any
) -> Federation:
    content = {
        "type": "external_account",
        "audience": PROVIDER,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "http://127.0.0.1:1/v1/token",
        "credential_source": credential_source,
        **more,
    }
    return Federation(CredentialFile(str(write(path, content))), sts, {})


@pytest.fixture
def token_file(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text("SENTINEL-subject")
    return {"file": f"{tmp_path}/token"}


@pytest.mark.parametrize(
    ("path", "asked"), [("", "/v1/token"), ("/", "/v1/token"), ("/private/token", "/private/token")]
)
def test_the_exchange(
    http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str], path: str, asked: str
) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"access_token": "SENTINEL", "expires_in": 3600}'))
    sts = federation(tmp_path / "f", token_file, server.url + path)
    assert sts.member() is None
    assert sts.access_token().value == "SENTINEL"
    (received,) = server.received  # one request: the Resource Manager is not asked
    assert (received.method, received.path) == ("POST", asked)
    assert urllib.parse.parse_qs(received.body.decode()) == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "audience": [PROVIDER],
        "scope": ["https://www.googleapis.com/auth/cloud-platform"],
        "requested_token_type": ["urn:ietf:params:oauth:token-type:access_token"],
        "subject_token": ["SENTINEL-subject"],
        "subject_token_type": ["urn:ietf:params:oauth:token-type:jwt"],
    }
    assert sts.member() == (
        "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/my-pool/*"
    )


def test_the_file_s_own_endpoint(http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str]) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"access_token": "a", "expires_in": "3600"}'))
    federation(tmp_path / "f", token_file, None, token_url=server.url + "/here").access_token()
    assert server.received[0].path == "/here"


@pytest.mark.parametrize(
    ("audience", "member"),
    [
        (WORKFORCE, "principalSet://iam.googleapis.com/locations/global/workforcePools/my-pool/*"),
        ("elsewhere", None),
    ],
)
def test_how_iam_names_it(
    tmp_path: Path, token_file: dict[str, str], audience: str, member: str | None
) -> None:
    sts = federation(tmp_path / "f", token_file, audience=audience)
    sts.read()
    assert sts.member() == member


def refusing(http_endpoint: Serve, **answer: str) -> HttpEndpoint:
    return http_endpoint(lambda _: Answer(400, json.dumps({**answer, "x": "SENTINEL"}).encode()))


def test_a_subject_token_that_is_not_taken(
    http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str]
) -> None:
    server = refusing(http_endpoint, error="invalid_grant", error_description="The audience does not match.")
    fails(
        federation(tmp_path / "f", token_file, server.url).access_token,
        cause="sts_refused",
        fault=Fault.OPERATOR,
        detail=f"STS refused the subject token from the file {tmp_path}/token "
        "(invalid_grant: The audience does not match.)",
        remedy=f"Compare the token of the file {tmp_path}/token with the provider's issuer, allowed audiences and "
        f"attribute condition: {PROVIDERS} describe {IN_POOL} --project=42; and check this machine's clock (date -u)",
        log_detail="status 400",
    )
    assert len(server.received) == 1


def test_a_reason_of_googles_is_no_mistaken_provider(
    http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str]
) -> None:
    message = "Denied by constraints/iam.workloadIdentityPoolProviders."
    error = {"code": 403, "status": "PERMISSION_DENIED", "message": message}
    server = http_endpoint(lambda _: Answer(403, json.dumps({"error": error}).encode()))
    got = fails(
        federation(tmp_path / "f", token_file, server.url).access_token,
        cause="organization_policy",
        fault=Fault.OPERATOR,
    )
    assert message in got.detail
    assert "gcloud org-policies describe iam.workloadIdentityPoolProviders --effective --project=42" in (
        got.remedy or ""
    )


def test_what_is_no_answer_of_sts(http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str]) -> None:
    server = http_endpoint(lambda _: Answer(403, b"<h1>SENTINEL</h1>"))
    got = fails(federation(tmp_path / "f", token_file, server.url).access_token, cause="sts_refused")
    assert "no answer of STS" in (got.remedy or "")


@pytest.mark.parametrize(
    ("audience", "where"),
    [
        (PROVIDER, f"{IN_POOL} --project=42"),
        ("x", IN_POOL.replace("my-provider", "PROVIDER").replace("my-pool", "POOL")),
        ("x/providers", IN_POOL.replace("my-provider", "PROVIDER").replace("my-pool", "POOL")),
    ],
)
def test_a_pool_that_is_gone(
    http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str], audience: str, where: str
) -> None:
    server = refusing(http_endpoint, error="invalid_target")
    fails(
        federation(tmp_path / "f", token_file, server.url, audience=audience).access_token,
        cause="sts_refused",
        remedy=f"The pool or provider {audience} is missing, disabled or deleted. See: {PROVIDERS} describe {where}; deleted "
        f"within 30 days: {PROVIDERS} undelete {where}; disabled: {PROVIDERS} update-oidc {where} --no-disabled",
    )


async def test_as_google_says_it(google: Google, tmp_path: Path, token_file: dict[str, str]) -> None:
    google.emulator.break_with("pool-gone")
    sts = federation(tmp_path / "f", token_file, google.emulator.sts_endpoint)
    error = await asyncio.to_thread(fails, sts.access_token, cause="sts_refused")
    assert "(invalid_target: The target service indicated by the" in error.detail


@pytest.mark.parametrize("body", [b"SENTINEL", b"{}", b"[]"], ids=range(3))
def test_sts_answers_garbage(
    http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str], body: bytes
) -> None:
    server = http_endpoint(lambda _: Answer(body=body))
    fails(
        federation(tmp_path / "f", token_file, server.url).access_token,
        cause="garbage",
        fault=Fault.GOOGLE,
        detail="the answer of STS holds no token",
    )


def test_sts_cannot_be_reached(tmp_path: Path, token_file: dict[str, str]) -> None:
    fails(federation(tmp_path / "f", token_file).access_token, cause="endpoint_unreachable")


AWS = {"subject_token_type": "urn:ietf:params:aws:token-type:aws4_request"}


@pytest.mark.parametrize(
    ("source", "more", "detail"),
    [
        ({"file": "/nonexistent/t"}, {}, "the file /nonexistent/t: it does not exist"),
        ({"file": "/dev/null/"}, {}, "the file /dev/null/: it does not exist"),
        ({"certificate": {}}, {}, "the client certificate: it is missing or malformed"),
    ],
)
def test_no_subject_token(tmp_path: Path, source: Any, more: dict[str, Any], detail: str) -> None:
    error = fails(
        federation(tmp_path / "f", source, **more).access_token,
        cause="subject_token",
        fault=Fault.OPERATOR,
        detail=f"no subject token could be had from {detail}",
    )
    assert error.remedy == f"See that {detail.partition(':')[0]} gives this workload a token"


@pytest.mark.parametrize(
    ("answer", "cause", "why"),
    [
        (Answer(401, b"SENTINEL"), "subject_token", "{} answered 401"),
        (Answer(200, b"SENTINEL"), "subject_token", "it is missing or malformed"),
        (Answer(200, b'{"other": "SENTINEL"}'), "subject_token", "it is missing or malformed"),
    ],
)
def test_a_url_that_gives_none(
    http_endpoint: Serve, tmp_path: Path, answer: Answer, cause: str, why: str
) -> None:
    server = http_endpoint(lambda _: answer)
    source = {
        "url": server.url + "/x?secret=SENTINEL",
        "format": {"type": "json", "subject_token_field_name": "value"},
    }
    fails(
        federation(tmp_path / "f", source).access_token,
        cause=cause,
        detail=f"no subject token could be had from {server.host}: {why.format(server.host)}",
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(503), "{} answered 503"),
        (Answer(429), "{} answered 429 (unknown)"),
        (None, "{} cannot be reached"),
    ],
    ids=range(3),
)
def test_a_url_that_is_down_is_not_google_s_fault(
    http_endpoint: Serve, tmp_path: Path, answer: Answer | None, why: str
) -> None:
    server = http_endpoint(lambda _: answer or Answer())
    host = server.host if answer else "127.0.0.1:1"
    fails(
        federation(tmp_path / "f", {"url": f"http://{host}/"}).access_token,
        cause="subject_token",
        fault=Fault.OPERATOR,
        detail=f"no subject token could be had from {host}: {why.format(host)}",
        remedy=f"See that {host} gives this workload a token",
    )


def test_sts_that_is_down_is_google_s(
    http_endpoint: Serve, tmp_path: Path, token_file: dict[str, str]
) -> None:
    server = http_endpoint(lambda _: Answer(503))
    fails(
        federation(tmp_path / "f", token_file, server.url).access_token,
        cause="endpoint_unavailable",
        fault=Fault.GOOGLE,
    )


@for_each(
    ("more", "detail"),
    [
        (
            {"type": "authorized_user"},
            "holds a credential of type 'authorized_user', not a workload identity",
        ),
        ({"audience": None, "token_url": ""}, "lacks audience, token_url"),
        ({"credential_source": None}, "lacks credential_source"),
        ({"credential_source": "x"}, "lacks credential_source"),
        ({"credential_source": {"file": 7}}, "has a credential_source whose file is no text"),
        ({"credential_source": {"url": 7}}, "has a credential_source whose url is no text"),
        (
            {"credential_source": {}},
            "has a credential_source that names no certificate, executable, file, url",
        ),
        (
            {"credential_source": {"environment_id": "aws1"}},
            "has a credential_source that names no certificate, executable, file, url; an AWS source wants",
        ),
        ({"credential_source": {}, **AWS}, "has a credential_source whose environment_id is not aws1"),
    ],
)
def test_a_broken_file(tmp_path: Path, more: dict[str, Any], detail: str) -> None:
    error = fails(
        federation(tmp_path / "f", **{"credential_source": {"file": "x"}, **more}).access_token,
        cause="credential_file_invalid",
    )
    assert error.detail.startswith(f"the credential file {tmp_path}/f {detail}")
