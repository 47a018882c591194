from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import google.auth.transport.requests
import pytest
from google.auth import aws, exceptions, identity_pool, pluggable

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.sts import ACCESS_TOKEN, TOKEN_EXCHANGE
from idtoken_proxy.emulator.workloads import Kind
from tests.cases import for_each
from tests.emulator.conftest import INDEXER, LOGIN, WORLD

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
CLIENTS: dict[Kind, Any] = {
    "file": identity_pool,
    "url": identity_pool,
    "executable": pluggable,
    "aws": aws,
    "azure": identity_pool,
}


@pytest.fixture
async def now(keys: Keys) -> AsyncIterator[Emulator]:
    """On the machine's clock, as Google's libraries sign by it."""
    async with Emulator(WORLD, keys=keys) as running:
        yield running


@pytest.fixture(autouse=True)
def no_aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")


def place(emulator: Emulator, kind: Kind, directory: Path) -> str:
    """For `at`: a file, or a command that writes what the emulator's own executable would."""
    if kind == "file":
        file = directory / "token"
        file.write_text(emulator.subject_token("github"))
        return str(file)
    url = f"{emulator.url}/emulator/workloads/outside/github/executable"
    program = f"import urllib.request as r; print(r.urlopen({url!r}).read().decode())"
    return f'{sys.executable} -c "{program}"' if kind == "executable" else ""


@pytest.mark.parametrize(
    ("provider", "kind"),
    [
        ("github", "file"),
        ("github", "url"),
        ("github", "executable"),
        ("amazon", "aws"),
        ("azure", "azure"),
    ],
)
async def test_googles_own_library_comes_in_from_outside(
    now: Emulator, provider: str, kind: Kind, tmp_path: Path
) -> None:
    at = place(now, kind, tmp_path)
    held = CLIENTS[kind].Credentials.from_info(now.external_account(provider, kind, at=at), scopes=SCOPES)
    await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())
    assert held.token.startswith("ya29.")
    assert held.service_account_email is None


@pytest.mark.parametrize(("provider", "kind"), [("github", "url"), ("amazon", "aws")])
async def test_who_comes_in_may_impersonate_where_a_policy_names_it(
    now: Emulator, client: aiohttp.ClientSession, provider: str, kind: Kind
) -> None:
    file = now.external_account(provider, kind, impersonate="indexer")
    held = CLIENTS[kind].Credentials.from_info(file, scopes=SCOPES)
    await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())
    assert held.service_account_email == INDEXER.email
    # The token is the account's own now, which may not even impersonate itself.
    response = await client.post(
        f"{now.iam_endpoint}/v1/projects/-/serviceAccounts/{INDEXER.email}:generateIdToken",
        json={"audience": "https://a"},
        headers={"Authorization": f"Bearer {held.token}"},
    )
    assert response.status == 403


@pytest.mark.parametrize(("provider", "account"), [("azure", INDEXER.email), ("github", LOGIN.email)])
async def test_who_comes_in_may_not_impersonate_elsewhere(now: Emulator, provider: str, account: str) -> None:
    kind: Kind = "azure" if provider == "azure" else "url"
    file = now.external_account(provider, kind, impersonate=account)
    held = identity_pool.Credentials.from_info(file, scopes=SCOPES)  # type: ignore[no-untyped-call]
    with pytest.raises(exceptions.RefreshError, match=r"iam\.serviceAccounts\.getAccessToken"):
        await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())


def audience(provider: str) -> str:
    [found] = [p for p in WORLD.providers if p.name == provider]
    return found.audience(WORLD.number)


async def exchange(
    client: aiohttp.ClientSession, emulator: Emulator, **form: str | None
) -> tuple[int, dict[str, Any]]:
    good = {
        "grant_type": TOKEN_EXCHANGE,
        "audience": audience("github"),
        "requested_token_type": ACCESS_TOKEN,
        "scope": SCOPES[0],
        "subject_token": emulator.subject_token("github"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    data = {name: value for name, value in (good | form).items() if value is not None}
    response = await client.post(f"{emulator.sts_endpoint}/v1/token", data=data)
    return response.status, await response.json()


@pytest.mark.parametrize("kind", ["jwt", "id_token"])
async def test_an_exchange_answers_as_rfc_8693_says(
    emulator: Emulator, client: aiohttp.ClientSession, kind: str
) -> None:
    status, answer = await exchange(
        client, emulator, subject_token_type=f"urn:ietf:params:oauth:token-type:{kind}"
    )
    assert status == 200
    assert answer.pop("access_token").startswith("ya29.")
    assert answer == {"issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600}


@for_each(
    ("form", "error"),
    [
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"audience": None}, "invalid_request"),
        ({"audience": "https://a"}, "invalid_request"),
        ({"audience": audience("github") + "/x"}, "invalid_request"),
        ({"audience": audience("github") + "x"}, "invalid_target"),
        ({"audience": audience("github").replace("outside", "inside")}, "invalid_target"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token": "x"}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:aws:token-type:aws4_request"}, "invalid_request"),
        ({"audience": audience("azure")}, "invalid_grant"),
    ],
)
async def test_refusals_come_in_oauths_form(
    emulator: Emulator, client: aiohttp.ClientSession, form: dict[str, str | None], error: str
) -> None:
    status, answer = await exchange(client, emulator, **form)
    assert (status, answer["error"]) == (400, error)
    assert answer["error_description"]
