"""An issuer's keys as time passes, by a clock that a test turns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.errors import Fault, KeysUnavailable, TokenError
from idtoken_proxy.receive.key_set import KEPT, RETRY, RETRY_STALE, UNKNOWN_KEY, Fetched, KeySet
from idtoken_proxy.receive.verification_keys import keys_of
from tests.identity.fakes import FakeClock
from tests.receive.signing import Signer, jwks, rsa_signer

HOUR = 3600.0
OLD, NEW = rsa_signer("google-1"), rsa_signer("google-2")


@dataclass
class Issuer:
    """`asked`: how often."""

    signers: list[Signer] = field(default_factory=lambda: [OLD])
    max_age: float = HOUR
    away: bool = False
    asked: int = 0

    def fetch(self) -> Fetched:
        self.asked += 1
        if self.away:
            raise TokenError(
                "cannot be reached", cause="endpoint_unreachable", fault=Fault.OPERATOR, remedy="see"
            )
        return Fetched(keys_of(jwks(*self.signers)), self.max_age)


class Here:
    """A set, its issuer and its time; `heard`: of keys that came."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.issuer = Issuer()
        self.heard = 0
        self.keys = KeySet("google", self.issuer.fetch, self.clock, self.on_fetched)

    def on_fetched(self) -> None:
        self.heard += 1

    async def settled(self) -> None:
        while self.keys.fetching:
            await asyncio.sleep(0.001)


@pytest.fixture
async def here() -> Here:
    made = Here()
    made.keys.look_after_them()
    await made.settled()
    return made


async def test_they_are_fetched_once_and_again_when_their_time_is_over(here: Here) -> None:
    assert (here.issuer.asked, here.heard, len(here.keys)) == (1, 1, 1)
    here.clock.pass_(HOUR - 1)
    assert here.keys.find("google-1") is not None
    await here.settled()
    assert here.issuer.asked == 1
    here.clock.pass_(1)
    assert here.keys.find("google-1") is not None  # at once, with what is there
    assert here.keys.fetching
    await here.settled()
    assert here.issuer.asked == 2


async def test_while_the_issuer_is_away_for_an_hour_known_keys_serve_on(here: Here) -> None:
    here.issuer.away = True
    here.clock.pass_(HOUR)
    with capture_logs() as logs:
        for _ in range(360):  # an hour, in steps of ten seconds
            here.clock.pass_(10)
            assert here.keys.find("google-1") is not None
            await here.settled()
    assert [one["event"] for one in logs] == ["keys could not be fetched"]  # once
    assert here.issuer.asked <= 2 + HOUR / RETRY_STALE
    assert here.keys.fetches["failed"] > 100
    here.issuer.away = False
    with capture_logs() as logs:
        here.clock.pass_(RETRY_STALE)
        here.keys.look_after_them()
        await here.settled()
    assert [one["event"] for one in logs] == ["keys fetched"]


async def test_a_key_that_nobody_knows_is_asked_for_at_most_once_a_minute(here: Here) -> None:
    assert here.keys.find("google-2") is None
    assert here.keys.may_ask()
    assert await here.keys.ask("google-2") is None
    assert here.issuer.asked == 2
    here.clock.pass_(UNKNOWN_KEY - 1)
    assert not here.keys.may_ask()
    assert await here.keys.ask("made-up") is None
    assert here.issuer.asked == 2
    here.clock.pass_(1)
    here.issuer.signers.append(NEW)
    assert await here.keys.ask("google-2") is not None
    assert here.issuer.asked == 3


async def test_many_who_ask_at_once_are_one_fetch_and_who_goes_away_does_not_end_it(here: Here) -> None:
    here.issuer.signers.append(NEW)
    asking = [asyncio.ensure_future(here.keys.ask("google-2")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(key is here.keys.find("google-2") for key in found[1:])
    assert here.issuer.asked == 2


async def test_keys_that_stay_are_the_same_and_one_that_goes_makes_another_generation(here: Here) -> None:
    before = here.keys.find("google-1")
    here.issuer.signers.append(NEW)
    here.keys.expire()
    await here.settled()
    assert here.keys.find("google-1") is before
    assert here.keys.still_holds(0)
    here.issuer.signers = [NEW]
    here.keys.expire()
    await here.settled()
    assert not here.keys.still_holds(0)
    assert here.keys.find("google-1") is None


async def test_another_key_of_the_same_name_makes_another_generation_too(here: Here) -> None:
    here.issuer.signers = [Signer("google-1", NEW.private)]
    here.keys.expire()
    await here.settled()
    assert not here.keys.still_holds(0)


async def test_after_a_day_without_a_word_they_are_given_up(here: Here) -> None:
    here.issuer.away = True
    here.clock.pass_(KEPT - 1)
    assert here.keys.find("google-1") is not None
    await here.settled()
    here.clock.pass_(1)
    assert here.keys.find("google-1") is None
    assert not here.keys.still_holds(0)
    await here.settled()
    with pytest.raises(KeysUnavailable, match="cannot be reached"):
        here.keys.demand()


async def test_without_a_key_it_is_said_so_and_tried_every_few_seconds() -> None:
    here = Here()
    here.issuer.away = True
    with pytest.raises(KeysUnavailable, match="have not been fetched yet"):
        here.keys.demand()
    with pytest.raises(KeysUnavailable, match="cannot be reached"):
        await here.keys.ask("google-1")
    assert not here.keys.may_ask()
    here.clock.pass_(RETRY)
    here.issuer.away = False
    assert here.keys.may_ask()
    assert await here.keys.ask("google-1") is not None


async def test_an_answer_that_nobody_foresaw_is_a_failed_fetch_and_known_keys_serve_on(here: Here) -> None:
    def broken() -> Fetched:
        raise RuntimeError("of some library")

    here.keys._fetch = broken
    with capture_logs() as logs:
        assert await here.keys.ask("google-2") is None
    assert here.keys.find("google-1") is not None
    assert [(one["event"], one["cause"]) for one in logs] == [("keys could not be fetched", "garbage")]


async def test_a_fetch_under_way_ends_with_it() -> None:
    here = Here()
    here.keys.look_after_them()
    await here.keys.close()
    assert not here.keys.fetching
