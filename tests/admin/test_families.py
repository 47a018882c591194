"""Families in parts."""

from __future__ import annotations

from idtoken_proxy.admin.families import by, counter, gauge


def test_a_family_without_a_sample_is_told_of_too() -> None:
    (family,) = counter("things", "Things.", [], "kind")
    assert (family.name, family.samples) == ("idtoken_proxy_things", [])


def test_many_samples_come_in_parts_and_none_is_lost() -> None:
    parts = list(gauge("things", "Things.", (((str(number),), number) for number in range(1000)), "number"))
    assert len(parts) > 3
    assert {part.name for part in parts} == {"idtoken_proxy_things"}
    assert [sample.value for part in parts for sample in part.samples] == list(range(1000))


def test_counts_by_name() -> None:
    (family,) = counter("things", "Things.", by({"a": 1, "b": 2}), "kind")
    assert {sample.labels["kind"]: sample.value for sample in family.samples} == {"a": 1, "b": 2}
