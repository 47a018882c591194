from __future__ import annotations

from idtoken_proxy.policy.headers import NO_TOKEN
from idtoken_proxy.receive.claims import Principal
from idtoken_proxy.receive.issuers import issuer_of
from idtoken_proxy.receive.key_set import Fetched, KeySet
from idtoken_proxy.receive.verification_keys import keys_of
from idtoken_proxy.receive.verified_tokens import VerifiedToken, VerifiedTokens
from tests.identity.fakes import FakeClock
from tests.receive.inbound import fake_clock, key_set
from tests.receive.signing import NOW, jwks, rsa_signer


def verified(keys: KeySet, expires_at: float = NOW + 60.0) -> VerifiedToken:
    return VerifiedToken(Principal("s", None, frozenset(), expires_at), keys, NO_TOKEN)


def known_to(clock: FakeClock) -> KeySet:
    return key_set(clock, issuer_of("google"), rsa_signer())


def test_one_is_known_until_it_ends() -> None:
    tokens, keys = VerifiedTokens(), known_to(fake_clock())
    tokens.keep(b"1", token := verified(keys))
    assert tokens.find(b"1", NOW + 59.9) is token
    assert tokens.find(b"2", NOW) is None
    assert tokens.find(b"1", NOW + 60.0) is None
    assert len(tokens) == 0


def test_none_is_when_a_key_of_its_issuer_has_gone() -> None:
    tokens, keys = VerifiedTokens(), known_to(fake_clock())
    tokens.keep(b"1", verified(keys))
    keys.take(Fetched(keys_of(jwks(rsa_signer(), rsa_signer("key-2"))), 60.0))
    assert tokens.find(b"1", NOW) is not None
    keys.take(Fetched(keys_of(jwks(rsa_signer("key-2"))), 60.0))
    assert tokens.find(b"1", NOW) is None


def test_the_least_recently_used_goes_first() -> None:
    tokens, keys = VerifiedTokens(most=2), known_to(fake_clock())
    tokens.keep(b"1", verified(keys))
    tokens.keep(b"2", verified(keys))
    assert tokens.find(b"1", NOW) is not None
    tokens.keep(b"3", verified(keys))
    assert [tokens.find(one, NOW) is not None for one in (b"1", b"2", b"3")] == [True, False, True]
