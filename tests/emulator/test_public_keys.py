from __future__ import annotations

import asyncio

import aiohttp
import google.auth.transport.requests
import pytest
from google.auth import exceptions
from google.oauth2 import id_token

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from tests.emulator.conftest import LOGIN, WORLD


async def test_googles_verifier_accepts_tokens_by_the_published_certificates(keys: Keys) -> None:
    async with Emulator(WORLD, keys=keys) as emulator:
        claims = await asyncio.to_thread(
            id_token.verify_token,
            emulator.mint("login", "https://a"),
            google.auth.transport.requests.Request(),
            audience="https://a",
            certs_url=emulator.certs_url,
        )
    assert claims["email"] == LOGIN.email


async def test_and_refuses_anothers_tokens(keys: Keys) -> None:
    async with Emulator(WORLD, keys=keys) as emulator, Emulator(WORLD, keys=Keys()) as other:
        with pytest.raises(exceptions.MalformedError):
            await asyncio.to_thread(
                id_token.verify_token,
                other.mint("login", "https://a"),
                google.auth.transport.requests.Request(),
                certs_url=emulator.certs_url,
            )


async def test_discovery_leads_to_the_keys(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    response = await client.get(emulator.url + "/.well-known/openid-configuration")
    document = await response.json()
    assert document["issuer"] == "https://accounts.google.com"
    assert document["token_endpoint"] == emulator.token_endpoint
    assert document["jwks_uri"] == emulator.jwks_url
    response = await client.get(document["jwks_uri"])
    assert "max-age=3600" in response.headers["Cache-Control"]
    assert await response.json() == emulator.keys.jwks()


async def test_an_accounts_own_certificate_is_published_once_it_has_a_key(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    content = emulator.key_file("login")
    response = await client.get(content["client_x509_cert_url"])
    assert list(await response.json()) == [content["private_key_id"]]
    response = await client.get(f"{emulator.url}/robot/v1/metadata/x509/nobody@example.com")
    assert await response.json() == {}
