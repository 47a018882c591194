from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.emulator.federation import Provider
from idtoken_proxy.emulator.workloads import Kind
from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.external_account import ExternalAccountSource
from idtoken_proxy.identity.sources.federation import ALLOW_EXECUTABLES
from idtoken_proxy.identity.sources.source import AccessTokenSource
from idtoken_proxy.settings.identities import ExternalAccountIdentity, ImpersonatedIdentity
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.identity.sources.emulated import AMAZON, AZURE, GITHUB, LONER, TARGET, Google, fails, write


def config(
    google: Google,
    kind: Kind,
    provider: Provider = GITHUB,
    at: str = "",
    impersonate: str | None = TARGET.email,
) -> dict[str, Any]:
    """It names no STS and no IAM but Google's own, so that the settings must."""
    content = google.emulator.external_account(provider.name, kind, at=at, impersonate=impersonate)
    content["token_url"] = "https://sts.googleapis.com/v1/token"
    if impersonate:
        url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        content["service_account_impersonation_url"] = f"{url}{impersonate}:generateAccessToken"
    return content


def source(
    google: Google, path: Path, content: dict[str, Any], account: str | None = None, **environ: str
) -> ExternalAccountSource:
    return ExternalAccountSource(
        CredentialFile(str(write(path, content))), google.endpoints, environ, account
    )


