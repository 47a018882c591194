"""Keys over a real connection, and what an issuer may answer amiss."""

from __future__ import annotations

import asyncio
import json

import pytest

from idtoken_proxy.errors import TokenError
from idtoken_proxy.receive.issuers import Issuer, issuer_of
from idtoken_proxy.receive.key_fetch import LONGEST, SHORTEST, fetch_keys, fresh_for
from idtoken_proxy.receive.key_set import Fetched
from tests.cases import for_each
from tests.engine.wire import Receiver, Wire, ok
from tests.receive.signing import ec_signer, jwks, rsa_signer


async def fetched(issuer: Issuer) -> Fetched:
    return await asyncio.to_thread(fetch_keys, issuer)


async def serve(wire: Wire, answers: dict[str, bytes]) -> None:
    while True:
        request = await wire.request()
        wire.send(answers.get(request.target, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


async def test_a_jwk_set_and_how_long_it_is_fresh() -> None:
    answer = ok(
        jwks(rsa_signer(), ec_signer()), "Cache-Control: public, max-age=19800, must-revalidate", "Age: 800"
    )
    async with Receiver(lambda wire: serve(wire, {"/certs": answer})) as issuer:
        found = await fetched(issuer_of("google", f"http://127.0.0.1:{issuer.port}/certs"))
        assert (list(found.keys), found.max_age) == (["key-1"], 19000.0)  # Google signs by RS256
        found = await fetched(issuer_of("iap", None, f"http://127.0.0.1:{issuer.port}/certs"))
        assert list(found.keys) == ["ec-1"]


@for_each(
    ("headers", "seconds"),
    [
        ({}, SHORTEST),
        ({"Cache-Control": "no-store"}, SHORTEST),
        ({"Cache-Control": "max-age=0"}, SHORTEST),
        ({"Cache-Control": "max-age=3600"}, 3600.0),
        ({"Cache-Control": 'private, Max-Age="7200"'}, 7200.0),
        ({"Cache-Control": "s-maxage=9000"}, SHORTEST),
        ({"Cache-Control": "max-age=3600", "Age": "3599"}, SHORTEST),
        ({"Cache-Control": "max-age=3600", "Age": "x"}, 3600.0),
        ({"Cache-Control": "max-age=999999999"}, LONGEST),
        ({"Cache-Control": "max-age=99999999999999"}, SHORTEST),
    ],
)
def test_bounds_of_freshness(headers: dict[str, str], seconds: float) -> None:
    assert fresh_for(headers) == seconds


def discovery(issuer: object, keys: object) -> bytes:
    return ok(json.dumps({"issuer": issuer, "jwks_uri": keys}).encode())


async def test_an_issuer_s_document_leads_to_its_keys() -> None:
    answers: dict[str, bytes] = {"/keys": ok(jwks(rsa_signer(), ec_signer()))}
    async with Receiver(lambda wire: serve(wire, answers)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/pool/"
        answers["/pool/.well-known/openid-configuration"] = discovery(
            url, f"http://127.0.0.1:{receiver.port}/keys"
        )
        assert sorted((await fetched(issuer_of(url))).keys) == ["ec-1", "key-1"]


async def test_what_is_amiss_is_said_with_a_remedy() -> None:
    answers: dict[str, bytes] = {"/keys": ok(jwks(rsa_signer()))}
    async with Receiver(lambda wire: serve(wire, answers)) as receiver:
        here = f"http://127.0.0.1:{receiver.port}"
        for document, told in (
            (
                discovery("https://other.example.com", f"{here}/keys"),
                "the discovery document of another issuer",
            ),
            (discovery(here, "http://keys.example.com/keys"), "no https URL"),
            (discovery(here, "http://169.254.169.254/keys"), "no https URL"),
            (discovery(here, "file:///etc/passwd"), "no https URL"),
            (discovery(here, 7), "no https URL"),
            (ok(b"[]"), "no discovery document"),
            (ok(b"{" * 5), "no discovery document"),
            (ok(b"[" * 100_000), "no discovery document"),
            (discovery(here, f"{here}/nothing"), "404"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "302"),
        ):
            answers["/.well-known/openid-configuration"] = document
            with pytest.raises(TokenError, match=told) as error:
                await fetched(issuer_of(here))
            assert error.value.remedy, told
        for keys, told in ((ok(b"no json"), "no JWK set"), (ok(jwks(ec_signer())), "no key for RS256")):
            answers["/keys"] = keys
            with pytest.raises(TokenError, match=told):
                await fetched(issuer_of("google", f"{here}/keys"))
