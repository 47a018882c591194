from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import main as again
from tests.fuzz.builds import compare

pytestmark = pytest.mark.thorough  # each is a process


def test_a_build_does_what_it_does(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In two processes, which have other times, other instances and other orders of sets."""
    for name in ("requests", "responses", "http2_requests"):
        assert compare(name, sys.executable, 200, 1, tmp_path) == 0
        told = capfd.readouterr().out
        assert told.startswith(f"{name}: 200 inputs, ")
        assert int(told.split()[3]) > 1  # outcomes: they are no constant
        assert told.endswith(": 0 amiss\n")
    assert list(tmp_path.iterdir()) == []


def test_another_outcome_is_told_with_its_input(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By a build that does the same of all inputs but the second."""
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\n{sys.executable} "$@" | sed "1s/.*/other/; 3s/.*/00000000/"\n')
    other.chmod(0o755)
    found = tmp_path / "found"
    found.mkdir()
    assert compare("hpack_blocks", str(other), 20, 1, found) == 1
    told = capfd.readouterr().out
    assert ": 1 amiss" in told
    assert "other: 00000000" in told
    (written,) = found.iterdir()
    assert again(["hpack_blocks", str(written)]) == 0


def test_an_outcome_that_is_wrong_in_both_is_no_match(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    both = tmp_path / "python"
    both.write_text('#!/bin/sh\nprintf "other\\nwrong: AssertionError: x\\n"\n')
    both.chmod(0o755)
    assert compare("hpack_blocks", str(both), 1, 1, tmp_path) == 1
