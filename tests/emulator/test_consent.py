from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from idtoken_proxy.emulator import Account, Emulator, World
from idtoken_proxy.emulator.consent import CLIENT, PATH
from idtoken_proxy.emulator.keys import Keys
from tests.identity.sources.emulated import consented

DEV = Account("dev@example.com")
ASKED = {
    "client_id": CLIENT,
    "redirect_uri": "http://127.0.0.1:4711/",
    "response_type": "code",
    "scope": "openid email",
    "code_challenge": "x",
    "code_challenge_method": "S256",
    "state": "<script>",
}


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(World("proj", (DEV,), ()), keys=keys) as running:
        yield running


async def test_who_clicks_is_sent_back_with_a_code_and_the_state(emulator: Emulator) -> None:
    back = await asyncio.to_thread(consented, f"{emulator.url}{PATH}?{urlencode(ASKED)}", DEV.email)
    assert back.startswith("http://127.0.0.1:4711/?")
    answer = parse_qs(urlsplit(back).query)
    assert answer["state"] == ["<script>"]
    assert answer["code"][0].startswith("4/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_id", "other"),
        ("redirect_uri", "https://evil.example/"),
        ("redirect_uri", "http://127.0.0.1.evil.example/"),
        ("response_type", "token"),
        ("code_challenge_method", "plain"),
        ("code_challenge", ""),
        ("state", ""),
    ],
)
async def test_what_is_malformed_leads_nowhere(emulator: Emulator, name: str, value: str) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{emulator.url}{PATH}?{urlencode({**ASKED, name: value})}"
        for ask in (session.get, session.post):
            async with ask(url, allow_redirects=False) as answer:
                assert answer.status == 400


async def test_the_client_is_at_hand(emulator: Emulator) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{emulator.url}/emulator/client.json") as answer,
    ):
        assert await answer.json() == emulator.client_file
