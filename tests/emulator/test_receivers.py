from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from google.auth import jwt

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.emulator.keys import Keys, SigningKey
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.tokens import ISSUER
from idtoken_proxy.emulator.world import Service, World
from tests.cases import for_each
from tests.emulator.conftest import DEV, INDEXER, LOGIN, PROJECT, WORLD, FakeClock, Recorder, stranger

CHALLENGE = 'Bearer error="invalid_token" error_description="The access token could not be verified"'


def token_for(emulator: Emulator, service: str, account: str = "login") -> str:
    return emulator.mint(account, emulator.urls[service])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def raw(emulator: Emulator, service: str, request: bytes) -> bytes:
    """Exactly these bytes, and what comes back until the service closes."""
    host, port = emulator.urls[service].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_an_invoker_is_let_through(
    emulator: Emulator, client: aiohttp.ClientSession, recorder: Recorder
) -> None:
    url = emulator.urls["profiles"]
    token = token_for(emulator, "profiles")
    response = await client.get(url + "/42%2F..?x=1", headers=bearer(token))
    assert response.status == 200
    told = await response.json()
    assert told["caller"] == LOGIN.email
    assert told["audience"] == url
    assert told["expires_in"] == 3600
    [seen] = recorder.seen
    assert seen == Seen("profiles", "GET", "/42%2F..?x=1", seen.headers, None)
    assert ("Authorization", f"Bearer {token}") in seen.headers


async def test_no_credential_is_403_in_html(
    emulator: Emulator, client: aiohttp.ClientSession, recorder: Recorder
) -> None:
    response = await client.get(emulator.urls["profiles"] + "/<x>")
    assert response.status == 403
    assert response.content_type == "text/html"
    page = await response.text()
    expected = "Your client does not have permission to get URL <code>/&lt;x&gt;</code> from this server."
    assert expected in page
    assert "WWW-Authenticate" not in response.headers
    assert [seen.refused for seen in recorder.seen] == [403]


async def test_a_caller_who_is_no_invoker_is_403(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    headers = bearer(token_for(emulator, "search"))
    response = await client.get(emulator.urls["search"], headers=headers)
    assert response.status == 403
    assert response.content_type == "text/html"
    headers = bearer(token_for(emulator, "search", "indexer"))
    response = await client.get(emulator.urls["search"], headers=headers)
    assert response.status == 200


async def test_an_account_that_is_gone_is_403(
    keys: Keys, clock: FakeClock, emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    world = World(PROJECT, (INDEXER,), (Service("a", frozenset({LOGIN.member})),))
    async with Emulator(world, keys=keys, clock=clock) as smaller:
        token = emulator.mint("login", smaller.urls["a"])
        response = await client.get(smaller.urls["a"], headers=bearer(token))
        assert response.status == 403


def signed(emulator: Emulator, key: SigningKey, **claims: Any) -> str:
    good = {
        "iss": ISSUER,
        "aud": emulator.urls["profiles"],
        "sub": LOGIN.subject,
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
    }
    token: bytes = jwt.encode(key.signer, good | claims)  # type: ignore[no-untyped-call]
    return token.decode()


@for_each(
    "claims",
    [
        {},
        {"iss": "accounts.google.com"},
        {"aud": "https://profiles.example.com"},
        {"exp": 1_800_000_000},
        {"iat": 1_800_000_060},
        {"sub": DEV.subject, "aud": GCLOUD_ADC_CLIENT, "azp": GCLOUD_ADC_CLIENT},
    ],
    ids=[
        "plain",
        "short issuer",
        "custom audience",
        "last second",
        "from the near future",
        "gcloud's audience",
    ],
)
async def test_tokens_that_verify(
    emulator: Emulator, client: aiohttp.ClientSession, claims: dict[str, Any]
) -> None:
    token = signed(emulator, emulator.keys.google, **claims)
    response = await client.get(emulator.urls["profiles"], headers=bearer(token))
    assert response.status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://accounts.example.com"},
        {"aud": "http://127.0.0.1:1"},
        {"aud": ["https://profiles.example.com"]},
        {"exp": 1_799_999_999},
        {"iat": 1_800_000_061},
        {"exp": "never"},
        {"aud": GCLOUD_ADC_CLIENT},
    ],
    ids=[
        "issuer",
        "audience",
        "two audiences",
        "expired",
        "from the future",
        "garbage",
        "a service account with gcloud's audience",
    ],
)
async def test_tokens_that_do_not_verify_are_401(
    emulator: Emulator, client: aiohttp.ClientSession, recorder: Recorder, claims: dict[str, Any]
) -> None:
    token = signed(emulator, emulator.keys.google, **claims)
    response = await client.get(emulator.urls["profiles"], headers=bearer(token))
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert [seen.refused for seen in recorder.seen] == [401]


@for_each("credential", ["Basic eDp5", "Bearer", "Bearer ya29.opaque", "Bearer a.b.c", "x", ""])
async def test_other_credentials_are_401(
    emulator: Emulator, client: aiohttp.ClientSession, credential: str
) -> None:
    response = await client.get(emulator.urls["profiles"], headers={"Authorization": credential})
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, CHALLENGE)


