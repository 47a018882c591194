"""One receiver, however often it is named."""

from __future__ import annotations

from idtoken_proxy.init.receivers import Receiver, distinct


def test_the_first_that_names_a_url_stays() -> None:
    service = Receiver(
        "tally", "service", "https://t-x-uc.a.run.app", aliases=frozenset({"https://t-1.r1.run.app"})
    )
    function = Receiver("tally", "function", "https://t-x-uc.a.run.app")
    other = Receiver("t", "named", "https://t-1.r1.run.app")
    unplaced = Receiver("x", "no URL", None)
    assert distinct([service, function, other, unplaced, unplaced]) == [service, unplaced, unplaced]
