from __future__ import annotations

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from tests.cases import for_each
from tests.emulator.conftest import CLIENT, INDEXER, LOGIN
from tests.emulator.test_receivers import bearer, token_for


async def test_a_caller_is_let_in_and_shut_out_while_it_runs(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url, headers = emulator.urls["search"], bearer(token_for(emulator, "search"))
    assert (await client.get(url, headers=headers)).status == 403
    for name in ("login", LOGIN.email, LOGIN.member):
        response = await client.post(emulator.let_in_url("search", name))
        assert (response.status, await response.text()) == (200, f"{LOGIN.member} may invoke search now\n")
        assert (await client.get(url, headers=headers)).status == 200
        response = await client.delete(emulator.let_in_url("search", name))
        assert await response.text() == f"{LOGIN.member} may not invoke search any more\n"
        assert (await client.get(url, headers=headers)).status == 403
    indexer = bearer(token_for(emulator, "search", "indexer"))
    assert (await client.get(url, headers=indexer)).status == 200  # as before


async def test_behind_iap_and_for_everyone(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    headers = bearer(emulator.mint("indexer", CLIENT))
    assert (await client.get(emulator.urls["intranet"], headers=headers)).status == 403
    await client.post(emulator.let_in_url("intranet", INDEXER.name))
    assert (await client.get(emulator.urls["intranet"], headers=headers)).status == 200
    await client.post(emulator.let_in_url("search", "allUsers"))
    assert (await client.get(emulator.urls["search"])).status == 200


@pytest.mark.parametrize(
    ("service", "member", "said"),
    [
        ("serch", "login", "no such service; there are: profiles, search, members, public, "),
        (
            "search",
            "nobody",
            "no such account; there are: login, indexer, dev, allUsers, allAuthenticatedUsers",
        ),
        ("search", "user:login", "no such account"),
        ("search", "default", "no such account"),
    ],
)
async def test_what_is_not_there_is_404(
    emulator: Emulator, client: aiohttp.ClientSession, service: str, member: str, said: str
) -> None:
    response = await client.post(emulator.let_in_url(service, member))
    assert response.status == 404
    assert (await response.text()).startswith(said)


@for_each(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Host": "evil.example"},
    ],
)
@for_each("method", ["POST", "DELETE"])
async def test_no_page_lets_anybody_in(
    emulator: Emulator, client: aiohttp.ClientSession, method: str, headers: dict[str, str]
) -> None:
    response = await client.request(method, emulator.let_in_url("search", "login"), headers=headers)
    assert response.status == 403
    called = await client.get(emulator.urls["search"], headers=bearer(token_for(emulator, "search")))
    assert called.status == 403


async def test_a_get_changes_nothing(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    assert (await client.get(emulator.let_in_url("search", "login"))).status == 405
