"""Agents and workloads: tokens with a list of audiences, and without an email."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import agent_id
from idtoken_proxy.first_screen import _credential
from idtoken_proxy.settings.identities import FileIdentity
from tests.end_to_end.conftest import Serve, route_to, settings_for
from tests.identity.fakes import jwt

HELPER = Account(agent_id("helper"), default=True)
WORLD = World(
    "my-project",
    (HELPER,),
    (Service("mine", frozenset({HELPER.member})), Service("others")),
)


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys) as running:
        yield running


async def test_an_agent_s_token_is_one(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession
) -> None:
    server = await serve(
        settings_for(
            *(route_to(emulator, name) for name in ("mine", "others")), metadata_host=emulator.metadata_host
        )
    )
    url = f"http://localhost:{server.addresses[0].port}"
    async with client.get(f"{url}/mine/") as answer:
        assert answer.status == 200
        assert json.loads(await answer.text())["audience"] == [emulator.urls["mine"]]
    async with client.get(f"{url}/others/") as answer:
        assert answer.status == 403
    (mine, _) = server.route_statuses()
    assert (mine["token"]["email"], mine["token"]["subject"]) == (None, HELPER.email)
    assert mine["token"]["audience"] == emulator.urls["mine"]
    assert HELPER.email in _credential(server.slots["mine"].status(), 0)


async def test_a_workload_s_own_token_out_of_a_file(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A projected service account token of Kubernetes, and a JWT-SVID: of a list of audiences, one is the route's."""
    route = route_to(emulator, "mine")
    for name, subject in (("k8s", "system:serviceaccount:shop:app"), ("svid", "spiffe://example.org/shop")):
        claims = {"sub": subject, "aud": ["other", route.audience], "exp": 4_000_000_000, "iat": 1}
        (tmp_path / name).write_text(jwt(claims))
        server = await serve(
            settings_for(
                route_to(emulator, "mine", identity=FileIdentity(str(tmp_path / name))),
                metadata_host=emulator.metadata_host,
            )
        )
        async with client.get(f"http://localhost:{server.addresses[0].port}/mine/") as answer:
            assert answer.status == 401  # it was sent, and the emulator does not know its issuer
        (status,) = server.route_statuses()
        assert status["token"]["subject"] == subject
        assert status["token"]["valid"]
