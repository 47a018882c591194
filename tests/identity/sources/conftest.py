from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from tests.identity.sources.emulated import WORLD, Google


@pytest.fixture
async def google(keys: Keys) -> AsyncIterator[Google]:
    async with Emulator(WORLD, keys=keys) as emulator:
        yield Google(emulator)
