from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from google.auth import jwt

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.iap import MANAGED_CLIENT
from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.emulator.keys import SigningKey
from idtoken_proxy.emulator.tokens import ISSUER
from tests.cases import for_each
from tests.emulator.conftest import CLIENT, INDEXER, LOGIN, FakeClock, stranger


def bearer(token: str, header: str = "Authorization") -> dict[str, str]:
    return {header: f"Bearer {token}"}


def signed(key: SigningKey, clock: FakeClock, **claims: Any) -> str:
    good = {"iat": int(clock.now), "exp": int(clock.now) + 3600}
    payload = {name: value for name, value in (good | claims).items() if value is not None}
    token: bytes = jwt.encode(key.signer, payload)  # type: ignore[no-untyped-call]
    return token.decode()


def own(emulator: Emulator, clock: FakeClock, email: str = LOGIN.email, **claims: Any) -> str:
    """A JWT that the account signs itself."""
    return signed(emulator.keys.of(email), clock, **({"iss": email, "sub": email} | claims))


async def refused(client: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> tuple[int, str]:
    response = await client.get(url, headers=headers, allow_redirects=False)
    assert response.headers["X-Goog-Iap-Generated-Response"] == "true"
    return response.status, await response.text()


@pytest.mark.parametrize("header", ["Authorization", "Proxy-Authorization"])
async def test_a_token_for_its_client_is_let_through_and_the_container_is_told_whose(
    emulator: Emulator, client: aiohttp.ClientSession, header: str
) -> None:
    headers = bearer(emulator.mint("login", CLIENT), header) | {"X-Goog-Anything": "forged"}
    response = await client.get(emulator.urls["intranet"] + "/x", headers=headers)
    assert response.status == 200
    assert "X-Goog-Iap-Generated-Response" not in response.headers
    told = await response.json()
    assert (told["caller"], told["audience"]) == (LOGIN.email, CLIENT)
    received = dict(told["headers"])
    assert received["X-Goog-Authenticated-User-Email"] == f"accounts.google.com:{LOGIN.email}"
    assert received["X-Goog-Authenticated-User-ID"] == f"accounts.google.com:{LOGIN.subject}"
    assert "X-Goog-Anything" not in received
    assert "Proxy-Authorization" not in received


async def test_the_apps_own_authorization_passes_beside_proxy_authorization(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer(emulator.mint("login", CLIENT), "Proxy-Authorization") | bearer("the.apps.own")
    response = await client.get(emulator.urls["intranet"], headers=headers)
    assert response.status == 200
    assert dict((await response.json())["headers"])["Authorization"] == "Bearer the.apps.own"


async def test_authorization_counts_where_proxy_authorization_is_not_good(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    headers = bearer("x", "Proxy-Authorization") | bearer(emulator.mint("login", CLIENT))
    assert (await client.get(emulator.urls["intranet"], headers=headers)).status == 200


@pytest.mark.parametrize("name", ["intranet", "managed"])
async def test_a_browser_is_sent_to_sign_in_and_others_are_refused(
    emulator: Emulator, client: aiohttp.ClientSession, name: str
) -> None:
    url = emulator.urls[name]
    status, text = await refused(client, url, {})
    assert (status, text) == (401, "Invalid IAP credentials: empty token")
    accept = {"Accept": "text/html,application/xhtml+xml;q=0.9"}
    response = await client.get(url, headers=accept, allow_redirects=False)
    assert response.status == 302
    assert response.headers["X-Goog-Iap-Generated-Response"] == "true"
    location = response.headers["Location"]
    assert location.startswith("https://accounts.google.com/o/oauth2/v2/auth?client_id=")
    assert (CLIENT if name == "intranet" else MANAGED_CLIENT) in location


@pytest.mark.parametrize("header", ["X-Serverless-Authorization", "Cookie"])
async def test_other_headers_are_no_credential(
    emulator: Emulator, client: aiohttp.ClientSession, header: str
) -> None:
    token = emulator.mint("login", CLIENT)
    status, text = await refused(client, emulator.urls["intranet"], bearer(token, header))
    assert (status, text) == (401, "Invalid IAP credentials: empty token")


@for_each(
    ("claims", "said"),
    [
        ({"aud": "https://x"}, f"('aud' claim (https://x) doesn't match expected value ({CLIENT}))"),
        ({"aud": GCLOUD_ADC_CLIENT, "azp": GCLOUD_ADC_CLIENT}, "JWT audience doesn't match this application"),
        ({"email": None}, "JWT 'email' claim isn't a string"),
        ({"exp": 1_799_999_939}, "Expired JWT"),
        ({"iat": 1_800_000_061}, "Expired JWT"),
        ({"exp": "never"}, "JWT signature is invalid"),
        ({"iss": "https://accounts.example.com"}, "JWT signature is invalid"),
    ],
)
async def test_what_is_wrong_with_a_token_is_said(
    emulator: Emulator,
    client: aiohttp.ClientSession,
    clock: FakeClock,
    claims: dict[str, Any],
    said: str,
) -> None:
    good = {"iss": ISSUER, "aud": CLIENT, "sub": LOGIN.subject, "email": LOGIN.email}
    token = signed(emulator.keys.google, clock, **(good | claims))
    status, text = await refused(client, emulator.urls["intranet"], bearer(token))
    assert status == 401
    assert text.startswith("Invalid IAP credentials: ")
    assert said in text


@pytest.mark.parametrize(
    "claims", [{"iss": "accounts.google.com"}, {"exp": 1_799_999_940}, {"iat": 1_800_000_060}]
)
async def test_tokens_that_verify(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock, claims: dict[str, Any]
) -> None:
    good = {"iss": ISSUER, "aud": CLIENT, "sub": LOGIN.subject, "email": LOGIN.email}
    token = signed(emulator.keys.google, clock, **(good | claims))
    assert (await client.get(emulator.urls["intranet"], headers=bearer(token))).status == 200


@pytest.mark.parametrize("token", ["x", "a.b.c", ""])
async def test_what_is_no_jwt_cannot_be_parsed(
    emulator: Emulator, client: aiohttp.ClientSession, token: str
) -> None:
    status, text = await refused(client, emulator.urls["intranet"], bearer(token))
    assert (status, text) == (401, "Invalid IAP credentials: Unable to parse JWT")


async def test_who_has_not_the_role_is_403(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    headers = bearer(emulator.mint("indexer", CLIENT))
    assert (await refused(client, emulator.urls["intranet"], headers))[0] == 403
    gone = signed(
        emulator.keys.google,
        FakeClock(),
        iss=ISSUER,
        aud=CLIENT,
        sub="1",
        email="gone@example.com",
    )
    assert (await refused(client, emulator.urls["intranet"], bearer(gone)))[0] == 403


async def test_googles_own_client_takes_no_oidc_token(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url = emulator.urls["managed"]
    for audience in (url, CLIENT):
        status, text = await refused(client, url, bearer(emulator.mint("login", audience)))
        assert status == 401
        assert "JWT audience doesn't match this application" in text


@for_each("name", ["managed", "intranet"])
@for_each("pattern", ["{}/*", "{}/a/*", "{}/a/b"])
async def test_a_jwt_that_an_account_signed_is_taken_for_the_url(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock, name: str, pattern: str
) -> None:
    url = emulator.urls[name]
    token = own(emulator, clock, aud=pattern.format(url))
    response = await client.get(f"{url}/a/b?x=1", headers=bearer(token))
    assert response.status == 200
    assert (await response.json())["caller"] == LOGIN.email


async def test_the_origin_alone_means_its_root(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    url = emulator.urls["managed"]
    headers = bearer(own(emulator, clock, aud=url))
    assert (await client.get(url, headers=headers)).status == 200
    assert (await client.get(f"{url}/a", headers=headers)).status == 401


@for_each(
    ("claims", "said"),
    [
        ({"aud": "{}/x/*"}, "JWT audience doesn't match"),
        ({"aud": "{}/x"}, "JWT audience doesn't match"),
        ({"aud": "{}*"}, "JWT audience doesn't match"),
        ({"aud": "https://elsewhere/*"}, "JWT audience doesn't match"),
        ({"sub": INDEXER.email}, "'iss' and 'sub' claims differ"),
        ({"exp": 1_800_003_601}, "lives longer than an hour"),
        ({"exp": 1_799_999_939, "iat": 1_799_999_000}, "Expired JWT"),
        ({"iss": INDEXER.email}, "JWT signature is invalid"),
    ],
)
async def test_what_is_wrong_with_a_signed_jwt_is_said(
    emulator: Emulator,
    client: aiohttp.ClientSession,
    clock: FakeClock,
    claims: dict[str, Any],
    said: str,
) -> None:
    url = emulator.urls["managed"]
    audience = str(claims.get("aud", "{}/*")).format(url)
    token = own(emulator, clock, **(claims | {"aud": audience}))
    status, text = await refused(client, f"{url}/a", bearer(token))
    assert status == 401
    assert said in text


async def test_a_strangers_signature_is_none(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    url = emulator.urls["managed"]
    token = signed(stranger(), clock, iss=LOGIN.email, sub=LOGIN.email, aud=f"{url}/*")
    status, _ = await refused(client, url, bearer(token))
    assert status == 401


async def test_what_sign_jwt_signs_is_taken(
    emulator: Emulator, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    """The way of https://cloud.google.com/iap/docs/authentication-howto."""
    url = emulator.urls["managed"]
    claims = {"iss": INDEXER.email, "sub": INDEXER.email, "aud": f"{url}/*"}
    payload = json.dumps(claims | {"iat": int(clock.now), "exp": int(clock.now) + 3600})
    metadata = f"{emulator.url}/computeMetadata/v1/instance/service-accounts/default/token"
    caller = await (await client.get(metadata, headers={"Metadata-Flavor": "Google"})).json()
    response = await client.post(
        f"{emulator.iam_endpoint}/v1/projects/-/serviceAccounts/{INDEXER.email}:signJwt",
        json={"payload": payload},
        headers=bearer(caller["access_token"]),
    )
    token = (await response.json())["signedJwt"]
    response = await client.get(f"{url}/x", headers=bearer(token))
    assert (await response.json())["caller"] == INDEXER.email
