"""Each failure where it strikes, that it strikes nowhere else, and that it can be mended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import aiohttp
import google.auth.transport.requests
import pytest
from google.auth import exceptions
from google.oauth2 import credentials, service_account

from idtoken_proxy.emulator import BREAKS
from idtoken_proxy.emulator.breaks import AGED_BY, KINDS, Break, issuer_of, late
from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.sts import ACCESS_TOKEN, TOKEN_EXCHANGE
from idtoken_proxy.identity.token import IdToken
from tests.cases import for_each
from tests.emulator.conftest import CLIENT, INDEXER, LOGIN, WORLD, FakeClock
from tests.emulator.grpc_client import dialled, invoker

FLAVOR = {"Metadata-Flavor": "Google"}
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"
Ask: TypeAlias = Callable[[aiohttp.ClientSession, Emulator], Awaitable[tuple[int, Any]]]


async def told(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    return response.status, (
        await response.json() if response.content_type == "application/json" else await response.text()
    )


async def metadata(client: aiohttp.ClientSession, emulator: Emulator) -> tuple[int, Any]:
    url = f"{emulator.url}{ACCOUNT}/identity?audience=https://a&format=full"
    return await told(await client.get(url, headers=FLAVOR))


async def login(client: aiohttp.ClientSession, emulator: Emulator) -> tuple[int, Any]:
    held = emulator.key_file("dev")
    form = {name: held[name] for name in ("client_id", "client_secret", "refresh_token")}
    return await told(await client.post(emulator.token_endpoint, data=form | {"grant_type": "refresh_token"}))


async def assertion(client: aiohttp.ClientSession, emulator: Emulator) -> tuple[int, Any]:
    """Not a good one: who reaches the token endpoint learns so."""
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"}
    return await told(await client.post(emulator.token_endpoint, data=form))


async def impersonation(client: aiohttp.ClientSession, emulator: Emulator) -> tuple[int, Any]:
    caller = emulator._mint.access_token(LOGIN)
    url = f"{emulator.iam_endpoint}/v1/projects/-/serviceAccounts/{INDEXER.email}:generateIdToken"
    headers = {"Authorization": f"Bearer {caller}"}
    return await told(await client.post(url, json={"audience": "https://a"}, headers=headers))


async def federation(client: aiohttp.ClientSession, emulator: Emulator) -> tuple[int, Any]:
    form = {
        "grant_type": TOKEN_EXCHANGE,
        "audience": WORLD.providers[0].audience(WORLD.number),
        "requested_token_type": ACCESS_TOKEN,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "subject_token": emulator.subject_token("github"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    return await told(await client.post(f"{emulator.sts_endpoint}/v1/token", data=form))


WHOLE: dict[Ask, int] = {metadata: 200, login: 200, assertion: 400, impersonation: 200, federation: 200}


def error(answer: Any) -> Any:
    """Its code or status, in either of Google's forms."""
    said = answer["error"]
    return said["status"] if isinstance(said, dict) else said