async def test_anothers_signature_is_401(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    response = await client.get(emulator.urls["profiles"], headers=bearer(signed(emulator, stranger())))
    assert response.status == 401


async def test_a_token_without_email_is_known_by_its_subject(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer(signed(emulator, emulator.keys.google))
    response = await client.get(emulator.urls["profiles"], headers=headers)
    assert (await response.json())["caller"] is None


async def test_the_serverless_header_alone_is_checked_and_loses_its_signature(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    token = token_for(emulator, "profiles")
    headers = {"authorization": "Basic eDp5", "x-serverless-authorization": f"bearer {token}"}
    response = await client.get(emulator.urls["profiles"], headers=headers)
    assert response.status == 200
    received = dict((await response.json())["headers"])
    assert received["authorization"] == "Basic eDp5"
    head_and_claims = token.rpartition(".")[0]
    assert received["x-serverless-authorization"] == f"bearer {head_and_claims}.SIGNATURE_REMOVED_BY_GOOGLE"


async def test_a_bad_serverless_header_is_not_made_good_by_the_other(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer(token_for(emulator, "profiles")) | {"X-Serverless-Authorization": "Bearer x"}
    response = await client.get(emulator.urls["profiles"], headers=headers)
    assert response.status == 401


async def test_proxy_authorization_is_no_credential(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = {"Proxy-Authorization": f"Bearer {token_for(emulator, 'profiles')}"}
    response = await client.get(emulator.urls["profiles"], headers=headers)
    assert response.status == 403


async def test_any_account_may_where_all_authenticated_users_may(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url = emulator.urls["members"]
    assert (await client.get(url)).status == 403
    assert (await client.get(url, headers=bearer(emulator.mint("dev", url)))).status == 200


async def test_a_public_service_checks_nothing_and_passes_everything(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    response = await client.get(emulator.urls["public"], headers={"Authorization": "Bearer the.apps.own"})
    told = await response.json()
    assert dict(told["headers"])["Authorization"] == "Bearer the.apps.own"
    assert (told["caller"], told["audience"], told["expires_in"]) == (None, None, None)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
async def test_each_of_its_names_makes_an_audience(
    emulator: Emulator, client: aiohttp.ClientSession, name: str
) -> None:
    url = emulator.urls["profiles"]
    port = url.rpartition(":")[2]
    token = emulator.mint("login", f"http://{name.lower()}:{port}")
    response = await client.get(url, headers=bearer(token) | {"Host": f"{name}:{port}"})
    assert response.status == 200


@pytest.mark.parametrize("host", ["localhost:8080", "localhost", "other-x7f3kq-uc.a.run.app"])
async def test_another_hosts_request_is_404(
    emulator: Emulator, client: aiohttp.ClientSession, host: str
) -> None:
    headers = bearer(token_for(emulator, "profiles")) | {"Host": host}
    response = await client.get(emulator.urls["profiles"], headers=headers)
    assert response.status == 404


async def test_bound_to_every_address_it_answers_to_every_name(
    keys: Keys, client: aiohttp.ClientSession
) -> None:
    async with Emulator(WORLD, keys=keys, host="0.0.0.0") as emulator:
        url = emulator.urls["profiles"]
        assert url.startswith("http://127.0.0.1:")
        headers = bearer(emulator.mint("login", "http://emulator:8101")) | {"Host": "emulator:8101"}
        assert (await client.get(url, headers=headers)).status == 200
        headers["Host"] = "another:8101"
        assert (await client.get(url, headers=headers)).status == 401


async def test_a_traffic_tag_is_a_name_of_the_service_and_no_audience(
    keys: Keys, client: aiohttp.ClientSession
) -> None:
    own = "profiles-123456789012.europe-west1.run.app"
    tagged = f"canary---{own}"
    profiles = replace(WORLD.services[0], audiences=(f"https://{own}", f"https://{tagged}"))
    world = replace(WORLD, services=(profiles,))
    async with Emulator(world, keys=keys, host="0.0.0.0") as emulator:
        for audience, status in (
            (f"http://{own}", 200),
            (f"https://{own}", 200),
            (f"http://{tagged}", 401),
            (f"https://{tagged}", 401),  # registered or not
            (f"https://a---b---{own}", 401),
        ):
            headers = bearer(emulator.mint("login", audience)) | {"Host": tagged}
            answer = await client.get(emulator.urls["profiles"], headers=headers)
            assert answer.status == status, audience


@pytest.mark.parametrize("start_line", [b"TRACE / HTTP/1.1", b"CONNECT a:443 HTTP/1.1"])
async def test_connect_and_trace_are_refused(emulator: Emulator, start_line: bytes) -> None:
    answer = await raw(emulator, "public", start_line + b"\r\nHost: a:443\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_a_body_is_waited_for_only_from_who_may_send_it(emulator: Emulator) -> None:
    head = b"POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 2\r\n%sExpect: 100-continue\r\n\r\n"
    host = emulator.urls["profiles"].removeprefix("http://").encode()
    answer = await raw(emulator, "profiles", head % (host, b"") + b"hi")
    assert answer.startswith(b"HTTP/1.1 403 ")
    credential = f"Authorization: Bearer {token_for(emulator, 'profiles')}\r\n".encode()
    answer = await raw(emulator, "profiles", head % (host, credential) + b"hi")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
