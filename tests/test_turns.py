"""Work in pieces: the same whole, and others have their turns meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from idtoken_proxy.turns import Pieces, at_once, in_turns, whole


def counting(to: int, done: list[int]) -> Pieces[str]:
    for number in range(to):
        done.append(number)
        yield
    return "whole"


async def test_others_have_their_turn_after_each_piece() -> None:
    done: list[int] = []
    seen: list[int] = []

    async def other() -> None:
        while len(done) < 5:
            seen.append(len(done))
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(other())
    assert await in_turns(counting(5, done)) == "whole"
    await watching
    assert seen == [1, 2, 3, 4]


def test_at_once_it_is_the_same() -> None:
    done: list[int] = []
    assert at_once(counting(5, done)) == "whole"
    assert done == [0, 1, 2, 3, 4]


async def test_whoever_is_cancelled_goes_no_further() -> None:
    done: list[int] = []
    task = asyncio.ensure_future(in_turns(counting(5, done)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < len(done) < 5


async def test_what_goes_wrong_in_a_piece_is_told() -> None:
    def wrong() -> Pieces[None]:
        yield
        raise ValueError("the second piece")

    with pytest.raises(ValueError, match="second piece"):
        await in_turns(wrong())
    with pytest.raises(ValueError, match="second piece"):
        at_once(wrong())


async def test_what_must_not_stop_halfway_ends_before_its_caller_is_cancelled() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("begun")
        await asyncio.sleep(0)
        done.append("ended")

    caller = asyncio.ensure_future(whole(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == ["begun", "ended"]
