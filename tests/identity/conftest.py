from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from blockbuster import BlockBuster

from tests.blocking import none_by
from tests.identity.fakes import Answer, HttpEndpoint, Received, Stage


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A blocking call on the event loop fails the test."""
    with none_by("idtoken_proxy.identity") as buster:
        yield buster


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.cache.close()
    assert stage.cache.busy == 0


@pytest.fixture
def http_endpoint() -> Iterator[Callable[[Callable[[Received], Answer]], HttpEndpoint]]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(HttpEndpoint(answer).running())
