"""What fuzzing asserts holds of its seeds, and of all that it ever found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import for_each
from tests.fuzz import targets
from tests.fuzz.__main__ import FOUND, NAMES, main
from tests.hostile.case import CHUNKS
from tests.hostile.offline import Offline


@pytest.mark.thorough
@for_each("name", targets.TARGETS)
def test_the_seeds_are_fine(name: str) -> None:
    count = 0
    with targets.ready(targets.TARGETS[name]) as play:
        for seed in targets.seeds(name):
            play(seed)
            count += 1
    assert count > (500 if name in ("requests", "responses") else 70)


def test_each_target_can_be_named() -> None:
    assert set(NAMES) == set(targets.TARGETS)


def test_what_was_found_stays_mended(capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(FOUND.glob("*-*")):
        assert main([path.name.partition("-")[0], str(path)]) == 0


def test_an_input_can_be_said_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(targets.packed(CHUNKS, 5))
    assert main(["requests", str(path)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_an_input_is_cuts_and_octets() -> None:
    assert targets.unpacked(targets.packed(b"abc", 1, 2)) == ([1, 2], b"abc")
    assert targets.unpacked(b"") == ([], b"")
    assert targets.unpacked(targets.packed(b"x" * 1024, 200)) == ([800], b"x" * 1024)


async def test_a_split_that_changes_the_reading_is_noticed() -> None:
    offline = Offline()
    first = offline.send(CHUNKS + b"5\r\nhello\r\n0\r\n\r\n")
    assert first != offline.send(CHUNKS + b"5\r\nhellO\r\n0\r\n\r\n")
