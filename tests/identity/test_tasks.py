from __future__ import annotations

import asyncio

from idtoken_proxy.identity.tasks import Tasks


async def test_tasks_are_forgotten_when_they_end() -> None:
    tasks = Tasks()
    ran: list[int] = []

    async def work() -> None:
        ran.append(1)

    await tasks.spawn(work())
    await asyncio.sleep(0)
    assert ran == [1]
    assert len(tasks) == 0


async def test_close_cancels_all_and_waits() -> None:
    tasks = Tasks()
    ends: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ends.append(name)

    tasks.spawn(work("a"))
    tasks.spawn(work("b"))
    await asyncio.sleep(0)
    assert len(tasks) == 2
    await tasks.close()
    assert sorted(ends) == ["a", "b"]
    assert len(tasks) == 0
    assert tasks.closed
