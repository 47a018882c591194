"""Which traces are recorded."""

from __future__ import annotations

from random import Random

from idtoken_proxy.engine.sampler import Sampler
from idtoken_proxy.engine.trace import Trace
from tests.cases import for_each


def parent(*, sampled: bool) -> Trace:
    return Trace("0" * 31 + "1", "0" * 15 + "1", sampled)


def test_the_bounds_are_what_they_say() -> None:
    highest, lowest = (1 << 128) - 1, 1 << 127
    assert Sampler(1.0, follows=False).takes(highest, None)
    assert not Sampler(0.0, follows=False).takes(lowest, None)  # whose lower half is 0
    half = Sampler(0.5, follows=False)
    assert half.takes((1 << 63) - 1, None)
    assert not half.takes(1 << 63, None)


def test_a_ratio_is_one() -> None:
    random, tenth = Random(1), Sampler(0.1, follows=True)
    assert 850 < sum(tenth.takes(random.getrandbits(128), None) for _ in range(10_000)) < 1150


@for_each("ratio", [0.0, 1.0])
def test_the_app_s_own_span_decides_where_that_is_wanted(ratio: float) -> None:
    for sampled in (True, False):
        assert Sampler(ratio, follows=True).takes(1, parent(sampled=sampled)) is sampled
        assert Sampler(ratio, follows=False).takes(1, parent(sampled=sampled)) is bool(ratio)
