"""Blocking calls in daemon threads, each with a deadline.

Not a ThreadPoolExecutor: the interpreter joins its threads at exit, so that one hung token fetch would keep a
terminated proxy alive; and a pool of n threads lets n hung fetches delay everyone else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# A thread cannot be killed. A source that hangs for good (a key file on a dead NFS mount) would cost one more
# at each retry, so at this many the next try fails at once, until one of them has come back.
MAX_ABANDONED = 3


class _Outcome(Generic[T]):
    """What the thread leaves behind: a result or an exception, whichever is set."""

    __slots__ = ("error", "result")

    def __init__(self) -> None:
        self.result: T | None = None
        self.error: BaseException | None = None


class Threads:
    """Runs calls for one owner; remembers those it gave up on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._abandoned: list[threading.Thread] = []

    @property
    def abandoned(self) -> list[threading.Thread]:
        """Those it gave up on and that had not come back when it last looked."""
        return list(self._abandoned)

    async def run(self, call: Callable[[], T], deadline: float) -> T:
        """The call's result or its exception; TimeoutError after `deadline` seconds, with the thread left to
        itself. A cancelled `run` abandons its thread too.
        """
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= MAX_ABANDONED:
            raise TimeoutError

        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        outcome: _Outcome[T] = _Outcome()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        def work() -> None:
            try:
                outcome.result = call()
            except BaseException as error:  # noqa: BLE001 -- it belongs to whoever awaits it
                outcome.error = error
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(wake)

        thread = threading.Thread(target=work, name=self._name, daemon=True)
        thread.start()
        try:
            async with asyncio.timeout(deadline):
                await done
        except (TimeoutError, asyncio.CancelledError):
            self._abandoned.append(thread)
            raise
        if outcome.error is not None:
            try:
                raise outcome.error
            finally:
                outcome.error = None  # breaks the cycle error -> traceback -> frame -> outcome -> error
        return outcome.result  # type: ignore[return-value]  # T, None included: no error, so it was set
