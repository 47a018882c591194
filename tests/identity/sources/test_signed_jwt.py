from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.sources.source import AccessTokenSource
from idtoken_proxy.settings.identities import MetadataIdentity, SignedJwtIdentity
from tests.identity.sources.emulated import CALLER, LONER, TARGET, Google


@pytest.mark.parametrize("path", ["/", "/*"])
async def test_iap_takes_what_google_signs(google: Google, path: str) -> None:
    source = build(SignedJwtIdentity(TARGET.email, source=MetadataIdentity()), google.endpoints, {})
    url = google.emulator.urls["managed"]
    before = int(time.time())
    token = await asyncio.to_thread(source.fetch, url + path)
    assert (token.audience, token.email, token.subject) == (url + path, TARGET.email, TARGET.email)
    assert token.issued_at is not None
    assert token.expires_at - token.issued_at == 3600
    assert before <= token.issued_at <= time.time()
    await google.receives(token, url + "/")


async def test_iap_takes_what_the_key_at_hand_signs(google: Google, tmp_path: Path) -> None:
    key = await google.file(tmp_path / "key.json", CALLER)
    source = build(SignedJwtIdentity(CALLER.email, str(key)), google.endpoints, {})
    url = google.emulator.urls["managed"]
    token = await asyncio.to_thread(source.fetch, url + "/*")
    assert token.email == CALLER.email
    await google.receives(token, url + "/")
    assert source.describe() == f"JWT of {CALLER.email}, signed with key file {key} of {CALLER.email}"


async def test_somebody_else_s_key(google: Google, tmp_path: Path) -> None:
    key = await google.file(tmp_path / "key.json", CALLER)
    await google.refuses(
        build(SignedJwtIdentity(TARGET.email, str(key)), google.endpoints, {}),
        cause="wrong_account",
        fault=Fault.OPERATOR,
        detail=f"the key file {key} of {CALLER.email} is not a key of {TARGET.email}",
        remedy="Make service_account and key_file agree",
    )


async def test_no_key(google: Google) -> None:
    source = build(SignedJwtIdentity(TARGET.email, "/nonexistent/key.json"), google.endpoints, {})
    await google.refuses(source, cause="credential_file_missing")


async def test_without_the_grant(google: Google) -> None:
    source = build(SignedJwtIdentity(LONER.email, source=MetadataIdentity()), google.endpoints, {})
    error = await google.refuses(
        source,
        cause="iam_permission_denied",
        remedy=f"gcloud iam service-accounts add-iam-policy-binding {LONER.email} "
        f"--member=serviceAccount:{CALLER.email} --role=roles/iam.serviceAccountTokenCreator",
    )
    assert error.detail.startswith(f"IAM refused signJwt for {LONER.email} to metadata server")


async def test_it_has_no_access_token(google: Google) -> None:
    source = build(SignedJwtIdentity(TARGET.email), google.endpoints, {})
    assert not isinstance(source, AccessTokenSource)
