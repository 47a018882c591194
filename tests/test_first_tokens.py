"""Tokens that have not come yet, and what each that comes costs: no more for ten thousand routes than for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from idtoken_proxy.first_tokens import FirstTokens
from idtoken_proxy.identity.cache import TokenCache, TokenSlot
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.identities import AutoIdentity
from tests.identity.fakes import Stage
from tests.steps import steps_of

pytestmark = pytest.mark.asyncio


@dataclass
class Slots:
    """Of real slots, by routes' names."""

    stage: Stage = field(default_factory=Stage)

    def named(self, names: Sequence[str]) -> dict[str, TokenSlot]:
        source = self.stage.source()
        cache: TokenCache = self.stage.cache
        return {name: cache.slot(AutoIdentity(), source, f"https://{name}.example") for name in names}


async def test_all_are_fetched_and_each_that_came_is_not_waited_for() -> None:
    slots = Slots().named([f"r{number}" for number in range(40)])
    first = FirstTokens(slots)
    assert not first.are_there()
    assert (len(first), list(first.missing(2))) == (40, [("r0", None), ("r1", None)])
    await first.fetch()
    for slot in slots.values():
        first.fetched(slot)
    assert first.are_there()
    assert len(first) == 0


async def test_two_routes_with_one_audience_have_one_slot_and_wait_for_one_fetch() -> None:
    (slot,) = Slots().named(["a"]).values()
    first = FirstTokens({"a": slot, "b": slot})
    assert len(first) == 2
    token = await slot.get()
    assert isinstance(token, IdToken)
    first.fetched(slot)
    assert first.are_there()


async def test_what_comes_for_another_generations_route_changes_nothing() -> None:
    old, new = Slots().named(["old", "new"]).values()
    first = FirstTokens({"new": new})
    await old.get()
    first.fetched(old)
    assert not first.are_there()


async def test_what_is_there_already_is_not_waited_for() -> None:
    slots = Slots().named(["there", "missing"])
    await slots["there"].get()
    assert list(FirstTokens(slots).missing(5)) == [("missing", None)]


async def test_a_token_that_ran_out_before_the_last_one_came_is_waited_for_again() -> None:
    made = Slots()
    slots = made.named(["early", "late"])
    first = FirstTokens(slots)
    await slots["early"].get()
    first.fetched(slots["early"])
    made.stage.clock.pass_(2 * 3600)
    first.fetched(slots["late"])
    assert not first.are_there()
    assert "early" in dict(first.missing(5))


async def test_a_start_costs_twice_as_much_with_twice_the_routes() -> None:
    def steps(count: int) -> int:
        slots = Slots().named([f"r{number}" for number in range(count)])

        def start() -> None:
            first = FirstTokens(slots)
            for slot in slots.values():
                first.fetched(slot)
                first.are_there()
                list(first.missing(5))

        # After the last one, all are looked at once more: their tokens are not there, since nobody has asked.
        return steps_of(start)

    assert steps(400) < 2.2 * steps(200)
