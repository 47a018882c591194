from __future__ import annotations

from idtoken_proxy.engine.receipts import ReceivedCounts


def test_refusals_are_counted_by_cause() -> None:
    counts = ReceivedCounts()
    for cause in ("expired", "audience", "expired"):
        counts.refuse(cause)
    assert (counts.admitted, counts.public, counts.refused) == (0, 0, {"expired": 2, "audience": 1})
