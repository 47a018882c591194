"""What clients of their own make of it is in tests/end_to_end/test_recipes.py; here is what those do not ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import service_account_email

CALLER = Account(service_account_email("caller", "proj"), default=True)
WORLD = World(
    "proj",
    (CALLER,),
    tuple(
        Service(name, frozenset({CALLER.member}), api=name)
        for name in ("aiplatform", "storage", "monitoring", "python", "pubsub")
    ),
)


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys) as running:
        yield running


async def asked(emulator: Emulator, api: str, path: str, body: object = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {emulator.access_token(CALLER.email)}"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            "GET" if body is None else "POST",
            emulator.urls[api] + path,
            headers=headers,
            data=body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode(),
        ) as answer,
    ):
        return answer.status, await answer.text()


VERTEX = "/v1/projects/p/locations/l"


@pytest.mark.parametrize(
    ("api", "path", "body", "status"),
    [
        ("aiplatform", f"{VERTEX}/endpoints/openapi/chat/completions", b"{", 400),
        ("aiplatform", f"{VERTEX}/endpoints/openapi/chat/completions", {"messages": []}, 400),
        (
            "aiplatform",
            f"{VERTEX}/publishers/anthropic/models/claude:rawPredict",
            {"messages": [{"content": "a"}]},
            400,
        ),
        ("aiplatform", f"{VERTEX}/elsewhere", {"messages": [{"content": "a"}]}, 404),
        ("storage", "/storage/v1/b/mine/o/none", None, 404),
        ("storage", "/upload/storage/v1/b/mine/o?uploadType=odd", b"", 400),
        ("storage", "/elsewhere", None, 404),
        ("monitoring", "/api/v1/query", None, 404),
        ("python", "/p/r/simple/other/", None, 404),
        ("pubsub", "/v1/projects/p/topics", None, 200),
    ],
)
async def test_what_else_is_asked(emulator: Emulator, api: str, path: str, body: object, status: int) -> None:
    assert (await asked(emulator, api, path, body))[0] == status
