from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2.budgets import Budget
from tests.engine.http2.peer import Clock


def test_a_burst_is_borne_and_the_one_beyond_it_is_not() -> None:
    budget = Budget(10, 2, Clock())
    assert all(budget.spend() for _ in range(10))
    assert not budget.spend()


def test_it_is_refilled_with_time_up_to_its_capacity() -> None:
    clock = Clock()
    budget = Budget(10, 2, clock)
    assert budget.spend(10)
    clock.now += 1
    assert budget.spend(2)
    assert not budget.spend(1)
    clock.now += 1000
    assert budget.spend(9)  # the one that was refused was spent too
    assert not budget.spend(2)


def test_what_is_earned_is_bounded_too() -> None:
    budget = Budget(10, 0, Clock())
    assert budget.spend(5)
    for _ in range(100):
        budget.earn(3)
    assert budget.spend(11)
    assert not budget.spend(1)


def test_a_clock_that_goes_back_takes_nothing() -> None:
    clock = Clock()
    budget = Budget(10, 2, clock)
    clock.now -= 100
    assert budget.spend(10)
    assert not budget.spend(1)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5)), max_size=60))
def test_never_more_than_the_capacity_and_the_rates_share(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    budget = Budget(10, 2, clock)
    spent = 0.0
    start = clock.now
    for wait, tokens in steps:
        clock.now += wait
        if not budget.spend(tokens):
            return
        spent += tokens
        assert spent <= 10 + 2 * (clock.now - start) + 1e-6
