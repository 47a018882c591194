from __future__ import annotations

import asyncio
from typing import Any

from structlog.testing import capture_logs

from idtoken_proxy.engine.waiting import await_for
from idtoken_proxy.errors import ConnectFailed, ProxyError


class Heard:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.failed: list[ProxyError] = []

    async def of(self, awaited: Any) -> None:
        await asyncio.wait([await_for(awaited, self.got.append, self.failed.append)])


async def value() -> int:
    await asyncio.sleep(0)
    return 7


async def test_goes_on_with_what_came() -> None:
    heard = Heard()
    await heard.of(value())
    assert (heard.got, heard.failed) == ([7], [])


async def test_or_with_why_it_did_not() -> None:
    error = ConnectFailed("no")

    async def none() -> int:
        raise error

    heard = Heard()
    await heard.of(none())
    assert (heard.got, heard.failed) == ([], [error])


async def test_a_failure_of_what_follows_is_told_once() -> None:
    error = ConnectFailed("no")
    failed: list[ProxyError] = []

    def then(_: int) -> None:
        raise error

    await asyncio.wait([await_for(value(), then, failed.append)])
    assert failed == [error]


async def test_a_bug_is_logged_and_told_without_its_words() -> None:
    async def bug() -> int:
        raise KeyError("secret")

    heard = Heard()
    with capture_logs() as logs:
        await heard.of(bug())
    assert [(line["event"], line["log_level"]) for line in logs] == [("exchange failed", "error")]
    (failed,) = heard.failed
    assert "secret" not in failed.detail


async def test_a_cancelled_one_tells_nobody_and_leaves_nothing_open() -> None:
    heard = Heard()
    begun = value()
    early = await_for(begun, heard.got.append, heard.failed.append)
    early.cancel()  # before its first step: the coroutine would warn that nobody awaited it
    await asyncio.wait([early])
    late = await_for(asyncio.sleep(60), heard.got.append, heard.failed.append)
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.wait([late])
    assert (heard.got, heard.failed) == ([], [])
