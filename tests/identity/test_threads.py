from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import weakref

import pytest

from idtoken_proxy.identity.threads import MAX_ABANDONED, Threads


async def test_the_result() -> None:
    assert await Threads("t").run(lambda: threading.current_thread().name, 5) == "t"


async def test_none_is_a_result() -> None:
    await Threads("t").run(lambda: None, 5)


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), SystemExit(3)])
async def test_the_exception_whatever_it_is(error: BaseException) -> None:
    """StopIteration cannot be set on a future; SystemExit in a thread would vanish."""

    def call() -> None:
        raise error

    if isinstance(error, StopIteration):
        # A coroutine cannot let one out either (PEP 479).
        with pytest.raises(RuntimeError) as caught:
            await Threads("t").run(call, 5)
        assert caught.value.__cause__ is error
    else:
        with pytest.raises(type(error)):
            await Threads("t").run(call, 5)


async def test_an_exception_is_freed_without_the_cycle_collector() -> None:
    """Its traceback holds frames, and those hold tokens."""

    class Local:
        pass

    held: list[weakref.ref[Local]] = []

    def call() -> None:
        local = Local()
        held.append(weakref.ref(local))
        raise ValueError

    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            await Threads("t").run(call, 5)
        await asyncio.sleep(0.05)  # the thread itself has to end
        assert held[0]() is None
    finally:
        gc.enable()


async def test_a_hung_call_is_abandoned_at_its_deadline() -> None:
    release = threading.Event()
    threads = Threads("t")
    try:
        with pytest.raises(TimeoutError):
            await threads.run(release.wait, 0.02)
        assert await threads.run(lambda: 1, 5) == 1  # the next is not held up
    finally:
        release.set()


async def test_hung_calls_do_not_pile_up() -> None:
    release = threading.Event()
    threads = Threads("t")
    calls = 0

    def hang() -> None:
        nonlocal calls
        calls += 1
        release.wait()

    try:
        for _ in range(MAX_ABANDONED + 3):
            with pytest.raises(TimeoutError):
                await threads.run(hang, 0.01)
        assert calls == MAX_ABANDONED
    finally:
        release.set()
    for thread in threads.abandoned:
        await asyncio.to_thread(thread.join, 5)
    assert await threads.run(lambda: 1, 5) == 1


async def test_a_cancelled_wait_abandons_the_thread() -> None:
    release, started = threading.Event(), threading.Event()
    threads = Threads("t")

    def hang() -> None:
        started.set()
        release.wait()

    waiting = asyncio.create_task(threads.run(hang, 5))
    assert await asyncio.to_thread(started.wait, 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(threads.abandoned) == 1
    release.set()
    await asyncio.to_thread(threads.abandoned[0].join, 5)


SCRIPT = """
import asyncio, threading
from idtoken_proxy.identity.threads import Threads

late = threading.Event()
ended = threading.Event()

def comes_late():
    late.wait()

def hangs():
    threading.Event().wait()

async def main():
    for call in (comes_late, hangs):
        try:
            await Threads("t").run(call, 0.05)
        except TimeoutError:
            print("gave up")

asyncio.run(main())
late.set()   # the loop is closed by now
for thread in threading.enumerate():
    if thread.name == "t":
        thread.join(0.2)
print("done")
"""


def test_a_hung_call_holds_up_no_exit_and_a_late_one_prints_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "gave up\ngave up\ndone\n", "")
