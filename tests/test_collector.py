"""What the collector of cycles passes over, and that it goes on as before."""

from __future__ import annotations

import gc
import weakref

import pytest

from idtoken_proxy.collector import sparing


class Cycle:
    def __init__(self) -> None:
        self.own = self


def test_what_was_made_is_passed_over_from_then_on() -> None:
    before, passed_over = gc.get_threshold(), gc.get_freeze_count()
    with sparing():
        assert gc.get_threshold()[:2] == before[:2]
        assert gc.get_threshold()[2] > 1_000_000
        made = [[number] for number in range(1000)]
    try:
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() >= passed_over + len(made)
    finally:
        gc.unfreeze()


def test_also_where_what_was_to_be_made_is_refused() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="refused"), sparing():
        raise ValueError("refused")
    gc.unfreeze()
    assert gc.get_threshold() == before


def test_what_is_young_is_looked_at_as_ever() -> None:
    with sparing():
        gone = weakref.ref(Cycle())
        kept = [[] for _ in range(2 * gc.get_threshold()[0])]  # type: ignore[var-annotated]
    gc.unfreeze()
    assert kept
    assert gone() is None
