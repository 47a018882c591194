from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from idtoken_proxy.emulator.world import Account
from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.iam_credentials import IamCredentials
from idtoken_proxy.identity.sources.impersonated import ImpersonatedSource
from idtoken_proxy.identity.sources.workforce import WorkforceSource
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import CALLER, TARGET, Google, fails, write

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
LOGIN = {
    "type": "external_account_authorized_user",
    "audience": "//iam.googleapis.com/locations/global/workforcePools/my-pool/providers/my-provider",
    "client_id": "c",
    "client_secret": "SENTINEL-secret",
    "refresh_token": "SENTINEL-refresh",
    "token_url": "http://127.0.0.1:1/v1/oauthtoken",
}
REMEDY = "gcloud auth application-default login --login-config=LOGIN_CONFIG_FILE"


def workforce(path: Path, sts: str | None = None, **more: Any) -> WorkforceSource:
    return WorkforceSource(CredentialFile(str(write(path, {**LOGIN, **more}))), sts)


def granting(**more: str) -> Answer:
    return Answer(body=json.dumps({"access_token": "SENTINEL-access", "expires_in": 3600, **more}).encode())


def of_account(google: Google, account: Account) -> Answer:
    """The emulator has no workforce pools: another caller's access token stands in."""
    token = google.emulator._mint.access_token(account)
    return granting(access_token=token)


async def test_a_private_service_takes_whom_it_impersonates(
    google: Google, http_endpoint: Serve, tmp_path: Path
) -> None:
    server = http_endpoint(lambda _: of_account(google, CALLER))
    caller = workforce(tmp_path / "f", server.url)
    iam = IamCredentials(google.emulator.iam_endpoint, caller)
    await google.accepts(ImpersonatedSource(iam, TARGET.email), email=TARGET.email)
    assert server.received[0].path == "/v1/oauthtoken"


def test_the_refresh_token_may_change_with_each_use(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: granting(refresh_token="SENTINEL-2"))
    login = workforce(tmp_path / "f", None, token_url=server.url + "/here", quota_project_id="proj")
    assert login.member() is None
    for _ in range(2):
        token = login.access_token()
        assert (token.value, token.quota_project) == ("SENTINEL-access", "proj")
    forms = [parse_qs(received.body.decode()) for received in server.received]
    assert [form["refresh_token"] for form in forms] == [["SENTINEL-refresh"], ["SENTINEL-2"]]
    assert server.received[0].path == "/here"
    assert login.member() == "principalSet://iam.googleapis.com/locations/global/workforcePools/my-pool/*"
    workforce(tmp_path / "f", token_url=server.url, refresh_token="SENTINEL-new-login")
    login.access_token()
    assert parse_qs(server.received[2].body.decode())["refresh_token"] == ["SENTINEL-new-login"]


def test_it_has_no_id_token(tmp_path: Path) -> None:
    fails(
        workforce(tmp_path / "f").fetch,
        "https://a",
        cause="workforce_without_account",
        fault=Fault.OPERATOR,
        detail=f"the workforce login in {tmp_path}/f has no ID tokens, for https://a or any other audience",
        remedy="Impersonate a service account: identity: {type: impersonated, service_account: EMAIL}, or "
        f"{REMEDY} --impersonate-service-account=EMAIL",
    )


@pytest.mark.parametrize(("code", "cause"), [("invalid_grant", "login_expired"), ("other", "login_refused")])
async def test_refusals(http_endpoint: Serve, tmp_path: Path, code: str, cause: str) -> None:
    server = http_endpoint(lambda _: Answer(400, json.dumps({"error": code}).encode()))
    await asyncio.to_thread(
        fails,
        workforce(tmp_path / "f", server.url).access_token,
        cause=cause,
        fault=Fault.OPERATOR,
        detail=f"STS refused the workforce login in {tmp_path}/f ({code})",
        remedy=REMEDY,
        log_detail="status 400",
    )


async def test_a_reason_of_googles_is_no_expired_login(http_endpoint: Serve, tmp_path: Path) -> None:
    said = {
        "error": "access_denied",
        "error_description": "vpcServiceControlsUniqueIdentifier: " + "Ab1_" * 13,
    }
    server = http_endpoint(lambda _: Answer(403, json.dumps(said).encode()))
    error = await asyncio.to_thread(
        fails,
        workforce(tmp_path / "f", server.url).access_token,
        cause="vpc_service_controls",
        fault=Fault.OPERATOR,
    )
    assert "Ab1_" * 13 in (error.remedy or "")
    assert error.remedy != REMEDY


def test_garbage(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: Answer(body=b"SENTINEL"))
    fails(workforce(tmp_path / "f", server.url).access_token, cause="garbage", fault=Fault.GOOGLE)


def test_a_broken_file(tmp_path: Path) -> None:
    fails(
        workforce(tmp_path / "f", refresh_token=None).access_token,
        cause="credential_file_invalid",
        detail=f"the credential file {tmp_path}/f lacks refresh_token",
        remedy=REMEDY,
    )
