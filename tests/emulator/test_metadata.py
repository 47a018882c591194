from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
import pytest
from google.auth import jwt

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import Service, World
from idtoken_proxy.identity.token import IdToken
from tests.cases import for_each
from tests.emulator.conftest import DEV, INDEXER, LOGIN, PROJECT, FakeClock

FLAVOR = {"Metadata-Flavor": "Google"}
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
IDENTITY = f"{ACCOUNTS}/default/identity"

# google-auth reads its variables when it is imported (and pings by GCE_METADATA_IP): a process of its own is the only honest client.
GOOGLE_AUTH = """
import google.auth.transport.requests
from google.auth import compute_engine
from google.auth.compute_engine import _metadata
request = google.auth.transport.requests.Request()
assert _metadata.ping(request)
print(_metadata.get_project_id(request))
print(_metadata.get_universe_domain(request))
credentials = compute_engine.IDTokenCredentials(request, "https://a", use_metadata_identity_endpoint=True)
credentials.refresh(request)
print(credentials.service_account_email)
print(credentials.token)
"""


async def get(client: aiohttp.ClientSession, emulator: Emulator, path: str, **query: str) -> tuple[int, str]:
    response = await client.get(emulator.url + path, params=query, headers=FLAVOR)
    assert response.headers["Metadata-Flavor"] == "Google"
    return response.status, await response.text()


async def test_googles_own_library_gets_a_token_that_googles_verifier_accepts(
    keys: Keys, emulator: Emulator
) -> None:
    host = emulator.metadata_host
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GOOGLE_AUTH,
        env={**os.environ, "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "NO_PROXY": "*"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    project, universe, email, token = output.decode().split()
    assert (project, universe, email) == (PROJECT, "googleapis.com", LOGIN.email)
    claims = jwt.decode(token, keys.certificates(), audience="https://a", clock_skew_in_seconds=10**10)  # type: ignore[no-untyped-call]
    assert claims["email"] == LOGIN.email


async def test_the_email_is_in_the_full_format_alone(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    emails = []
    for query in ({}, {"format": "standard"}, {"format": "full"}):
        status, token = await get(client, emulator, IDENTITY, audience="https://a", **query)
        assert status == 200
        emails.append(IdToken.parse(token, origin="test").email)
    assert emails == [None, None, LOGIN.email]
    assert emulator.counts.minted["metadata"] == 2
    assert emulator.counts.handed_out["metadata"] == 3


async def test_the_token_stays_the_same_until_four_minutes_before_its_end(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    _, first = await get(client, emulator, IDENTITY, audience="https://a")
    clock.now += 3600 - 241
    _, second = await get(client, emulator, IDENTITY, audience="https://a")
    clock.now += 1
    _, third = await get(client, emulator, IDENTITY, audience="https://a")
    assert first == second
    assert third != first
    assert emulator.counts.minted["metadata"] == 2


async def test_each_audience_and_account_has_a_token_of_its_own(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    _, one = await get(client, emulator, IDENTITY, audience="https://a")
    _, two = await get(client, emulator, IDENTITY, audience="https://b")
    _, three = await get(client, emulator, f"{ACCOUNTS}/{INDEXER.email}/identity", audience="https://a")
    assert len({one, two, three}) == 3
    assert IdToken.parse(three, origin="test").subject == INDEXER.subject


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "non-empty audience parameter required"),
        ({"audience": ""}, "non-empty audience parameter required"),
        ({"audience": "https://a", "format": "ful"}, "unsupported format ful: standard or full"),
    ],
)
async def test_a_wrong_question_is_400(
    emulator: Emulator, client: aiohttp.ClientSession, query: dict[str, str], message: str
) -> None:
    assert await get(client, emulator, IDENTITY, **query) == (400, message)


@for_each("headers", [{}, {"Metadata-Flavor": "Amazon"}, {**FLAVOR, "X-Forwarded-For": "127.0.0.1"}])
@for_each("path", [IDENTITY, "/computeMetadata/v1/no/such/thing"])
async def test_who_does_not_mean_it_is_refused(
    emulator: Emulator, client: aiohttp.ClientSession, headers: dict[str, str], path: str
) -> None:
    response = await client.get(emulator.url + path, headers=headers, params={"audience": "https://a"})
    assert response.status == 403
    assert response.headers["Metadata-Flavor"] == "Google"
    assert not emulator.counts.handed_out


async def test_the_root_tells_anyone_that_this_is_google(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    response = await client.get(emulator.url + "/")
    assert (response.status, response.headers["Metadata-Flavor"]) == (200, "Google")


@pytest.mark.parametrize("account", ["nobody", DEV.email])
async def test_users_and_strangers_are_not_on_this_machine(
    emulator: Emulator, client: aiohttp.ClientSession, account: str
) -> None:
    status, _ = await get(client, emulator, f"{ACCOUNTS}/{account}/identity", audience="https://a")
    assert status == 404


async def test_it_describes_its_accounts(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    assert await get(client, emulator, f"{ACCOUNTS}/default/email") == (200, LOGIN.email)
    _, names = await get(client, emulator, f"{ACCOUNTS}/")
    assert names == f"default/\n{LOGIN.email}/\n{INDEXER.email}/\n"
    _, entries = await get(client, emulator, f"{ACCOUNTS}/default/")
    assert "identity\n" in entries
    response = await client.get(f"{emulator.url}{ACCOUNTS}/?recursive=true", headers=FLAVOR)
    tree = await response.json()
    assert tree["default"]["email"] == LOGIN.email
    assert tree[INDEXER.email]["aliases"] == []


async def test_it_hands_out_access_tokens(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    response = await client.get(f"{emulator.url}{ACCOUNTS}/default/token", headers=FLAVOR)
    answer = await response.json()
    assert answer["access_token"].startswith("ya29.")
    assert answer["expires_in"] == 3600


async def test_a_world_without_a_default_account_has_none(keys: Keys, client: aiohttp.ClientSession) -> None:
    async with Emulator(World(PROJECT, (INDEXER,), (Service("a"),)), keys=keys) as emulator:
        status, _ = await get(client, emulator, IDENTITY, audience="https://a")
        assert status == 404
        _, names = await get(client, emulator, f"{ACCOUNTS}/")
        assert names == f"{INDEXER.email}/\n"


async def test_a_user_may_stand_as_the_default_account(keys: Keys, client: aiohttp.ClientSession) -> None:
    user = type(DEV)(DEV.email, default=True)
    async with Emulator(World(PROJECT, (user,), ()), keys=keys) as emulator:
        assert await get(client, emulator, f"{ACCOUNTS}/default/email") == (200, DEV.email)
        _, names = await get(client, emulator, f"{ACCOUNTS}/")
        assert names == "default/\n"
