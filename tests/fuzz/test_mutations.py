from __future__ import annotations

from tests.fuzz.mutations import LONGEST, mutated

SEEDS = [b"GET / HTTP/1.1\r\n\r\n", b"", b"x" * 5000]


def test_the_same_number_gives_the_same_inputs() -> None:
    once = list(mutated(SEEDS, 500, 1))
    assert once == list(mutated(SEEDS, 500, 1))
    assert once != list(mutated(SEEDS, 500, 2))
    assert len(once) == 500


def test_the_seeds_come_first_and_as_they_are() -> None:
    assert list(mutated(SEEDS, 100, 7))[:3] == SEEDS
    assert list(mutated(SEEDS, 2, 7)) == SEEDS[:2]


def test_what_follows_is_changed_and_of_a_length_to_be_parsed_in_time() -> None:
    changed = list(mutated(SEEDS, 500, 3))[3:]
    assert len(set(changed)) > 250
    assert max(map(len, changed)) == LONGEST
