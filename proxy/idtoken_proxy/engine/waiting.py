"""The one place where a request costs a task: its token or its connection is not at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from idtoken_proxy.errors import ProxyError

T = TypeVar("T")

log = structlog.get_logger("idtoken_proxy.engine")


def await_for(
    awaited: Coroutine[Any, Any, T], then: Callable[[T], None], fail: Callable[[ProxyError], None]
) -> asyncio.Task[None]:
    """Goes on with `then` or `fail`, unless the task is cancelled. A bug of ours in `then` ends in `fail` too."""
    task = asyncio.ensure_future(_go_on(awaited, then, fail))
    task.add_done_callback(lambda _: awaited.close())  # one that was cancelled before its first step
    return task


async def _go_on(
    awaited: Coroutine[Any, Any, T], then: Callable[[T], None], fail: Callable[[ProxyError], None]
) -> None:
    try:
        then(await awaited)
    except ProxyError as error:
        fail(error)
    except Exception:
        # The app must not wait for an answer that nobody is going to give.
        log.exception("exchange failed")
        fail(ProxyError("the proxy failed; its log says how"))