async def test_a_failure_strikes_until_it_is_mended(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    for ask, status in WHOLE.items():
        assert (await ask(client, emulator))[0] == status
        emulator.break_with("outage")
        assert (await ask(client, emulator))[0] == 503
        emulator.mend()
        assert (await ask(client, emulator))[0] == status


def test_each_is_told_in_one_line() -> None:
    assert list(BREAKS) == list(KINDS)
    for says in BREAKS.values():
        assert says
        assert "\n" not in says
        assert not says.endswith(".")


async def test_no_such_failure_is_a_key_error(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    with pytest.raises(KeyError):
        emulator.break_with("nothing")
    assert (await metadata(client, emulator))[0] == 200


@pytest.mark.parametrize(
    ("kind", "status", "flat", "model"),
    [
        ("outage", 503, "internal_failure", "UNAVAILABLE"),
        ("rate-limit", 429, "rate_limit_exceeded", "RESOURCE_EXHAUSTED"),
    ],
)
async def test_every_issuer_fails_in_its_own_form(
    emulator: Emulator, client: aiohttp.ClientSession, kind: str, status: int, flat: str, model: str
) -> None:
    emulator.break_with(kind)
    got, text = await metadata(client, emulator)
    assert (got, isinstance(text, str)) == (status, True)
    for ask in (login, assertion, federation):
        got, answer = await ask(client, emulator)
        assert (got, error(answer)) == (status, flat)
    got, answer = await impersonation(client, emulator)
    assert (got, error(answer)) == (status, model)


async def test_garbage_comes_with_200(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    emulator.break_with("garbage")
    for ask in WHOLE:
        status, page = await ask(client, emulator)
        assert status == 200
        assert page.startswith("<!DOCTYPE html>")


async def test_public_keys_and_the_emulators_own_pages_stay_whole(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    for kind in ("outage", "hang", "garbage"):
        emulator.break_with(kind)
        for url in (emulator.jwks_url, f"{emulator.url}/emulator/keys/login.json"):
            assert (await client.get(url)).content_type == "application/json"


async def test_a_hanging_issuer_never_answers_and_does_not_hold_up_the_end(
    keys: Keys, client: aiohttp.ClientSession
) -> None:
    async with Emulator(WORLD, keys=keys) as emulator:
        emulator.break_with("hang")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await metadata(client, emulator)
        asking = asyncio.create_task(metadata(client, emulator))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await emulator.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_a_slow_issuer_answers_late(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    emulator._broken.now = Break("slow, but not for as long", answer=late(0.1))
    started = asyncio.get_running_loop().time()
    assert (await metadata(client, emulator))[0] == 200
    assert asyncio.get_running_loop().time() - started >= 0.1


@pytest.mark.parametrize(
    ("kind", "audience", "issued", "expires"),
    [
        ("wrong-audience", "https://elsewhere.example.com", 0, 3600),
        ("short-life", "https://a", 0, 40),
        ("expired", "https://a", -3660, -60),
        ("clock-ahead", "https://a", 7200, 10800),
        ("clock-behind", "https://a", -7200, -3600),
    ],
)
async def test_tokens_go_wrong_at_once_and_are_good_again_at_once(
    emulator: Emulator,
    client: aiohttp.ClientSession,
    clock: FakeClock,
    kind: str,
    audience: str,
    issued: int,
    expires: int,
) -> None:
    for broken in (False, True, True, False):
        if broken:
            emulator.break_with(kind)
        else:
            emulator.mend()
        _, raw = await metadata(client, emulator)
        token = IdToken.parse(raw, origin="test")
        expected = (audience, clock.now + expires) if broken else ("https://a", clock.now + 3600)
        assert (token.audience, token.expires_at) == expected
        assert token.issued_at == clock.now + (issued if broken else 0)


@pytest.mark.parametrize(("kind", "apart"), [("clock-ahead", 7200), ("clock-behind", -7200)])
async def test_with_clocks_apart_keys_are_useless_and_every_answer_shows_the_time(
    keys: Keys, client: aiohttp.ClientSession, kind: str, apart: int
) -> None:
    async with Emulator(WORLD, keys=keys) as emulator:
        emulator.break_with(kind)
        held = service_account.IDTokenCredentials.from_service_account_info(  # type: ignore[no-untyped-call]
            emulator.key_file("login"), target_audience="https://a"
        )
        with pytest.raises(exceptions.RefreshError, match="short-lived token"):
            await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())
        response = await client.get(emulator.jwks_url)
        there = parsedate_to_datetime(response.headers["Date"]).timestamp()
        emulator.mend()
        response = await client.get(emulator.jwks_url)
        here = parsedate_to_datetime(response.headers["Date"]).timestamp()
    assert abs(there - here - apart) <= 5


async def test_receivers_go_by_googles_clock(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    url = emulator.urls["profiles"]
    headers = {"Authorization": f"Bearer {emulator.mint('login', url)}"}
    assert (await client.get(url, headers=headers)).status == 200
    emulator.break_with("clock-ahead")
    assert (await client.get(url, headers=headers)).status == 401
    headers = {"Authorization": f"Bearer {emulator.mint('login', url)}"}
    assert (await client.get(url, headers=headers)).status == 200


@for_each(
    ("kind", "struck"),
    [
        ("permission-denied", {impersonation: (403, "PERMISSION_DENIED")}),
        ("api-disabled", {impersonation: (403, "PERMISSION_DENIED")}),
        ("perimeter", {impersonation: (403, "PERMISSION_DENIED")}),
        ("quota-project", {impersonation: (403, "PERMISSION_DENIED")}),
        ("org-policy", {impersonation: (403, "PERMISSION_DENIED")}),
        ("project-suspended", {impersonation: (403, "PERMISSION_DENIED")}),
        ("no-instance", {}),
        ("request-timeout", {}),
        (
            "account-not-found",
            {impersonation: (404, "NOT_FOUND"), assertion: (400, "invalid_grant"), metadata: (404, None)},
        ),
        ("login-expired", {login: (400, "invalid_grant")}),
        ("login-again", {login: (400, "invalid_grant")}),
        ("pool-gone", {federation: (400, "invalid_target")}),
        ("metadata-foreign", {metadata: (404, None)}),
        ("cloud-build", {metadata: (404, None)}),
        ("gke-not-annotated", {metadata: (400, None)}),
        ("gke-not-bound", {metadata: (403, None)}),
        ("gke-starting", {metadata: (500, None)}),
        ("invalid-token", {}),
        ("invoker-lost", {}),
    ],
)
async def test_what_is_gone_or_forbidden_is_so_where_it_is_asked_for(
    emulator: Emulator, client: aiohttp.ClientSession, kind: str, struck: dict[Ask, tuple[int, str | None]]
) -> None:
    emulator.break_with(kind)
    for ask, whole in WHOLE.items():
        status, answer = await ask(client, emulator)
        expected, code = struck.get(ask, (whole, None))
        assert status == expected
        if code:
            assert error(answer) == code


async def test_what_is_denied_is_named(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    emulator.break_with("permission-denied")
    _, answer = await impersonation(client, emulator)
    assert "'iam.serviceAccounts.getOpenIdToken' denied" in answer["error"]["message"]
    url = f"{emulator.iam_endpoint}/v1/projects/-/serviceAccounts/{INDEXER.email}:noSuchMethod"
    assert (await client.post(url)).status == 404
    emulator.break_with("api-disabled")
    _, answer = await impersonation(client, emulator)
    assert answer["error"]["details"][0]["metadata"]["consumer"] == f"projects/{WORLD.number}"


async def test_accounts_are_gone_and_the_project_is_not(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    emulator.break_with("account-not-found")
    project = await client.get(f"{emulator.url}/computeMetadata/v1/project/project-id", headers=FLAVOR)
    assert await project.text() == WORLD.project


@pytest.mark.parametrize(
    ("kind", "flavor"), [("metadata-foreign", None), ("cloud-build", "Google"), ("gke-not-bound", "Google")]
)
async def test_who_says_so_is_told_by_the_flavor(
    emulator: Emulator, client: aiohttp.ClientSession, kind: str, flavor: str | None
) -> None:
    emulator.break_with(kind)
    accounts = f"{emulator.url}/computeMetadata/v1/instance/service-accounts/default"
    refused = await client.get(f"{accounts}/identity?audience=x", headers=FLAVOR)
    assert refused.headers.get("Metadata-Flavor") == flavor
    email = await client.get(f"{accounts}/email", headers=FLAVOR)
    assert email.status == (404 if flavor is None else 200)


async def test_no_metadata_server_is_a_broken_connection(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    emulator.break_with("metadata-absent")
    with pytest.raises(aiohttp.ClientError):
        await metadata(client, emulator)
    with pytest.raises(aiohttp.ClientError):
        await client.get(emulator.url)
    assert (await impersonation(client, emulator))[0] == 200


@pytest.mark.parametrize(
    ("kind", "said"),
    [("login-expired", "Token has been expired or revoked"), ("login-again", "Reauthentication is needed")],
)
async def test_googles_own_library_learns_that_a_login_is_over(
    emulator: Emulator, kind: str, said: str
) -> None:
    emulator.break_with(kind)
    held = credentials.Credentials.from_authorized_user_info(emulator.key_file("dev"))  # type: ignore[no-untyped-call]
    held = held.with_token_uri(emulator.token_endpoint)
    with pytest.raises(exceptions.RefreshError, match=said):
        await asyncio.to_thread(held.refresh, google.auth.transport.requests.Request())


@pytest.mark.parametrize(
    ("kind", "status", "challenge"),
    [("invalid-token", 401, 'Bearer error="invalid_token"'), ("invoker-lost", 403, "")],
)
async def test_receivers_refuse_whom_they_should_let_through(
    emulator: Emulator, client: aiohttp.ClientSession, kind: str, status: int, challenge: str
) -> None:
    emulator.break_with(kind)
    url = emulator.urls["profiles"]
    headers = {"Authorization": f"Bearer {emulator.mint('login', url)}"}
    response = await client.get(url, headers=headers)
    assert response.status == status
    assert response.headers.get("WWW-Authenticate", "").startswith(challenge)
    headers = {"Authorization": f"Bearer {emulator.mint('login', CLIENT)}"}
    response = await client.get(emulator.urls["intranet"], headers=headers)
    assert (response.status, response.headers["X-Goog-Iap-Generated-Response"]) == (status, "true")
    assert (await client.get(emulator.urls["public"])).status == 200
    assert (await client.get(url)).status == 403


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [("no-instance", 429, "Rate exceeded."), ("request-timeout", 504, "upstream request timeout")],
)
async def test_receivers_have_no_room_or_time(
    emulator: Emulator, client: aiohttp.ClientSession, kind: str, status: int, text: str
) -> None:
    emulator.break_with(kind)
    url = emulator.urls["profiles"]
    response = await client.get(url, headers={"Authorization": f"Bearer {emulator.mint('login', url)}"})
    assert (response.status, await response.text()) == (status, text)
    assert response.headers["Server"] == "Google Frontend"
    assert (await client.get(url)).status == 403  # whoever may not call is told so first


@for_each(
    ("path", "issuer"),
    [
        ("/", "metadata"),
        ("/computeMetadata/v1/project/project-id", "metadata"),
        ("/token", "token"),
        ("/v1/token", "sts"),
        ("/v1/projects/-/serviceAccounts/a@b.c:generateIdToken", "iam"),
        ("/oauth2/v3/certs", None),
        ("/emulator/workloads/outside/github/token", None),
    ],
)
def test_each_path_has_its_issuer(path: str, issuer: str | None) -> None:
    assert issuer_of(path) == issuer


async def test_aging_connections_cost_no_call_of_grpc(emulator: Emulator) -> None:
    """A client that obeys GOAWAY opens the next connection meanwhile."""
    emulator.break_with("connection-age")
    async with dialled(emulator.urls["profiles"], invoker(emulator, "profiles")) as client:
        for number in range(3 * AGED_BY):
            assert (await client.unary({"text": str(number)}))["text"] == str(number)
