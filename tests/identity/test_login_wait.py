from __future__ import annotations

import asyncio

from idtoken_proxy.identity.login_wait import LoginWait
from idtoken_proxy.identity.token import Token
from tests.identity.fakes import AUDIENCE, turns, unsigned

LONG = 60.0  # seconds; no test comes to its end


class Held:
    """A slot's token, of which there is none at first."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.wait = LoginWait()

    def current(self) -> Token | None:
        return self.token

    def waiting(self, patience: float = LONG) -> asyncio.Task[Token | None]:
        return asyncio.ensure_future(self.wait.token(self.current, patience))

    def comes(self, serial: int = 1) -> Token:
        self.token = unsigned(AUDIENCE, exp=1.0, serial=serial)
        self.wait.came()
        return self.token


async def test_all_who_wait_go_on_with_the_token_that_comes() -> None:
    held = Held()
    waiting = [held.waiting() for _ in range(3)]
    await turns()
    assert not any(one.done() for one in waiting)
    token = held.comes()
    assert await asyncio.gather(*waiting) == [token] * 3


async def test_where_there_is_one_nobody_waits() -> None:
    held = Held()
    token = held.comes()
    assert await held.wait.token(held.current, LONG) is token


async def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    held = Held()
    first, second = held.waiting(), held.waiting()
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    token = held.comes()
    assert await second is token


async def test_patience_ends_and_the_next_one_waits_anew() -> None:
    held = Held()
    assert await held.waiting(0.01) is None
    waiting = held.waiting()
    await turns()
    token = held.comes()
    assert await waiting is token


async def test_a_token_that_may_not_be_sent_any_more_is_waited_through() -> None:
    held = Held()
    waiting = held.waiting()
    await turns()
    held.wait.came()  # and it ran out before the waiter had its turn
    await turns()
    assert not waiting.done()
    token = held.comes(2)
    assert await waiting is token


async def test_nobody_waits_and_one_comes() -> None:
    LoginWait().came()
