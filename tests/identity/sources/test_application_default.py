from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.application_default import gcloud_file, named_file, source_of
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.source import Credential
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.identity.sources.emulated import (
    CALLER,
    DEV,
    EVERYONE,
    GITHUB,
    LAST,
    MIDDLE,
    TARGET,
    Google,
    fails,
    write,
)

IMPERSONATE = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
NAMES = "projects/-/serviceAccounts/"


async def found(google: GoogleEndpoints, path: Path, content: dict[str, Any]) -> Credential:
    return await asyncio.to_thread(source_of, CredentialFile(str(write(path, content))), google, {})


def impersonating(account: str, source: Any, **more: Any) -> dict[str, Any]:
    """As `gcloud auth application-default login --impersonate-service-account` writes it."""
    return {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": IMPERSONATE.format(account),
        "delegates": [],
        "source_credentials": source,
        **more,
    }


async def test_a_login_that_impersonates(google: Google, tmp_path: Path) -> None:
    login = google.emulator.key_file(DEV.email)
    source = await found(google.endpoints, tmp_path / "f", impersonating(TARGET.email, login))
    await google.accepts(source, email=TARGET.email)
    assert source.describe() == f"{TARGET.email}, impersonated by login of {DEV.email} in {tmp_path}/f"


async def test_what_it_is_for_is_charged_to_whom_the_file_names(google: Google, tmp_path: Path) -> None:
    """Not to whom its login names: that is for asking IAM."""
    login = google.emulator.key_file(DEV.email)
    for more, charged in (({}, None), ({"quota_project_id": "charged-1"}, "charged-1")):
        content = impersonating(TARGET.email, login, **more)
        source = await found(google.endpoints, tmp_path / "f", content)
        assert (await asyncio.to_thread(source.access_token)).quota_project == charged


async def test_a_key_that_impersonates_through_a_chain(google: Google, tmp_path: Path) -> None:
    key = await asyncio.to_thread(google.emulator.key_file, CALLER.email)
    for delegates in ([MIDDLE.email], [NAMES + MIDDLE.email]):
        content = impersonating(LAST.email, key, delegates=delegates)
        await google.accepts(await found(google.endpoints, tmp_path / "f", content), email=LAST.email)


async def test_a_workload_that_impersonates(google: Google, tmp_path: Path) -> None:
    workload = google.emulator.external_account(GITHUB.name, "url")
    source = await found(
        google.endpoints, tmp_path / "f", impersonating(TARGET.email, workload, delegates=None)
    )
    await google.accepts(source, email=TARGET.email)


async def test_the_endpoint_of_the_file_itself(google: Google, tmp_path: Path) -> None:
    login = google.emulator.key_file(DEV.email)
    url = IMPERSONATE.format(TARGET.email).replace(
        "https://iamcredentials.googleapis.com", google.emulator.url
    )
    content = impersonating("", login, service_account_impersonation_url=url)
    await google.accepts(await found(GoogleEndpoints(), tmp_path / "f", content), email=TARGET.email)


@for_each(
    ("content", "detail"),
    [
        ({}, "holds a credential without a type"),
        ({"type": 7}, "holds a credential without a type"),
        ({"type": "SENTINEL SENTINEL"}, "holds a credential without a type"),
        (
            {"type": "gdch_service_account"},
            "holds a credential of type 'gdch_service_account', from which no ID token can be had",
        ),
        ({"type": "impersonated_service_account"}, "has a service_account_impersonation_url that is none"),
        (
            impersonating(TARGET.email, {}, delegates="x"),
            "has delegates that are no list of accounts",
        ),
        (
            impersonating(TARGET.email, {}, delegates=[7]),
            "has delegates that are no list of accounts",
        ),
        (impersonating(TARGET.email, None), "lacks source_credentials"),
        (impersonating(TARGET.email, {}), "in its source_credentials holds a credential without a type"),
        (
            impersonating(TARGET.email, {"type": "x"}),
            "in its source_credentials holds a credential of type 'x', from which no ID token can be had",
        ),
    ],
)
def test_a_broken_file(tmp_path: Path, content: dict[str, Any], detail: str) -> None:
    path = write(tmp_path / "f", content)
    fails(
        source_of,
        CredentialFile(str(path)),
        GoogleEndpoints(),
        {},
        cause="credential_file_invalid",
        fault=Fault.OPERATOR,
        detail=f"the credential file {path} {detail}",
    )


async def test_what_is_broken_inside_is_told_at_the_fetch(google: Google, tmp_path: Path) -> None:
    source = await found(
        google.endpoints, tmp_path / "f", impersonating(TARGET.email, {"type": "authorized_user"})
    )
    await google.refuses(
        source,
        cause="credential_file_invalid",
        detail=f"the credential file {tmp_path}/f in its source_credentials lacks client_id, client_secret, refresh_token",
    )


@for_each(
    ("kind", "name"),
    [
        ("service_account", "service_account"),
        ("authorized_user", "user"),
        ("external_account", "external_account"),
        ("external_account_authorized_user", "workforce"),
        ("impersonated_service_account", "impersonated"),
    ],
)
async def test_every_type_has_its_source(tmp_path: Path, kind: str, name: str) -> None:
    content = {**impersonating(TARGET.email, {"type": "authorized_user"}), "type": kind}
    assert (await found(GoogleEndpoints(), tmp_path / "f", content)).name == name


def test_where_the_files_are() -> None:
    assert named_file({}) is None
    assert named_file({"GOOGLE_APPLICATION_CREDENTIALS": ""}) is None
    named = named_file({"GOOGLE_APPLICATION_CREDENTIALS": "/k"})
    assert named is not None
    assert named.label == "the credential file /k (GOOGLE_APPLICATION_CREDENTIALS)"
    name = "application_default_credentials.json"
    assert gcloud_file({"HOME": "/h"}).path == f"/h/.config/gcloud/{name}"
    both = gcloud_file({"HOME": "/h", "CLOUDSDK_CONFIG": "/c"})
    assert (both.path, both.label) == (f"/c/{name}", f"the credential file /c/{name} (gcloud's file)")


def test_the_accounts_of_these_tests_are_all_different() -> None:
    assert len({account.email for account in EVERYONE}) == len(EVERYONE)
