from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from blockbuster import BlockBuster

from idtoken_proxy.server import Server
from idtoken_proxy.settings.model import Timeouts
from tests.blocking import none_by
from tests.engine.proxied import Proxied, make_token, route_to, settings_for
from tests.engine.wire import Receiver, Script


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A blocking call of the engine's on the event loop fails the test; on uvloop too, whose own are in C."""
    with none_by("idtoken_proxy.engine") as buster:
        yield buster


@pytest.fixture(scope="session")
def token() -> str:
    return make_token()


@pytest.fixture
def token_file(tmp_path: Path, token: str) -> Path:
    path = tmp_path / "token"
    path.write_text(token)
    return path


@pytest.fixture(autouse=True)
async def unhandled() -> AsyncIterator[list[dict[str, Any]]]:
    """The engine lives in callbacks, whose exceptions no test would see: any of them fails the test."""
    caught: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: caught.append(context))
    yield caught
    assert not caught, caught


Receive = Callable[..., Awaitable[Receiver]]


@pytest.fixture
async def receive() -> AsyncIterator[Receive]:
    """Starts receivers."""
    async with AsyncExitStack() as stack:

        async def start(script: Script, **options: Any) -> Receiver:
            return await stack.enter_async_context(Receiver(script, **options))

        yield start


class Start(Protocol):
    def __call__(
        self,
        receiver: Receiver | int,
        *,
        timeouts: Timeouts | None = None,
        route: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Awaitable[Proxied]: ...


@pytest.fixture
async def start(token: str, token_file: Path, receive: Receive) -> AsyncIterator[Start]:
    """Starts proxies: one route to a receiver, and any change of Settings. Its end asserts that nothing is left over."""
    started: list[Proxied] = []

    async def begin(
        receiver: Receiver | int,
        *,
        timeouts: Timeouts | None = None,
        route: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Proxied:
        settings = settings_for(route_to(receiver, token_file, **(route or {})), timeouts=timeouts, **changes)
        server = Server(settings, {})
        await server.start()
        started.append(Proxied(server, token))
        return started[-1]

    yield begin
    for proxied in started:
        await proxied.end()
