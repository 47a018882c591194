from __future__ import annotations

from idtoken_proxy.metadata_server.counts import KINDS, OUTCOMES, Counts


def test_what_has_not_happened_is_0_and_not_missing() -> None:
    counts = Counts()
    counts.count("identity", "answered")
    counts.count("identity", "refused")
    by_kind = counts.by_kind()
    assert len(by_kind) == len(KINDS) * len(OUTCOMES)
    assert (by_kind["identity", "answered"], by_kind["token", "failed"]) == (1, 0)
    assert counts.by_outcome() == {"answered": 1, "refused": 1, "not_found": 0, "failed": 0}
