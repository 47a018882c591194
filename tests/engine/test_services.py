"""How many services are known, and how fast new ones may come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from idtoken_proxy.engine.services import A_SECOND, Services
from idtoken_proxy.errors import TooManyServices
from idtoken_proxy.policy.services import NamedService


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """What was begun and ended, by labels."""

    def __init__(self, most: int = 3) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.clock = Clock()
        self.services = Services(self._begin, self._end, most, clock=self.clock)

    def _begin(self, service: NamedService) -> Any:
        self.begun.append(service.label)
        pool = SimpleNamespace(close=lambda: self.ended.append(service.label))
        return SimpleNamespace(label=service.label, pool=pool)

    def _end(self, entry: Any) -> None:
        self.ended.append(entry.label)

    def name(self, *labels: str) -> None:
        for label in labels:
            self.clock.now += 1
            assert self.services.entry(NamedService("p", label)) is not None

    @property
    def known(self) -> list[str]:
        return [service.label for service, _ in self.services]


def test_the_least_recently_named_goes() -> None:
    kept = Kept()
    kept.name("a", "b", "c", "a", "d", "a")
    assert (kept.known, kept.begun, kept.ended) == (["c", "d", "a"], ["a", "b", "c", "d"], ["b"])


def test_a_burst_of_new_names_is_a_few_and_then_a_few_a_second() -> None:
    kept = Kept(most=1000)
    refused: list[TooManyServices] = []
    for number in range(500):
        kept.clock.now += 0.01
        try:
            kept.services.entry(NamedService("p", f"a{number}"))
        except TooManyServices as error:
            refused.append(error)
    assert {error.limit for error in refused} == {"services"}
    assert 5 * A_SECOND - 1 <= len(kept.begun) == 500 - len(refused) <= 6 * A_SECOND


def test_those_that_are_known_pass_in_any_burst() -> None:
    kept = Kept(most=10)
    kept.name("a")
    for number in range(3):
        kept.services.entry(NamedService("p", f"b{number}"))
    with pytest.raises(TooManyServices):
        kept.services.entry(NamedService("p", "c"))
    for _ in range(100):
        kept.services.entry(NamedService("p", "a"))
    assert kept.known[-1] == "a"


def test_what_was_known_before_a_reload_is_not_new() -> None:
    kept = Kept(most=5)
    kept.services.adopt(NamedService("p", f"a{number}") for number in range(9))
    assert kept.known == ["a4", "a5", "a6", "a7", "a8"]
    kept.services.close()
    assert kept.ended == kept.known
