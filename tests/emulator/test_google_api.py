from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import service_account_email
from idtoken_proxy.settings.model import CLOUD_PLATFORM

PROJECT = "proj"
CALLER = Account(service_account_email("caller", PROJECT), default=True)
OTHER = Account(service_account_email("other", PROJECT))
DEV = Account("dev@example.com")
READ = "https://www.googleapis.com/auth/devstorage.read_only"
WORLD = World(
    PROJECT,
    (CALLER, OTHER, DEV),
    (
        Service(
            "storage", frozenset({CALLER.member, DEV.member}), api="pubsub", scopes=(CLOUD_PLATFORM, READ)
        ),
    ),
)


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys) as running:
        yield running


async def asked(
    emulator: Emulator, *headers: tuple[str, str]
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(emulator.urls["storage"] + "/b", headers=list(headers)) as answer,
    ):
        return answer.status, answer.headers, await answer.json()


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def minted(emulator: Emulator, account: Account, *scopes: str) -> tuple[str, str]:
    return bearer(emulator.access_token(account.email, scopes or (CLOUD_PLATFORM,)))


async def test_a_token_of_one_of_its_scopes_is_let_in(emulator: Emulator) -> None:
    for scopes in ((CLOUD_PLATFORM,), (READ, "email")):
        status, _, told = await asked(emulator, minted(emulator, CALLER, *scopes))
        assert (status, told["caller"]) == (200, CALLER.email)


async def refused(emulator: Emulator, *headers: tuple[str, str]) -> tuple[int, str, str]:
    status, head, told = await asked(emulator, *headers)
    assert head["Server"] == "ESF"
    return status, told["error"]["details"][0]["reason"], head.get("WWW-Authenticate", "")


async def test_how_it_says_no(emulator: Emulator) -> None:
    realm = 'Bearer realm="https://accounts.google.com/"'
    ours = minted(emulator, CALLER)
    assert await refused(emulator) == (401, "CREDENTIALS_MISSING", realm)
    invalid = (401, "ACCESS_TOKEN_EXPIRED", f'{realm}, error="invalid_token"')
    assert await refused(emulator, bearer("ya29.made-up")) == invalid
    id_token = bearer(emulator.mint(CALLER.email, emulator.urls["storage"]))
    assert await refused(emulator, id_token) == invalid
    assert (await refused(emulator, ours, bearer("sk-dummy")))[:2] == (401, "API_KEY_INVALID")
    assert (await refused(emulator, ours, ("X-Goog-Api-Key", "dummy")))[:2] == (401, "API_KEY_INVALID")
    status, reason, challenge = await refused(emulator, minted(emulator, CALLER, "email"))
    assert (status, reason) == (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
    assert 'error="insufficient_scope"' in challenge
    assert (await refused(emulator, minted(emulator, OTHER)))[:2] == (403, "IAM_PERMISSION_DENIED")
    assert (await refused(emulator, ours, ("X-Goog-User-Project", "elsewhere")))[:2] == (
        403,
        "USER_PROJECT_DENIED",
    )
    emulator.revoke_access_tokens()
    assert await refused(emulator, ours) == invalid


async def test_a_login_names_a_project_to_charge(emulator: Emulator) -> None:
    ours = minted(emulator, DEV)
    assert (await refused(emulator, ours))[:2] == (403, "SERVICE_DISABLED")
    status, _, told = await asked(emulator, ours, ("X-Goog-User-Project", PROJECT))
    assert (status, told["caller"]) == (200, DEV.email)
