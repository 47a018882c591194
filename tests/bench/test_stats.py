from __future__ import annotations

from bench.stats import Sample, Summary, metric, ratio, rotated, summarize


def rounds(*values: float | None) -> list[Sample]:
    return [Sample(errors=("broken",)) if v is None else Sample({"rps": v}) for v in values]


def test_a_summary_is_the_median_with_its_range() -> None:
    assert summarize([5, 1, 3]) == Summary(3, 1, 5, 3)
    assert summarize([4, 1, 3, 2]) == Summary(2.5, 1, 4, 4)
    assert summarize([]) is None


def test_a_flagged_round_counts_for_nothing() -> None:
    samples = {"a": [*rounds(1, 3), Sample({"rps": 1000}, errors=("12 timeouts",))]}
    assert metric(samples, "a", "rps") == Summary(2, 1, 3, 2)


def test_what_was_not_measured_has_no_summary() -> None:
    samples = {"a": rounds(None, None)}
    assert metric(samples, "a", "rps") is None
    assert metric(samples, "b", "rps") is None
    assert metric({"a": rounds(1)}, "a", "p50") is None


def test_ratios_are_taken_within_a_round_and_then_summed_up() -> None:
    # the machine is three times as fast in the last round: the ratio of medians would be 200/300
    samples = {"ours": rounds(100, 200, 900), "theirs": rounds(100, 400, 300)}
    assert ratio(samples, "ours", "theirs", "rps") == Summary(1, 0.5, 3, 3)


def test_a_ratio_needs_a_round_that_is_clean_for_both() -> None:
    samples = {"ours": rounds(100, None, 300), "theirs": rounds(None, 100, 100)}
    assert ratio(samples, "ours", "theirs", "rps") == Summary(3, 3, 3, 1)
    assert ratio(samples, "ours", "absent", "rps") is None


def test_nothing_is_divided_by_zero() -> None:
    assert ratio({"ours": rounds(1), "theirs": rounds(0)}, "ours", "theirs", "rps") is None


def test_each_target_begins_a_round_in_turn() -> None:
    assert [rotated(["a", "b", "c"], turn) for turn in range(-1, 4)] == [
        ["c", "a", "b"],
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
    assert rotated([], 3) == []
