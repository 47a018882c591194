"""Of all sources together: neither a token nor what it is got with is in any log, at any level, or in any repr."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.sources.federation import ALLOW_EXECUTABLES
from idtoken_proxy.identity.sources.source import AccessTokenSource, HasAccessTokens
from idtoken_proxy.settings.identities import (
    BY_TYPE,
    AutoIdentity,
    CommandIdentity,
    ExternalAccountIdentity,
    FileIdentity,
    GcloudIdentity,
    Identity,
    ImpersonatedIdentity,
    MetadataIdentity,
    OauthIdentity,
    ServiceAccountIdentity,
    SignedJwtIdentity,
    UserIdentity,
)
from tests.identity.sources.emulated import (
    AMAZON,
    AZURE,
    CALLER,
    DEV,
    GITHUB,
    TARGET,
    Google,
    logged_in,
    write,
)
from tests.identity.sources.test_gcloud import Gcloud

# What a kind of credential is got with, where that is more than one thing.
WAYS = {"external_account": ("url", "aws", "azure", "executable")}
KINDS = [way for kind in BY_TYPE if kind != "none" for way in WAYS.get(kind, (kind,))]


async def identities(google: Google, directory: Path) -> dict[str, Identity]:
    key = str(await google.file(directory / "key.json", CALLER))
    token = await asyncio.to_thread(google.emulator.mint, CALLER.email, google.audience)
    (directory / "token").write_text(token)
    Gcloud(directory).installed(token, user=CALLER.email)
    federated: dict[str, Any] = {
        "url": google.emulator.external_account(GITHUB.name, "url", impersonate=TARGET.email),
        "aws": google.emulator.external_account(AMAZON.name, "aws", impersonate=TARGET.email),
        "azure": google.emulator.external_account(AZURE.name, "azure", impersonate=TARGET.email),
        "executable": google.emulator.external_account(
            GITHUB.name, "executable", at=f"/bin/cat {directory}/printed", impersonate=TARGET.email
        ),
    }
    subject = await asyncio.to_thread(google.emulator.subject_token, GITHUB.name)
    said = {"version": 1, "success": True, "id_token": subject}
    write(directory / "printed", said | {"token_type": "urn:ietf:params:oauth:token-type:id_token"})
    found: dict[str, Identity] = {
        "auto": AutoIdentity(),
        "metadata": MetadataIdentity(),
        "service_account": ServiceAccountIdentity(key),
        "user": UserIdentity(),
        "gcloud": GcloudIdentity(),
        "oauth": OauthIdentity(str(await asyncio.to_thread(logged_in, google.emulator, directory))),
        "impersonated": ImpersonatedIdentity(TARGET.email, source=UserIdentity()),
        "file": FileIdentity(str(directory / "token")),
        "command": CommandIdentity((sys.executable, "-Ic", f"print({token!r})")),
        "signed_jwt": SignedJwtIdentity(CALLER.email, key),
    }
    for kind, content in federated.items():
        found[kind] = ExternalAccountIdentity(str(write(directory / kind, content)))
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_told(
    google: Google,
    tmp_path: Path,
    kind: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ALLOW_EXECUTABLES, "1")
    login = await google.file(tmp_path / "application_default_credentials.json", DEV)
    environ = {
        "XDG_STATE_HOME": str(tmp_path),
        ALLOW_EXECUTABLES: "1",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "PATH": str(tmp_path),
    }
    source = build((await identities(google, tmp_path))[kind], google.endpoints, environ)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("google"), "level", logging.DEBUG)
    with capture_logs() as logs:
        token = await asyncio.to_thread(source.fetch, google.audience)
        secrets = [token.value, json.loads(login.read_text())["refresh_token"], "PRIVATE KEY"]
        if isinstance(source, HasAccessTokens) and kind != "gcloud":
            access = await asyncio.to_thread(source.access_token)
            secrets.append(access.value)
            assert access.value not in f"{access!r}{access}"
        if isinstance(source, AccessTokenSource):
            await asyncio.to_thread(source.member)
    records = "".join(repr(vars(record)) for record in caplog.records)
    told = f"{records}{logs}{capfd.readouterr()}{source!r}{source.describe()}{token!r}{token}"
    for secret in (*secrets, "eyJ", "ya29."):
        assert secret not in told
