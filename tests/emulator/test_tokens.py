from __future__ import annotations

from google.auth import jwt

from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.tokens import LIFETIME, Mint
from tests.emulator.conftest import LOGIN, FakeClock


def test_an_id_token_says_what_googles_say(keys: Keys, clock: FakeClock) -> None:
    token = Mint(keys, clock).id_token(LOGIN, "https://a", by="test")
    claims = jwt.decode(token, keys.certificates(), clock_skew_in_seconds=10**10)  # type: ignore[no-untyped-call]
    assert claims == {
        "iss": "https://accounts.google.com",
        "aud": "https://a",
        "azp": LOGIN.subject,
        "sub": LOGIN.subject,
        "iat": clock.now,
        "exp": clock.now + 3600,
        "email": LOGIN.email,
        "email_verified": True,
    }
    header = jwt.decode_header(token)  # type: ignore[no-untyped-call]
    assert header == {"alg": "RS256", "typ": "JWT", "kid": keys.google.kid}


def test_email_azp_and_lifetime_are_as_asked(keys: Keys, clock: FakeClock) -> None:
    mint = Mint(keys, clock, lifetime=40)
    token = mint.id_token(LOGIN, "https://a", by="test", email=False, azp="me")
    claims = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
    assert "email" not in claims
    assert "email_verified" not in claims
    assert claims["azp"] == "me"
    assert claims["exp"] - claims["iat"] == 40
    assert mint.counts.minted == {"test": 1}


def test_an_access_token_is_its_owners_for_an_hour(keys: Keys, clock: FakeClock) -> None:
    mint = Mint(keys, clock)
    answer = mint.access_token_answer(LOGIN)
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", LIFETIME)
    token = str(answer["access_token"])
    clock.now += LIFETIME - 1
    assert mint.owner(token) is LOGIN
    clock.now += 1
    assert mint.owner(token) is None
    assert mint.owner("another") is None
