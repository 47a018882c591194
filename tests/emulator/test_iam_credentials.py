from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import google.auth.transport.requests
import pytest
from google.auth import impersonated_credentials, jwt
from google.oauth2 import service_account

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.refusals import permission_denied
from idtoken_proxy.emulator.world import Account, World
from idtoken_proxy.identity.token import IdToken
from tests.cases import for_each
from tests.emulator.conftest import DEV, INDEXER, LOGIN, PROJECT, WORLD, FakeClock

NAMES = "projects/-/serviceAccounts"


async def access_token(client: aiohttp.ClientSession, emulator: Emulator, account: str = "default") -> str:
    path = f"/computeMetadata/v1/instance/service-accounts/{account}/token"
    response = await client.get(emulator.url + path, headers={"Metadata-Flavor": "Google"})
    return str((await response.json())["access_token"])


async def call(
    client: aiohttp.ClientSession,
    emulator: Emulator,
    method: str = "generateIdToken",
    *,
    target: str = INDEXER.email,
    authorization: str | None = None,
    **body: Any,
) -> tuple[int, dict[str, Any]]:
    if authorization is None:
        authorization = f"Bearer {await access_token(client, emulator)}"
    response = await client.post(
        f"{emulator.iam_endpoint}/v1/{NAMES}/{target}:{method}",
        json=body,
        headers={"Authorization": authorization},
    )
    return response.status, await response.json()


async def test_who_may_impersonate_gets_the_others_token(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    emails = []
    for include in (True, False):
        status, answer = await call(client, emulator, audience="https://a", includeEmail=include)
        assert status == 200
        token = IdToken.parse(answer["token"], origin="test")
        assert (token.audience, token.subject) == ("https://a", INDEXER.subject)
        emails.append(token.email)
    assert emails == [INDEXER.email, None]
    assert emulator.counts.minted == emulator.counts.handed_out == {"iam_credentials": 2}


async def test_the_access_token_given_out_is_the_others(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    status, answer = await call(client, emulator, "generateAccessToken", scope=["https://x"])
    assert status == 200
    assert answer["expireTime"] == "2027-01-15T09:00:00Z"
    token = f"Bearer {answer['accessToken']}"
    status, _ = await call(client, emulator, target=LOGIN.email, authorization=token, audience="https://a")
    assert status == 403


@for_each(
    ("asked", "status", "name"),
    [
        ({"authorization": "Bearer ya29.unknown"}, 401, "UNAUTHENTICATED"),
        ({"authorization": "Basic eDp5"}, 401, "UNAUTHENTICATED"),
        ({"authorization": ""}, 401, "UNAUTHENTICATED"),
        ({"target": "a@b.c"}, 404, "NOT_FOUND"),
        ({"target": DEV.email}, 404, "NOT_FOUND"),
        ({"target": LOGIN.email}, 403, "PERMISSION_DENIED"),
        ({"delegates": [f"{NAMES}/a@b.c"]}, 404, "NOT_FOUND"),
        ({"delegates": [f"{NAMES}/{LOGIN.email}"]}, 403, "PERMISSION_DENIED"),
        ({"audience": ""}, 400, "INVALID_ARGUMENT"),
        ({"audience": None}, 400, "INVALID_ARGUMENT"),
        ({"method": "generateAccessToken"}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_refusals_come_in_googles_error_model(
    emulator: Emulator, client: aiohttp.ClientSession, asked: dict[str, Any], status: int, name: str
) -> None:
    got, answer = await call(client, emulator, **({"audience": "https://a"} | asked))
    assert got == answer["error"]["code"] == status
    assert answer["error"]["status"] == name


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_body_that_is_no_object_is_400(
    emulator: Emulator, client: aiohttp.ClientSession, body: bytes
) -> None:
    url = f"{emulator.iam_endpoint}/v1/{NAMES}/{INDEXER.email}:generateIdToken"
    response = await client.post(url, data=body)
    assert response.status == 400


async def test_refusals_say_what_googles_say(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    _, answer = await call(client, emulator, target=LOGIN.email, audience="https://a")
    assert answer == permission_denied("iam.serviceAccounts.getOpenIdToken").answer
    _, answer = await call(client, emulator, target="a@b.c", audience="https://a")
    assert answer["error"]["message"] == "Not found; Gaia id not found for email a@b.c"
    delegates = [f"{NAMES}/{LOGIN.email}"]
    _, answer = await call(client, emulator, audience="https://a", delegates=delegates)
    assert answer == permission_denied("iam.serviceAccounts.implicitDelegation").answer


async def test_a_jwt_is_signed_with_the_accounts_key(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    payload = {
        "iss": INDEXER.email,
        "aud": "https://a/*",
        "iat": int(clock.now),
        "exp": int(clock.now) + 43_200,
    }
    status, answer = await call(client, emulator, "signJwt", payload=json.dumps(payload))
    assert status == 200
    response = await client.get(f"{emulator.url}/robot/v1/metadata/x509/{INDEXER.email}")
    certificates = await response.json()
    assert list(certificates) == [answer["keyId"]]
    assert jwt.decode_header(answer["signedJwt"])["kid"] == answer["keyId"]  # type: ignore[no-untyped-call]
    told = jwt.decode(answer["signedJwt"], certificates, clock_skew_in_seconds=10**11)  # type: ignore[no-untyped-call]
    assert told == payload


@for_each(
    "payload",
    [None, 3, "x", "[]", '{"exp": 1799999999}', '{"exp": 1800043201}', '{"exp": "soon"}', '{"exp": true}'],
)
async def test_a_payload_that_is_no_set_of_claims_is_not_signed(
    emulator: Emulator, client: aiohttp.ClientSession, payload: object
) -> None:
    status, answer = await call(client, emulator, "signJwt", payload=payload)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_who_may_not_sign_is_refused_for_just_that(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    status, answer = await call(client, emulator, "signJwt", target=LOGIN.email, payload="{}")
    assert (status, answer) == (403, permission_denied("iam.serviceAccounts.signJwt").answer)
    status, _ = await call(client, emulator, "signJwt", payload="{}")
    assert status == 200


async def test_a_chain_of_delegates_needs_each_grant(keys: Keys, client: aiohttp.ClientSession) -> None:
    last = Account(f"last@{PROJECT}.iam.gserviceaccount.com", token_creators=frozenset({INDEXER.member}))
    async with Emulator(World(PROJECT, (LOGIN, INDEXER, last), ()), keys=keys) as emulator:
        asked = {"target": last.email, "audience": "https://a"}
        status, _ = await call(client, emulator, **asked)
        assert status == 403
        status, _ = await call(client, emulator, **asked, delegates=[f"{NAMES}/{INDEXER.email}"])
        assert status == 200


async def test_googles_own_library_impersonates_from_a_key_file(keys: Keys) -> None:
    async with Emulator(WORLD, keys=keys) as emulator:
        source = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            emulator.key_file("login"), scopes=["https://www.googleapis.com/auth/iam"]
        )
        target = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
            source,
            INDEXER.email,
            ["https://www.googleapis.com/auth/cloud-platform"],
            iam_endpoint_override=(f"{emulator.iam_endpoint}/v1/{NAMES}/{INDEXER.email}:generateAccessToken"),
        )
        await asyncio.to_thread(target.refresh, google.auth.transport.requests.Request())
        assert str(target.token).startswith("ya29.")
