from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from google.auth import jwt

from idtoken_proxy.emulator.emulator import Emulator
from tests.emulator.conftest import AMAZON, GITHUB, INDEXER, WORLD, FakeClock

AT = "/emulator/workloads/outside"
SESSION = {"X-aws-ec2-metadata-token": "emulated-imds-session"}


def claims(emulator: Emulator, token: str, issuer: str = GITHUB.issuer) -> dict[str, Any]:
    certificates = emulator.keys.certificate_of(issuer)
    told: dict[str, Any] = jwt.decode(token, certificates, clock_skew_in_seconds=10**11)  # type: ignore[no-untyped-call]
    return told


async def test_the_issuers_token_comes_in_every_form_in_which_it_is_looked_for(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    base = f"{emulator.url}{AT}/github"
    as_json = (await (await client.get(f"{base}/token")).json())["value"]
    as_text = await (await client.get(f"{base}/token.txt")).text()
    printed = await (await client.get(f"{base}/executable")).json()
    assert as_json == as_text == printed.pop("id_token") == emulator.subject_token("github")
    assert printed == {
        "version": 1,
        "success": True,
        "token_type": "urn:ietf:params:oauth:token-type:id_token",
        "expiration_time": clock.now + 3600,
    }
    [provider] = [p for p in WORLD.providers if p.name == "github"]
    assert claims(emulator, as_text) == {
        "iss": GITHUB.issuer,
        "aud": f"https:{provider.audience(WORLD.number)}",
        "sub": "octo",
        "repository": "octo/app",
        "iat": clock.now,
        "exp": clock.now + 3600,
    }


async def test_a_test_may_have_any_other_claims(emulator: Emulator) -> None:
    token = emulator.subject_token("github", sub="other", exp=1_900_000_000, repository=None)
    told = claims(emulator, token)
    assert (told["sub"], told["exp"]) == ("other", 1_900_000_000)
    assert "repository" not in told


@pytest.mark.parametrize("provider", ["amazon", "elsewhere", "nobody"])
async def test_no_token_comes_from_an_issuer_that_the_emulator_is_not(
    emulator: Emulator, client: aiohttp.ClientSession, provider: str
) -> None:
    with pytest.raises(KeyError):
        emulator.subject_token(provider)
    for page in ("token", "token.txt", "executable"):
        assert (await client.get(f"{emulator.url}{AT}/{provider}/{page}")).status == 404


async def test_azures_metadata_service_gives_a_token_for_the_resource(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url = f"{emulator.url}{AT}/azure/metadata/identity/oauth2/token?api-version=2018-02-01"
    response = await client.get(f"{url}&resource=api://other", headers={"Metadata": "True"})
    answer = await response.json()
    told = claims(emulator, answer.pop("access_token"), "https://azure.example.com")
    assert (told["aud"], told["sub"]) == ("api://other", "workload")
    assert answer == {"expires_in": "3600", "resource": "api://other", "token_type": "Bearer"}
    assert (await client.get(f"{url}&resource=api://other")).status == 400
    assert (await client.get(url, headers={"Metadata": "true"})).status == 400


async def test_ec2s_metadata_service_gives_the_roles_keys_within_a_session(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    base = f"{emulator.url}{AT}/amazon/latest"
    assert (await client.put(f"{base}/api/token")).status == 400
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    session = {"X-aws-ec2-metadata-token": await (await client.put(f"{base}/api/token", headers=ttl)).text()}
    zone = await client.get(f"{base}/meta-data/placement/availability-zone", headers=session)
    assert await zone.text() == "eu-west-1a"
    keys = f"{base}/meta-data/iam/security-credentials"
    assert await (await client.get(keys, headers=session)).text() == "web"
    assert await (await client.get(f"{keys}/web", headers=session)).json() == {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": AMAZON.access_key_id,
        "SecretAccessKey": AMAZON.secret_access_key,
        "Token": AMAZON.session_token,
        "Expiration": "2027-01-15T09:00:00Z",
    }
    assert (await client.get(f"{keys}/other", headers=session)).status == 404
    assert (await client.get(keys)).status == 401


async def test_an_issuer_is_no_aws_instance(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    url = f"{emulator.url}{AT}/github/latest/meta-data/iam/security-credentials"
    assert (await client.get(url, headers=SESSION)).status == 404


async def test_credential_files_come_over_http_too(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    base = f"{emulator.url}{AT}"
    response = await client.get(f"{base}/github/config.json?impersonate=indexer")
    assert await response.json() == emulator.external_account("github", "url", impersonate=INDEXER.email)
    response = await client.get(f"{base}/amazon/config.json")
    assert await response.json() == emulator.external_account("amazon", "aws")
    assert (await client.get(f"{base}/github/config.json?impersonate=nobody")).status == 404


async def test_a_credential_file_is_what_gcloud_writes(emulator: Emulator) -> None:
    plain = emulator.external_account("github", "file", at="/run/token")
    assert plain == {
        "universe_domain": "googleapis.com",
        "type": "external_account",
        "audience": (
            "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/outside"
            "/providers/github"
        ),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{emulator.url}/v1/token",
        "credential_source": {"file": "/run/token"},
    }
    impersonating = emulator.external_account("github", "file", at="/run/token", impersonate="indexer")
    assert impersonating == plain | {
        "service_account_impersonation_url": (
            f"{emulator.url}/v1/projects/-/serviceAccounts/{INDEXER.email}:generateAccessToken"
        )
    }


async def test_an_executable_and_an_azure_audience_have_defaults(emulator: Emulator) -> None:
    source = emulator.external_account("github", "executable")["credential_source"]
    assert source == {
        "executable": {
            "command": f"curl -sf {emulator.url}{AT}/github/executable",
            "timeout_millis": 5000,
        }
    }
    for provider, resource in (("azure", "api%3A%2F%2Fapp"), ("github", "api%3A%2F%2Femulated")):
        source = emulator.external_account(provider, "azure")["credential_source"]
        assert f"resource={resource}" in str(source)


async def test_no_such_account_or_provider_is_a_key_error(emulator: Emulator) -> None:
    with pytest.raises(KeyError):
        emulator.external_account("github", "url", impersonate="nobody")
    with pytest.raises(KeyError):
        emulator.external_account("nobody", "url")
