from __future__ import annotations

from idtoken_proxy.receive.issuer_keys import IssuerKeys
from idtoken_proxy.receive.issuers import Issuer, issuer_of
from idtoken_proxy.receive.key_set import Fetched
from idtoken_proxy.receive.verification_keys import keys_of
from tests.engine.wire import eventually
from tests.identity.fakes import FakeClock
from tests.receive.signing import jwks, rsa_signer


async def test_each_issuer_has_one_set_which_outlives_a_reload_that_lists_it() -> None:
    asked: list[str] = []

    def fetch(issuer: Issuer) -> Fetched:
        asked.append(issuer.name)
        return Fetched(keys_of(jwks(rsa_signer())), 3600.0)

    heard: list[int] = []
    keys = IssuerKeys(FakeClock(), fetch)
    keys.on_fetched = lambda: heard.append(1)
    google, other = issuer_of("google"), issuer_of("https://issuer.example.com")
    mine = keys.of(google)
    assert keys.of(issuer_of("google")) is mine
    keys.of(other)
    assert not keys.are_there()
    keys.warm_up()
    await eventually(keys.are_there, "no keys")
    assert (sorted(asked), heard) == (["google", "https://issuer.example.com"], [1, 1])
    keys.retain([google])
    assert [one.issuer for one in keys] == ["google"]
    assert keys.of(google) is mine
    await keys.close()
