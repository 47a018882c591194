"""Those who wait for a token until somebody has logged in (`wait_for_login`): they go on with the next one that comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from idtoken_proxy.identity.token import Token


class LoginWait:
    """Of one slot."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None  # where anybody waits

    async def token(self, current: Callable[[], Token | None], patience: float) -> Token | None:
        """What `current` has, looked at again with each token that comes; None after `patience` seconds. Whoever is cancelled
        takes nothing from the others.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while (token := current()) is None:
                    if self._next is None:
                        self._next = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._next)
                return token
        return None

    def came(self) -> None:
        """A token has."""
        if self._next is not None:
            self._next.set_result(None)
            self._next = None
