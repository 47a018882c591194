"""Of identity/flight.py, by itself; what a slot makes of it: test_slot.py."""

from __future__ import annotations

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.flight import failure_of, fetch, too_old
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.identity.token import IdToken
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, FakeClock, FakeSource, unsigned


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_a_fetch(clock: FakeClock) -> None:
    source = FakeSource(clock)
    token = await fetch(source, AUDIENCE, Threads("t"), 10.0, clock.boot)
    assert token.expires_at == clock.wall() + source.life


async def test_what_a_source_raises_comes_as_it_is(clock: FakeClock) -> None:
    source = FakeSource(clock)
    source.fails = error = TokenError("no", cause="x", fault=Fault.OPERATOR)
    with pytest.raises(TokenError) as caught:
        await fetch(source, AUDIENCE, Threads("t"), 10.0, clock.boot)
    assert caught.value is error


class Frozen(FakeSource):
    """Whose process sleeps for an hour whenever it is asked."""

    def fetch(self, audience: str) -> IdToken:
        self.clock.freeze(3600)
        return super().fetch(audience)


async def test_the_deadline_ends_it(clock: FakeClock) -> None:
    source = FakeSource(clock)
    source.hold.clear()
    with pytest.raises(TimeoutError):
        await fetch(source, AUDIENCE, Threads("t"), 0.05, clock.boot)
    source.hold.set()
    assert source.fetches == 1


async def test_a_freeze_in_mid_fetch_is_no_deadline_and_is_believed_three_times(clock: FakeClock) -> None:
    source = Frozen(clock)
    source.hold.clear()
    with pytest.raises(TimeoutError):
        await fetch(source, AUDIENCE, Threads("t"), 0.05, clock.boot)
    source.hold.set()
    assert source.fetches == 3


@for_each(
    ("error", "cause", "fault"),
    [
        (TimeoutError(), "timeout", Fault.GOOGLE),
        (ValueError("SENTINEL"), "internal", Fault.PROXY),
        (TokenError("its own", cause="x", fault=Fault.OPERATOR), "x", Fault.OPERATOR),
    ],
)
def test_what_a_failure_means(error: Exception, cause: str, fault: Fault) -> None:
    failure = failure_of(error, FakeSource(FakeClock()), 10.0)
    assert (failure.cause, failure.fault) == (cause, fault)
    assert "SENTINEL" not in f"{failure}{failure.remedy}{failure.log_detail}"


@for_each(("left", "cause"), [(29.0, "short_lived"), (0.0, "expired"), (-1.0, "expired")])
def test_one_that_may_not_be_sent(left: float, cause: str) -> None:
    clock = FakeClock()
    token = unsigned(AUDIENCE, exp=clock.wall() + left)
    assert too_old(token, FakeSource(clock), clock.wall()).cause == cause