async def test_from_a_file(google: Google, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(await asyncio.to_thread(google.emulator.subject_token, GITHUB.name))
    federated = source(google, tmp_path / "f", config(google, "file", at=str(token)))
    assert federated.describe() == f"workload identity federation by {tmp_path}/f"
    await google.accepts(federated, email=TARGET.email)
    assert (
        federated.describe() == f"workload identity federation by {tmp_path}/f, impersonating {TARGET.email}"
    )


async def test_from_a_url(google: Google, tmp_path: Path) -> None:
    await google.accepts(source(google, tmp_path / "f", config(google, "url")), email=TARGET.email)


async def test_from_azure(google: Google, tmp_path: Path) -> None:
    await google.accepts(source(google, tmp_path / "f", config(google, "azure", AZURE)), email=TARGET.email)


async def test_from_aws(google: Google, tmp_path: Path) -> None:
    await google.accepts(source(google, tmp_path / "f", config(google, "aws", AMAZON)), email=TARGET.email)


async def test_from_aws_by_its_variables(google: Google, tmp_path: Path) -> None:
    aws: Any = AMAZON.trusts
    environ = {
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_ACCESS_KEY_ID": aws.access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws.secret_access_key,
        "AWS_SESSION_TOKEN": aws.session_token,
    }
    content = config(google, "aws", AMAZON)
    for url in ("region_url", "url", "imdsv2_session_token_url"):
        content["credential_source"].pop(url)
    await google.accepts(source(google, tmp_path / "f", content, **environ), email=TARGET.email)


async def test_from_an_executable(google: Google, tmp_path: Path) -> None:
    url = f"{google.emulator.url}/emulator/workloads/outside/github/executable"
    script = tmp_path / "print-token"
    script.write_text(
        f"#!{sys.executable}\nimport urllib.request\nprint(urllib.request.urlopen('{url}').read().decode())\n"
    )
    script.chmod(0o700)
    content = config(google, "executable", at=f"{script} --some=SENTINEL")
    for timeout in (5000, 120_000, None):
        content["credential_source"]["executable"]["timeout_millis"] = timeout
        allowed = source(google, tmp_path / "f", content, **{ALLOW_EXECUTABLES: "1"})
        await google.accepts(allowed, email=TARGET.email)


async def test_executables_must_be_allowed(google: Google, tmp_path: Path) -> None:
    content = config(google, "executable", at="/bin/false SENTINEL")
    await google.refuses(
        source(google, tmp_path / "f", content),
        cause="executables_not_allowed",
        fault=Fault.OPERATOR,
        detail=f"the credential file {tmp_path}/f names an executable, and those are not allowed",
        remedy=f"If you trust {tmp_path}/f: GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1",
    )


async def test_an_executable_that_fails(google: Google, tmp_path: Path) -> None:
    content = config(google, "executable", at="/bin/echo SENTINEL")
    await google.refuses(
        source(google, tmp_path / "f", content, **{ALLOW_EXECUTABLES: "1"}),
        cause="executable_output",
        fault=Fault.OPERATOR,
        detail="the executable /bin/echo gave an answer that is not JSON",
    )


async def test_its_access_tokens_are_charged_to_whom_the_file_names(google: Google, tmp_path: Path) -> None:
    for impersonate in (TARGET.email, None):
        content = {**config(google, "url", impersonate=impersonate), "quota_project_id": "charged-1"}
        federated = source(google, tmp_path / "f", content)
        assert isinstance(federated, AccessTokenSource)
        token = await asyncio.to_thread(federated.access_token)
        assert (token.email, token.quota_project) == (impersonate, "charged-1")


async def test_the_configured_account_goes_before_the_file_s(google: Google, tmp_path: Path) -> None:
    content = config(google, "url", impersonate=LONER.email)
    federated = source(google, tmp_path / "f", content, TARGET.email)
    assert (
        federated.describe() == f"workload identity federation by {tmp_path}/f, impersonating {TARGET.email}"
    )
    await google.accepts(federated, email=TARGET.email)


async def test_an_account_where_the_file_has_none(google: Google, tmp_path: Path) -> None:
    content = config(google, "url", impersonate=None)
    await google.accepts(source(google, tmp_path / "f", content, TARGET.email), email=TARGET.email)


async def test_without_any_account(google: Google, tmp_path: Path) -> None:
    await google.refuses(
        source(google, tmp_path / "f", config(google, "url", impersonate=None)),
        cause="federation_without_account",
        fault=Fault.OPERATOR,
        detail=f"the credential file {tmp_path}/f names no service account, and a federated principal has no ID tokens",
        remedy=f"Name one: identity: {{type: external_account, config_file: {tmp_path}/f, service_account: EMAIL}}",
    )


async def test_it_may_impersonate_another_by_itself(google: Google, tmp_path: Path) -> None:
    path = write(tmp_path / "f", config(google, "url", impersonate=None))
    identity = ImpersonatedIdentity(TARGET.email, source=ExternalAccountIdentity(str(path)))
    await google.accepts(build(identity, google.endpoints, {}), email=TARGET.email)


async def test_its_account_may_impersonate_another(google: Google, tmp_path: Path) -> None:
    federated = source(google, tmp_path / "f", config(google, "url"))
    assert isinstance(federated, AccessTokenSource)
    token = await asyncio.to_thread(federated.access_token)
    assert token.value.startswith("ya29.")
    assert await asyncio.to_thread(federated.member) == TARGET.member


async def test_the_endpoints_of_the_file_itself(google: Google, tmp_path: Path) -> None:
    """Private endpoints, regional ones, other universes: what the file says holds where the settings say nothing."""
    content = google.emulator.external_account(GITHUB.name, "url", impersonate=TARGET.email)
    path = write(tmp_path / "f", content)
    federated = ExternalAccountSource(CredentialFile(str(path)), GoogleEndpoints(), {})
    await google.accepts(federated, email=TARGET.email)


async def test_the_pool_is_not_granted(google: Google, tmp_path: Path) -> None:
    await google.refuses(
        source(google, tmp_path / "f", config(google, "url", impersonate=LONER.email)),
        cause="iam_permission_denied",
        remedy=f"gcloud iam service-accounts add-iam-policy-binding {LONER.email} --member='principalSet://"
        "iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/outside/*' "
        "--role=roles/iam.workloadIdentityUser",
    )


@pytest.mark.parametrize("url", [7, "x", "https://iamcredentials.googleapis.com/v1/SENTINEL"])
def test_an_impersonation_url_that_is_none(tmp_path: Path, url: object) -> None:
    content = {
        "type": "external_account",
        "audience": "a",
        "subject_token_type": "b",
        "token_url": "c",
        "credential_source": {"file": "x"},
        "service_account_impersonation_url": url,
    }
    path = write(tmp_path / "f", content)
    fails(
        ExternalAccountSource(CredentialFile(str(path)), GoogleEndpoints(), {}).fetch,
        "https://a",
        cause="credential_file_invalid",
        detail=f"the credential file {path} has a service_account_impersonation_url that is none",
    )
