from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.cases import for_each


def test_all_cases_run_and_those_that_fail_are_named() -> None:
    ran = []

    @for_each("one", [1, 2, 3, 4])
    def odd(one: int) -> None:
        ran.append(one)
        assert one % 2

    with pytest.raises(ExceptionGroup, match="2 of 4 cases") as caught:
        odd()
    assert ran == [1, 2, 3, 4]
    assert [failure.__notes__ for failure in caught.value.exceptions] == [["case: one=2"], ["case: one=4"]]


def test_they_stack() -> None:
    ran = []

    @for_each(("one", "two"), [(1, 2), pytest.param(3, 4, id="the last")])
    @for_each("three", [5, 6], ids=["five", "six"])
    def test(one: int, two: int, three: int) -> None:
        ran.append((one, two, three))
        assert (one, three) != (3, 6)

    with pytest.raises(AssertionError) as caught:
        test()
    assert caught.value.__notes__ == ["case: six", "case: the last"]
    assert ran == [(1, 2, 5), (1, 2, 6), (3, 4, 5), (3, 4, 6)]


async def test_they_may_wait() -> None:
    ran = []

    @for_each("one", [1, 2, 3])
    @for_each("two", [4, 5])
    async def test(one: int, two: int) -> None:
        await asyncio.sleep(0)
        ran.append((one, two))
        assert (one, two) not in ((1, 4), (3, 5))

    assert inspect.iscoroutinefunction(test)
    with pytest.raises(ExceptionGroup, match="2 of 3 cases") as caught:
        await test()
    assert ran == [(1, 4), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5)]
    assert [failure.__notes__ for failure in caught.value.exceptions] == [
        ["case: two=4", "case: one=1"],
        ["case: two=5", "case: one=3"],
    ]


async def test_who_is_cancelled_goes_on_with_no_other() -> None:
    ran = []

    @for_each("one", [1, 2])
    async def test(one: int) -> None:
        ran.append(one)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await test()
    assert ran == [1]


def test_what_only_pytest_raises_is_named_too() -> None:
    @for_each("one", ["a"])
    def test(one: str) -> None:
        with pytest.raises(ValueError, match=one):
            pass

    with pytest.raises(pytest.fail.Exception) as caught:
        test()
    assert caught.value.__notes__ == ["case: one='a'"]


def test_pytest_looks_for_no_fixtures_of_their_names() -> None:
    @for_each("one", [1])
    def test(one: int, other: int) -> None: ...

    assert list(inspect.signature(test).parameters) == ["other"]


@pytest.mark.parametrize(
    ("names", "cases"), [("one", []), ("two", [1]), ("one", [pytest.param(1, marks=pytest.mark.skip)])]
)
def test_a_mistake_in_one_is_told_when_it_is_read(names: str, cases: list[object]) -> None:
    def test(one: int) -> None: ...

    with pytest.raises(AssertionError):
        for_each(names, cases)(test)
