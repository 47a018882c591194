from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster

from tests.blocking import none_by


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """As the engine's: what blocks the event loop fails the test."""
    with none_by("idtoken_proxy.engine") as buster:
        yield buster


@pytest.fixture(autouse=True)
async def unhandled() -> AsyncIterator[list[dict[str, Any]]]:
    """The engine lives in callbacks, whose exceptions no test would see: any of them fails the test."""
    caught: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: caught.append(context))
    yield caught
    assert not caught, caught
