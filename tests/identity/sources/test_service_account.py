from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.key_files import key_file
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import AccessTokenSource, Source, build
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.service_account import ServiceAccountSource
from idtoken_proxy.settings.identities import ServiceAccountIdentity
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, EMAIL, Answer, HttpEndpoint, Received, claims_of, jwt, rsa_pem
from tests.identity.sources.emulated import CALLER, Google, write

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]


def assertion(received: Received) -> dict[str, Any]:
    form = parse_qs(received.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    return claims_of(form["assertion"][0])


def mint(received: Received) -> Answer:
    claims = {
        "aud": assertion(received)["target_audience"],
        "exp": int(time.time()) + 3600,
        "email": EMAIL,
        "sub": "1",
    }
    return Answer(body=json.dumps({"id_token": jwt(claims)}).encode())


def write_key(path: Path, token_uri: str = "http://127.0.0.1:1/token", **more: Any) -> Path:
    info = {
        "type": "service_account",
        "client_email": EMAIL,
        "private_key_id": "k1",
        "private_key": rsa_pem(),
        "token_uri": token_uri,
        **more,
    }
    path.write_text(json.dumps({key: value for key, value in info.items() if value is not None}))
    return path


def key_source(path: str, token_endpoint: str | None = None, **more: Any) -> ServiceAccountSource:
    return ServiceAccountSource(CredentialFile(path, noun="the key file", **more), token_endpoint)


def fails(source: ServiceAccountSource) -> TokenError:
    with pytest.raises(TokenError) as caught:
        source.fetch(AUDIENCE)
    error = caught.value
    told = f"{error}{error.remedy}{error.log_detail}"
    assert "SENTINEL" not in told
    assert "PRIVATE KEY" not in told
    assert error.__suppress_context__ or error.__context__ is None
    return error


def test_fetch(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(mint)
    source = key_source(str(write_key(tmp_path / "key.json", server.url + "/token")))
    assert source.describe() == f"key file {tmp_path}/key.json"
    token = source.fetch(AUDIENCE)
    assert (token.audience, token.email) == (AUDIENCE, EMAIL)
    (received,) = server.received  # one request, and no other look-up
    assert (received.method, received.path) == ("POST", "/token")
    claims = assertion(received)
    assert claims["iss"] == EMAIL
    assert claims["target_audience"] == AUDIENCE
    assert claims["aud"] == "https://oauth2.googleapis.com/token"
    assert source.describe() == f"key file {tmp_path}/key.json of {EMAIL}"


async def test_a_private_service_takes_it(google: Google, tmp_path: Path) -> None:
    path = await google.file(tmp_path / "key.json", CALLER)
    await google.accepts(key_source(str(path), google.emulator.token_endpoint), email=CALLER.email)


def test_the_access_token(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"access_token": "it"}'))
    source = key_source(str(write_key(tmp_path / "key.json")), server.url)
    assert source.member() is None
    assert source.access_token().value == "it"
    assert assertion(server.received[0])["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert source.member() == f"serviceAccount:{EMAIL}"


def test_the_configured_endpoint_goes_before_the_file_s(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(mint)
    key = write_key(tmp_path / "key.json")
    assert key_source(str(key), server.url).fetch(AUDIENCE).audience == AUDIENCE


def test_two_audiences_of_one_key(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(mint)
    source = key_source(str(write_key(tmp_path / "key.json", server.url)))
    assert [source.fetch(a).audience for a in ("https://a", "https://b", "https://a")] == [
        "https://a",
        "https://b",
        "https://a",
    ]


def test_a_rotated_key_is_read_again(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(mint)
    path = write_key(tmp_path / "key.json", server.url)
    source = key_source(str(path))
    source.fetch(AUDIENCE)
    write_key(path, server.url, client_email="other-caller@proj.iam.gserviceaccount.com")
    source.fetch(AUDIENCE)
    assert assertion(server.received[1])["iss"] == "other-caller@proj.iam.gserviceaccount.com"


def test_missing(tmp_path: Path) -> None:
    error = fails(key_source(str(tmp_path / "key.json")))
    assert (error.cause, error.fault) == ("credential_file_missing", Fault.OPERATOR)
    assert f"{tmp_path}/key.json does not exist" in error.detail
    assert f"keys create {tmp_path}/key.json" in (error.remedy or "")


def test_who_named_it(tmp_path: Path) -> None:
    error = fails(key_source(str(tmp_path / "key.json"), named_by="SOME_VARIABLE"))
    assert "key.json (SOME_VARIABLE) does not exist" in error.detail


def test_unreadable(tmp_path: Path) -> None:
    error = fails(key_source(str(tmp_path)))
    assert (error.cause, error.fault) == ("credential_file_unreadable", Fault.OPERATOR)
    assert "Is a directory" in error.detail


@for_each(
    ("text", "says"),
    [
        ("SENTINEL", "is not JSON"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"type": 7}', "without a type"),
        ('{"type": "authorized_user", "refresh_token": "SENTINEL"}', "of type 'authorized_user'"),
        ('{"type": "service_account"}', "lacks client_email, private_key, token_uri"),
        (
            '{"type": "service_account", "client_email": 1, "private_key": "", "token_uri": "x"}',
            "lacks client_email, private_key",
        ),
        (
            '{"type": "service_account", "client_email": "a", "private_key": "SENTINEL", "token_uri": "x"}',
            "private key that cannot be used",
        ),
    ],
    ids=range(9),  # not the text: it would be in the file's path
)
def test_a_broken_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    error = fails(key_source(str(path)))
    assert (error.cause, error.fault) == ("credential_file_invalid", Fault.OPERATOR)
    assert says in error.detail
    assert str(path) in error.detail


@pytest.mark.parametrize(
    ("description", "cause", "remedy"),
    [
        (
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            "clock_skew",
            "clock",
        ),
        ("Invalid grant: account not found", "account_not_found", f"{EMAIL} was deleted"),
        ("Invalid JWT Signature.", "invalid_grant", f"keys list --iam-account={EMAIL}"),
    ],
)
def test_invalid_grant(
    http_endpoint: Serve, tmp_path: Path, description: str, cause: str, remedy: str
) -> None:
    answer = {"error": "invalid_grant", "error_description": description, "secret": "SENTINEL"}
    server = http_endpoint(lambda _: Answer(400, json.dumps(answer).encode()))
    error = fails(key_source(str(write_key(tmp_path / "key.json", server.url))))
    assert (error.cause, error.fault) == (cause, Fault.OPERATOR)
    assert description in error.detail
    assert EMAIL in error.detail
    assert remedy in (error.remedy or "")
    assert len(server.received) == 1


def test_a_reason_of_googles_is_told(http_endpoint: Serve, tmp_path: Path) -> None:
    said = {
        "error": {
            "status": "PERMISSION_DENIED",
            "message": "No.",
            "details": [{"reason": "BILLING_DISABLED"}],
        }
    }
    server = http_endpoint(lambda _: Answer(403, json.dumps(said).encode()))
    error = fails(key_source(str(write_key(tmp_path / "key.json", server.url))))
    assert (error.cause, error.fault) == ("billing_disabled", Fault.OPERATOR)
    assert "gcloud billing projects link" in (error.remedy or "")


def test_another_refusal(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: Answer(403, b"SENTINEL"))
    error = fails(key_source(str(write_key(tmp_path / "key.json", server.url))))
    assert (error.cause, error.log_detail) == ("endpoint_refused", "status 403")
    assert f"describe {EMAIL}" in (error.remedy or "")


def test_unavailable_is_left_to_the_cache_s_backoff(http_endpoint: Serve, tmp_path: Path) -> None:
    """google-auth would sleep and retry inside."""
    server = http_endpoint(lambda _: Answer(503, b"SENTINEL"))
    error = fails(key_source(str(write_key(tmp_path / "key.json", server.url))))
    assert (error.cause, error.fault) == ("endpoint_unavailable", Fault.GOOGLE)
    assert len(server.received) == 1


@for_each(
    ("body", "cause"),
    [
        (b"SENTINEL", "garbage"),
        (b"\xff", "garbage"),
        (b"[]", "garbage"),
        (b"{}", "garbage"),
        (b'{"access_token": "SENTINEL"}', "garbage"),
        (b'{"id_token": "SENTINEL"}', "garbage"),
        (b'{"id_token": 7}', "garbage"),
        (json.dumps({"id_token": jwt({"aud": "https://other", "exp": 1})}).encode(), "wrong_audience"),
    ],
)
def test_garbage(http_endpoint: Serve, tmp_path: Path, body: bytes, cause: str) -> None:
    server = http_endpoint(lambda _: Answer(body=body))
    assert fails(key_source(str(write_key(tmp_path / "key.json", server.url)))).cause == cause


def test_another_universe_asks_its_own_iam(http_endpoint: Serve, tmp_path: Path, monkeypatch: Any) -> None:
    """Where there is no Google token endpoint, google-auth asks IAM with a self-signed JWT. Still one request."""
    proxy = http_endpoint(lambda _: Answer(200))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    key = write_key(tmp_path / "key.json", universe_domain="universe.invalid")
    error = fails(key_source(str(key)))
    assert "iamcredentials.universe.invalid" in error.detail


def test_nothing_of_it_is_logged_even_at_debug(
    http_endpoint: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("google").setLevel(logging.DEBUG)
    server = http_endpoint(mint)
    source = key_source(str(write_key(tmp_path / "key.json", server.url)))
    token = source.fetch(AUDIENCE)
    sent = parse_qs(server.received[0].body.decode())["assertion"][0]
    told = "".join(repr(vars(record)) for record in caplog.records)
    assert token.value not in told
    assert sent not in told
    logging.getLogger("google").setLevel(logging.NOTSET)


# -- other universes ---------------------------------------------------------------

SOVEREIGN = "s3nsapis.fr"
OWN = Account(EMAIL, token_creators=frozenset({f"serviceAccount:{EMAIL}"}))


def of_universe(
    path: Path, emulator: Emulator, said: str | None = SOVEREIGN, configured: str = SOVEREIGN
) -> Source:
    content = key_file(OWN, emulator.world, emulator.keys, "http://127.0.0.1:1/token")
    write(path, {**content, "universe_domain": said})
    google = GoogleEndpoints(iam_endpoint=emulator.iam_endpoint, universe_domain=configured)
    return build(ServiceAccountIdentity(str(path)), google, {})


async def test_a_key_of_another_universe_signs_its_access_tokens_and_has_iam_make_id_tokens(
    keys: Keys, tmp_path: Path
) -> None:
    """Nobody asks a token endpoint, which such a universe has not."""
    services = (
        Service("mine", frozenset({OWN.member})),
        Service("storage", frozenset({OWN.member}), api="pubsub"),
    )
    async with Emulator(World("proj", (OWN,), services), keys=keys) as emulator:
        for configured in (SOVEREIGN, "googleapis.com"):
            source = await asyncio.to_thread(of_universe, tmp_path / "k", emulator, SOVEREIGN, configured)
            token = await asyncio.to_thread(source.fetch, emulator.urls["mine"])
            await Google.receives(token, emulator.urls["mine"])
            assert token.email == EMAIL
            assert isinstance(source, AccessTokenSource)
            access = await asyncio.to_thread(source.access_token)
            assert (access.email, access.expires_at - (access.issued_at or 0)) == (EMAIL, 3600)
            await Google.receives(access, emulator.urls["storage"])


async def test_two_universes_are_one_too_many(keys: Keys, tmp_path: Path) -> None:
    async with Emulator(World("proj", (OWN,), ()), keys=keys) as emulator:
        for said in (None, "googleapis.com", "other.example"):
            source = await asyncio.to_thread(of_universe, tmp_path / "k", emulator, said)
            with pytest.raises(TokenError) as caught:
                await asyncio.to_thread(source.fetch, AUDIENCE)
            assert (caught.value.cause, caught.value.fault) == ("universe_mismatch", Fault.OPERATOR)


async def test_a_universe_that_is_none_is_asked_for_nothing(keys: Keys, tmp_path: Path) -> None:
    async with Emulator(World("proj", (OWN,), ()), keys=keys) as emulator:
        odd = "evil.example/v1?x="
        source = await asyncio.to_thread(of_universe, tmp_path / "k", emulator, odd, "googleapis.com")
        with pytest.raises(TokenError) as caught:
            await asyncio.to_thread(source.fetch, AUDIENCE)
        assert caught.value.cause == "credential_file_invalid"
