from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from idtoken_proxy.emulator.world import Account
from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.sources.source import AccessTokenSource, Source
from idtoken_proxy.settings.identities import (
    AutoIdentity,
    Identity,
    ImpersonatedIdentity,
    MetadataIdentity,
    ServiceAccountIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.identity.sources.emulated import CALLER, DEV, LAST, LONER, MIDDLE, PROJECT, TARGET, Google

METADATA = MetadataIdentity()


def impersonated(
    google: Google,
    account: Account = TARGET,
    delegates: tuple[Account, ...] = (),
    source: Identity = METADATA,
    environ: Mapping[str, str] | None = None,
) -> Source:
    identity = ImpersonatedIdentity(account.email, tuple(a.email for a in delegates), source)
    return build(identity, google.endpoints, {"HOME": "/nonexistent", **(environ or {})})


@for_each("kind", ["metadata", "account", "auto", "service_account", "user", "auto-user", "nested"])
async def test_a_private_service_takes_it(google: Google, tmp_path: Path, kind: str) -> None:
    key = str(await google.file(tmp_path / "key.json", CALLER))
    login = str(await google.file(tmp_path / "application_default_credentials.json", DEV))
    sources: dict[str, tuple[Identity, dict[str, str]]] = {
        "metadata": (METADATA, {}),
        "account": (MetadataIdentity(CALLER.email), {}),
        "auto": (AutoIdentity(), {}),
        "service_account": (ServiceAccountIdentity(key), {}),
        "user": (UserIdentity(), {"CLOUDSDK_CONFIG": str(tmp_path)}),
        "auto-user": (AutoIdentity(), {"GOOGLE_APPLICATION_CREDENTIALS": login}),
    }
    if kind == "nested":
        middle = ImpersonatedIdentity(MIDDLE.email, source=METADATA)
        await google.accepts(impersonated(google, LAST, source=middle), email=LAST.email)
    else:
        source, environ = sources[kind]
        await google.accepts(impersonated(google, source=source, environ=environ), email=TARGET.email)


async def test_a_chain(google: Google) -> None:
    source = impersonated(google, LAST, (MIDDLE,))
    await google.accepts(source, email=LAST.email)
    assert source.describe() == (
        f"{LAST.email}, impersonated via {MIDDLE.email} by metadata server at "
        f"{google.emulator.metadata_host}, account default"
    )
    assert isinstance(source, AccessTokenSource)
    assert source.member() == LAST.member


GRANT = "gcloud iam service-accounts add-iam-policy-binding"


async def test_without_the_grant(google: Google) -> None:
    await google.refuses(
        impersonated(google, LONER),
        cause="iam_permission_denied",
        fault=Fault.OPERATOR,
        detail=f"IAM refused generateIdToken for {LONER.email} to metadata server at "
        f"{google.emulator.metadata_host}, account default (PERMISSION_DENIED, IAM_PERMISSION_DENIED: Permission "
        "'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).)",
        remedy=f"{GRANT} {LONER.email} --member=serviceAccount:{CALLER.email} "
        "--role=roles/iam.serviceAccountOpenIdTokenCreator",
        log_detail="status 403",
    )


async def test_a_user_without_the_grant(google: Google, tmp_path: Path) -> None:
    login = await google.file(tmp_path / "login.json", DEV)
    source = impersonated(
        google, LONER, source=UserIdentity(), environ={"GOOGLE_APPLICATION_CREDENTIALS": str(login)}
    )
    await google.refuses(
        source,
        remedy=f"{GRANT} {LONER.email} --member=user:{DEV.email} --role=roles/iam.serviceAccountOpenIdTokenCreator",
    )


async def test_a_chain_without_a_grant_names_each_link(google: Google) -> None:
    role = "--role=roles/iam.serviceAccountTokenCreator"
    await google.refuses(
        impersonated(google, LONER, (MIDDLE,)),
        cause="iam_permission_denied",
        remedy=f"{GRANT} {MIDDLE.email} --member=serviceAccount:{CALLER.email} {role}; "
        f"{GRANT} {LONER.email} --member=serviceAccount:{MIDDLE.email} {role}",
    )


async def test_a_nested_impersonation_needs_an_access_token_first(google: Google) -> None:
    middle = ImpersonatedIdentity(LONER.email, source=METADATA)
    error = await google.refuses(impersonated(google, source=middle), cause="iam_permission_denied")
    assert "generateAccessToken for " + LONER.email in error.detail
    assert error.remedy == (
        f"{GRANT} {LONER.email} --member=serviceAccount:{CALLER.email} --role=roles/iam.serviceAccountTokenCreator"
    )


async def test_no_such_account(google: Google) -> None:
    nobody = Account(f"nobody@{PROJECT}.iam.gserviceaccount.com")
    error = await google.refuses(
        impersonated(google, nobody),
        cause="iam_no_such_account",
        fault=Fault.OPERATOR,
        remedy=f"Correct the name; these exist: gcloud iam service-accounts list --project={PROJECT}",
    )
    assert f"(NOT_FOUND: Not found; Gaia id not found for email {nobody.email})" in error.detail


async def test_the_api_is_not_enabled(google: Google) -> None:
    google.emulator.break_with("api-disabled")
    await google.refuses(
        impersonated(google),
        cause="iam_api_disabled",
        fault=Fault.OPERATOR,
        remedy="gcloud services enable iamcredentials.googleapis.com --project=123456789012",
    )


@pytest.mark.parametrize("kind", ["outage", "rate-limit", "garbage"])
async def test_the_source_s_own_trouble_is_told_as_such(google: Google, kind: str) -> None:
    google.emulator.break_with(kind)
    error = await google.refuses(impersonated(google))
    assert error.cause in ("metadata_unavailable", "metadata_foreign")


async def test_an_audience_that_was_not_asked_for(google: Google) -> None:
    google.emulator.break_with("wrong-audience")
    await google.refuses(impersonated(google), cause="wrong_audience", fault=Fault.GOOGLE)


async def test_a_source_of_another_universe(monkeypatch: pytest.MonkeyPatch) -> None:
    source = build(ImpersonatedIdentity("a@b"), GoogleEndpoints(universe_domain="u.invalid"), {})
    assert source._iam.endpoint == "https://iamcredentials.u.invalid"  # type: ignore[attr-defined]
