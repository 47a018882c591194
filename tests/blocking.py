"""Blocking calls on the event loop, found out. What is looked for is the same in every test, and dear to gather."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from blockbuster import BlockBuster


@contextmanager
def none_by(package: str) -> Iterator[BlockBuster]:
    """Any from within the package raises BlockingError."""
    buster = _looking_at(package)
    buster.activate()
    try:
        yield buster
    finally:
        buster.deactivate()


@cache
def _looking_at(package: str) -> BlockBuster:
    return BlockBuster(package)
