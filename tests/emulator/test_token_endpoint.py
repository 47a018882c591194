from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import google.auth.transport.requests
import pytest
from google.auth import crypt, jwt
from google.oauth2 import credentials, service_account

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.emulator.keys import Keys, SigningKey
from idtoken_proxy.emulator.token_endpoint import JWT_BEARER
from tests.cases import for_each
from tests.emulator.conftest import DEV, INDEXER, LOGIN, WORLD, FakeClock, stranger


@pytest.fixture
async def now(keys: Keys) -> Any:
    """On the machine's clock, as Google's libraries sign by it."""
    async with Emulator(WORLD, keys=keys) as running:
        yield running


async def test_googles_own_library_gets_an_id_token_for_a_key_file(now: Emulator) -> None:
    held = service_account.IDTokenCredentials.from_service_account_info(  # type: ignore[no-untyped-call]
        now.key_file("login"), target_audience="https://a"
    )
    await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())
    claims = jwt.decode(held.token, now.keys.certificates(), audience="https://a")  # type: ignore[no-untyped-call]
    assert claims["email"] == LOGIN.email
    assert claims["azp"] == LOGIN.email
    assert now.counts.minted == {"token_endpoint": 1}
    assert now.counts.handed_out == {"token_endpoint": 1}


async def test_googles_own_library_gets_a_users_token_with_gclouds_audience(now: Emulator) -> None:
    held = credentials.Credentials.from_authorized_user_info(now.key_file("dev"))  # type: ignore[no-untyped-call]
    held = held.with_token_uri(now.token_endpoint)
    await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())
    claims = jwt.decode(held.id_token, now.keys.certificates(), audience=GCLOUD_ADC_CLIENT)  # type: ignore[no-untyped-call]
    assert claims["email"] == DEV.email
    assert held.token.startswith("ya29.")


def assertion(
    emulator: Emulator, clock: FakeClock, *, key: Callable[[], SigningKey] | None = None, **claims: Any
) -> str:
    """A good one, but for `claims`; a claim that is None is left out."""
    emulator.key_file("login")
    good = {
        "iss": LOGIN.email,
        "sub": LOGIN.email,
        "aud": emulator.token_endpoint,
        "iat": clock.now,
        "exp": clock.now + 3600,
        "target_audience": "https://a",
    }
    payload = {name: value for name, value in (good | claims).items() if value is not None}
    signer = (key() if key else emulator.keys.of(LOGIN.email)).signer
    token: bytes = jwt.encode(signer, payload)  # type: ignore[no-untyped-call]
    return token.decode()


async def ask(
    client: aiohttp.ClientSession, emulator: Emulator, form: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    response = await client.post(emulator.token_endpoint, data=form)
    return response.status, await response.json()


async def exchange(
    client: aiohttp.ClientSession, emulator: Emulator, assertion: str
) -> tuple[int, dict[str, Any]]:
    return await ask(client, emulator, {"grant_type": JWT_BEARER, "assertion": assertion})


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": "https://oauth2.googleapis.com/token"},
        {"sub": None},
        {"iat": 1_800_000_300, "exp": 1_800_000_360},
        {"iat": 1_799_996_100, "exp": 1_799_999_700},
    ],
    ids=["plain", "googles own endpoint", "no sub", "from the near future", "just run out"],
)
async def test_a_good_assertion_is_worth_an_id_token(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock, claims: dict[str, Any]
) -> None:
    status, answer = await exchange(client, emulator, assertion(emulator, clock, **claims))
    assert status == 200
    assert list(answer) == ["id_token"]


async def test_an_assertion_with_a_scope_is_worth_an_access_token(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    asked = assertion(emulator, clock, target_audience=None, scope="https://www.googleapis.com/auth/iam")
    status, answer = await exchange(client, emulator, asked)
    assert status == 200
    assert answer["token_type"] == "Bearer"
    assert not emulator.counts.minted


BAD_SIGNATURE = ("invalid_grant", "Invalid JWT Signature.")
NO_ACCOUNT = ("invalid_grant", "Invalid grant: account not found")
NO_SCOPE = ("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
NOT_SHORT_LIVED = (
    "invalid_grant",
    (
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        " Check your iat and exp values in the JWT claim."
    ),
)


@for_each(
    ("claims", "error"),
    [
        ({"key": stranger}, BAD_SIGNATURE),
        ({"iat": None}, BAD_SIGNATURE),
        ({"exp": "soon"}, BAD_SIGNATURE),
        ({"iss": INDEXER.email, "sub": INDEXER.email}, BAD_SIGNATURE),
        ({"iss": "a@b.c", "sub": "a@b.c"}, NO_ACCOUNT),
        ({"iss": "login"}, NO_ACCOUNT),
        ({"iss": 3}, NO_ACCOUNT),
        ({"sub": INDEXER.email}, NO_ACCOUNT),
        ({"iss": None}, ("invalid_request", "Bad Request")),
        ({"aud": "https://elsewhere/token"}, ("invalid_grant", "Invalid JWT: Failed audience check.")),
        ({"exp": 1_800_003_601}, NOT_SHORT_LIVED),
        ({"exp": 1_800_000_000}, NOT_SHORT_LIVED),
        ({"iat": 1_800_000_301, "exp": 1_800_000_361}, NOT_SHORT_LIVED),
        ({"iat": 1_799_996_099, "exp": 1_799_999_699}, NOT_SHORT_LIVED),
        ({"target_audience": None}, NO_SCOPE),
        ({"target_audience": ""}, NO_SCOPE),
    ],
)
async def test_a_bad_assertion_is_refused_in_googles_words(
    emulator: Emulator,
    client: aiohttp.ClientSession,
    clock: FakeClock,
    claims: dict[str, Any],
    error: tuple[str, str],
) -> None:
    status, answer = await exchange(client, emulator, assertion(emulator, clock, **claims))
    assert status == 400
    assert (answer["error"], answer["error_description"]) == error
    assert not emulator.counts.minted


async def test_no_key_given_out_is_no_signature(
    client: aiohttp.ClientSession, clock: FakeClock, emulator: Emulator
) -> None:
    async with Emulator(WORLD, keys=Keys()) as other:
        asked = assertion(emulator, clock, aud=other.token_endpoint)
        _, answer = await exchange(client, other, asked)
    assert answer["error_description"] == "Invalid JWT Signature."


@for_each(
    ("form", "status", "error"),
    [
        ({}, 400, "unsupported_grant_type"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": JWT_BEARER}, 400, "invalid_request"),
        ({"grant_type": JWT_BEARER, "assertion": "a.b.c"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token"}, 401, "invalid_client"),
        ({"grant_type": "refresh_token", "client_id": GCLOUD_ADC_CLIENT}, 400, "invalid_grant"),
    ],
)
async def test_a_wrong_form_is_refused(
    emulator: Emulator, client: aiohttp.ClientSession, form: dict[str, str], status: int, error: str
) -> None:
    got, answer = await ask(client, emulator, form)
    assert (got, answer["error"]) == (status, error)


def test_the_signer_of_a_key_file_is_its_accounts(keys: Keys) -> None:
    signer = crypt.RSASigner.from_string(keys.of(LOGIN.email).private_pem)  # type: ignore[no-untyped-call]
    certificate = keys.of(LOGIN.email).certificate
    assert crypt.verify_signature(b"x", signer.sign(b"x"), certificate)  # type: ignore[no-untyped-call]
