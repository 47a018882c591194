"""What is tested here never touches a loop: the engine's fixtures, which start one for each test, stay out."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def blockbuster() -> None:
    pass


@pytest.fixture(autouse=True)
def unhandled() -> None:
    pass
