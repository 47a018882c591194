"""The entry point for pytest. It is imported in every run where this package is installed, so that it imports nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from idtoken_proxy.emulator import World
    from idtoken_proxy.testing.google import Google
    from idtoken_proxy.testing.private_service import PrivateService


@pytest.fixture(scope="session")
def google_world() -> World:
    """Who is there; a conftest.py may say otherwise. The first service is `private_service`."""
    from idtoken_proxy.testing.google import WORLD  # noqa: PLC0415 -- for those who use it

    return WORLD


@pytest.fixture(scope="session")
def _googles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[World], Google]]:
    """One for each world, for all tests: RSA keys are slow to make."""
    from idtoken_proxy.testing.google import Google  # noqa: PLC0415

    with ExitStack() as running:
        started: dict[World, Google] = {}

        def of_world(world: World) -> Google:
            if world not in started:
                started[world] = running.enter_context(Google(world, tmp_path_factory.mktemp("google")))
            return started[world]

        yield of_world


@pytest.fixture
def google(google_world: World, _googles: Callable[[World], Google]) -> Iterator[Google]:
    """Google's token issuers, with accounts and keys: a metadata server, a token endpoint, IAM, certificates."""
    of_world = _googles(google_world)
    yield of_world
    of_world.mend()


@pytest.fixture
def private_service(google: Google) -> PrivateService:
    """A private Cloud Run service, which checks each request's token as Google's front end does."""
    return google.private_service()
