from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from blockbuster import BlockBuster
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity import schedule
from idtoken_proxy.identity.events import log_event
from idtoken_proxy.identity.slot import REFUSAL_INTERVAL, TokenSlot
from idtoken_proxy.settings.identities import AutoIdentity
from tests.cases import and_thoroughly
from tests.identity.fakes import AUDIENCE, EMAIL, FakeSource, Stage, id_token, turns, unsigned

OTHER = "https://orders-x7f3kq-uc.a.run.app"


def down(cause: str = "down") -> TokenError:
    return TokenError("it is down", cause=cause, fault=Fault.GOOGLE, remedy="wait", log_detail="x")


def slot_of(stage: Stage, source: FakeSource, audience: str = AUDIENCE) -> TokenSlot:
    slot = stage.cache.slot(AutoIdentity(), source, audience)
    stage.watched.append(slot)
    return slot


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


# -- the first token ----------------------------------------------------------


async def test_nothing_is_fetched_before_it_is_asked_for(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    assert slot.current() is None
    await turns()
    assert source.fetches == 0
    token = await slot.get()
    assert slot.current() is token
    assert await slot.get() is token
    assert source.fetches == 1


async def test_a_thousand_waiters_one_fetch(stage: Stage) -> None:
    source = stage.source()
    source.hold.clear()
    slot = slot_of(stage, source)
    waiting = [asyncio.create_task(slot.get()) for _ in range(1000)]
    await until(lambda: source.fetches == 1)
    source.hold.set()
    tokens = await asyncio.gather(*waiting)
    assert len(set(map(id, tokens))) == 1
    assert source.fetches == 1


async def test_a_thousand_waiters_one_failure(stage: Stage) -> None:
    source = stage.source()
    source.fails = down()
    slot = slot_of(stage, source)
    results = await asyncio.gather(*(slot.get() for _ in range(1000)), return_exceptions=True)
    assert source.fetches == 1
    assert len(set(map(id, results))) == 1000  # or one traceback would grow with every waiter
    for result in results:
        assert isinstance(result, TokenError)
        assert (result.detail, result.cause, result.remedy, result.fault, result.retry_after) == (
            "it is down",
            "down",
            "wait",
            Fault.GOOGLE,
            1,
        )


async def test_a_cancelled_waiter_cancels_nothing(stage: Stage) -> None:
    source = stage.source()
    source.hold.clear()
    slot = slot_of(stage, source)
    first, second = asyncio.create_task(slot.get()), asyncio.create_task(slot.get())
    await until(lambda: source.fetches == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.hold.set()
    assert id_token(await second).audience == AUDIENCE
    assert source.fetches == 1


async def test_all_waiters_cancelled_and_the_token_comes_all_the_same(stage: Stage) -> None:
    source = stage.source()
    source.hold.clear()
    slot = slot_of(stage, source)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await slot.get()
    source.hold.set()
    await stage.settle()
    assert slot.current() is not None
    assert source.fetches == 1


async def test_a_hung_audience_delays_no_other_nor_the_loop(blockbuster: BlockBuster) -> None:
    stage = Stage(deadline=1.0)
    hung, well = stage.source(), stage.source()
    hung.hold.clear()
    stuck = asyncio.create_task(slot_of(stage, hung).get())
    await until(lambda: hung.fetches == 1)
    for n in range(20):
        await slot_of(stage, well, f"{OTHER}/{n}").get()
    assert not stuck.done()
    with pytest.raises(TokenError) as caught:
        await stuck
    assert caught.value.cause == "timeout"
    assert "fake source" in caught.value.detail
    assert "1 s" in caught.value.detail
    assert hung.fetches == 1
    hung.hold.set()
    await stage.cache.close()


# -- a process that is frozen in mid-fetch ---------------------------------------


async def test_a_fetch_that_was_frozen_is_made_again_at_once(blockbuster: BlockBuster) -> None:
    stage = Stage(deadline=0.3)
    source = stage.source()
    source.hold.clear()
    slot = slot_of(stage, source)
    waiting = asyncio.create_task(slot.get())
    await until(lambda: source.fetches == 1)
    stage.clock.freeze(3600)  # the deadline passes in the moment of waking
    await until(lambda: source.fetches == 2)
    source.hold.set()
    assert slot.current() is None
    assert (await waiting) is slot.current()
    assert [event.error for event in stage.events] == [None]
    assert slot.status().error is None
    await stage.cache.close()


async def test_a_process_that_is_frozen_again_and_again_is_believed_so_often(
    blockbuster: BlockBuster,
) -> None:
    stage = Stage(deadline=0.2)
    source = stage.source()
    source.hold.clear()
    waiting = asyncio.create_task(slot_of(stage, source).get())
    for fetch in range(3):
        await until(lambda fetches=fetch + 1: source.fetches == fetches)  # type: ignore[misc]
        stage.clock.freeze(3600)
    with pytest.raises(TokenError) as caught:
        await waiting
    assert caught.value.cause == "timeout"
    assert source.fetches == 3
    source.hold.set()
    await stage.cache.close()


# -- expiry -------------------------------------------------------------------


async def test_a_token_is_sent_until_thirty_seconds_are_left(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    source.fails = down()
    stage.clock.freeze(3569.5)
    assert slot.current() is token
    await stage.settle()
    stage.clock.freeze(0.5)
    assert slot.current() is None


async def test_the_wall_clock_alone_expires_a_token(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    source.fails = down()
    stage.clock.jump(3570)
    assert slot.current() is None
    await stage.settle()
    stage.clock.jump(-3570)
    assert slot.current() is token  # and set right, gives it back


async def test_the_boot_clock_alone_expires_a_token(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    await slot.get()
    source.fails = down()
    stage.clock.freeze(3570)
    stage.clock.jump(-3570)
    assert slot.current() is None
    await stage.settle()


async def test_the_first_request_after_a_freeze_fetches(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    stage.clock.freeze(8 * 3600)
    assert slot.current() is None
    assert (await slot.get()) is not token
    assert source.fetches == 2


@pytest.mark.parametrize(("life", "cause"), [(30, "short_lived"), (1, "short_lived"), (0, "expired")])
async def test_a_token_that_comes_too_late(stage: Stage, life: float, cause: str) -> None:
    source = stage.source(life=life)
    slot = slot_of(stage, source)
    with pytest.raises(TokenError) as caught:
        await slot.get()
    assert caught.value.cause == cause
    assert "SENTINEL" not in caught.value.detail
    source.life = 30.5
    await stage.pass_(1)
    assert slot.current() is not None


# -- refresh ahead ------------------------------------------------------------


@pytest.mark.parametrize("ahead", [210.0, 600.0])
async def test_refreshes_ahead_by_itself(stage: Stage, ahead: float) -> None:
    source = stage.source(refresh_ahead=ahead)
    slot = slot_of(stage, source)
    token = await slot.get()
    await stage.pass_(3600 - ahead - 1)
    assert source.fetches == 1
    await stage.pass_(ahead * 0.1 + 1)
    assert source.fetches == 2
    assert slot.current() is not token


async def test_a_request_kicks_the_refresh_that_a_frozen_timer_missed(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    stage.clock.freeze(3100)
    source.hold.clear()
    for _ in range(100):
        assert slot.current() is token  # still good, and served meanwhile
    await until(lambda: source.fetches == 2)
    for _ in range(100):
        assert slot.current() is token
    source.hold.set()
    await stage.settle()
    assert slot.current() is not token
    assert source.fetches == 2


async def test_a_timer_that_fires_in_mid_flight_starts_no_second_fetch(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    await slot.get()
    await stage.settle()
    stage.clock.freeze(3100)
    source.hold.clear()
    slot.current()
    await until(lambda: source.fetches == 2)
    stage.clock.pass_(3100)  # the old timer's end
    await turns()
    source.hold.set()
    await stage.settle()
    await until(lambda: stage.clock.sleeping == 1)
    await stage.settle()
    assert source.fetches == 2
    assert stage.clock.sleeping == 1


async def test_a_day_costs_a_day_of_tokens(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    await slot.get()
    for _ in range(24 * 60):
        await stage.pass_(60)
        assert slot.current() is not None
    assert 28 <= source.fetches <= 30
    assert stage.clock.sleeping == 1


async def test_a_source_that_hands_out_the_same_token_is_not_asked_in_a_loop(stage: Stage) -> None:
    source = stage.source()
    source.same = unsigned(AUDIENCE, exp=stage.clock.wall() + 3600, iat=stage.clock.wall())
    slot = slot_of(stage, source)
    await slot.get()
    for _ in range(3560):
        await stage.pass_(1)
        assert slot.current() is source.same
    assert source.fetches <= 12


async def test_a_watched_source_is_asked_often(stage: Stage) -> None:
    class Watched(FakeSource):
        recheck = 15.0

    source = Watched(stage.clock)
    source.same = unsigned(AUDIENCE, exp=stage.clock.wall() + 3600)
    slot = slot_of(stage, source)
    await slot.get()
    await stage.pass_(60)
    assert source.fetches == 5
    assert [event.changed for event in stage.events] == [True, False, False, False, False]


# -- failure ------------------------------------------------------------------


async def test_a_failed_refresh_keeps_the_valid_token(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    source.fails = down()
    await stage.pass_(3569)
    assert source.fetches > 3
    assert slot.current() is token
    assert await slot.get() is token
    status = slot.status()
    assert status.valid
    assert status.error is not None
    assert status.error.cause == "down"
    source.fails = None
    await stage.pass_(31)
    assert slot.current() not in (None, token)
    assert slot.status().error is None


async def test_while_a_failure_is_fresh_requests_fail_at_once(stage: Stage) -> None:
    source = stage.source()
    source.fails = down()
    slot = slot_of(stage, source)
    for _ in range(100):
        with pytest.raises(TokenError) as caught:
            await slot.get()
        assert caught.value.retry_after == 1
    assert source.fetches == 1


async def test_it_recovers_without_being_asked(stage: Stage) -> None:
    source = stage.source()
    source.fails = down()
    slot = slot_of(stage, source)
    with pytest.raises(TokenError):
        await slot.get()
    await stage.pass_(600)
    failed = source.fetches
    assert 600 / 30 < failed < 600 / 22.5 + 7
    with pytest.raises(TokenError) as caught:
        await slot.get()
    assert 1 <= caught.value.retry_after <= 30
    source.fails = None
    await stage.pass_(30)
    assert source.fetches == failed + 1
    assert slot.current() is not None


async def test_after_success_the_backoff_starts_anew(stage: Stage) -> None:
    source = stage.source()
    source.fails = down()
    slot = slot_of(stage, source)
    with pytest.raises(TokenError):
        await slot.get()
    await stage.pass_(300)
    source.fails = None
    await stage.pass_(30)
    source.fails = down()
    stage.clock.freeze(4000)
    with pytest.raises(TokenError) as caught:
        await slot.get()
    assert caught.value.retry_after == 1


async def test_a_frozen_retry_is_made_by_the_next_request(stage: Stage) -> None:
    source = stage.source()
    source.fails = down()
    slot = slot_of(stage, source)
    with pytest.raises(TokenError):
        await slot.get()
    source.fails = None
    stage.clock.freeze(2)
    assert id_token(await slot.get()).audience == AUDIENCE


async def test_a_source_with_a_bug_costs_its_token_and_tells_nothing(stage: Stage) -> None:
    source = stage.source()
    source.fails = ValueError("SENTINEL is in here")
    slot = slot_of(stage, source)
    with pytest.raises(TokenError) as caught:
        await slot.get()
    error = caught.value
    assert (error.cause, error.fault, error.log_detail) == ("internal", Fault.PROXY, "ValueError")
    assert "SENTINEL" not in f"{error}{error.remedy}{error.log_detail}"
    source.fails = None
    await stage.pass_(1)
    assert slot.current() is not None


# -- a receiver's refusal -----------------------------------------------------


async def test_a_refused_token_is_fetched_again_and_goes_on_serving_meanwhile(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    assert slot.refused(token)
    assert slot.current() is token
    renewal = asyncio.ensure_future(slot.renewed(token))
    await asyncio.sleep(0)
    assert slot.refused(token)  # another request that had it: it has that fetch to wait for
    other = await renewal
    assert other is not token
    assert source.fetches == 2
    assert slot.refused(token)
    assert await slot.renewed(token) is other
    assert slot.current() is other
    assert source.fetches == 2


async def test_a_renewal_that_fails_leaves_the_token_that_is_valid(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    assert slot.refused(token)
    source.fails = TokenError("down", cause="down", fault=Fault.GOOGLE)
    assert await slot.renewed(token) is token
    assert slot.current() is token


LOGIN_ENDED = TokenError("it was revoked", cause="login_expired", fault=Fault.OPERATOR, login="log in")


async def test_one_that_is_refused_and_whose_login_has_ended_is_sent_no_more(stage: Stage) -> None:
    """Who revokes a login revokes its tokens, whatever their time."""
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    source.fails = LOGIN_ENDED
    assert slot.refused(token)
    with pytest.raises(TokenError, match="revoked"):
        await slot.renewed(token)
    assert slot.current() is None
    assert not slot.status().valid
    with pytest.raises(TokenError, match="revoked"):
        await slot.get()
    # Another request had gone out with it, and its refusal comes only now: it is told the same, and fetches nothing.
    fetches = source.fetches
    assert slot.refused(token)
    assert slot.renew(token)
    with pytest.raises(TokenError, match="revoked"):
        await slot.renewed(token)
    assert source.fetches == fetches
    source.fails = None
    await stage.pass_(60)
    assert slot.current() not in (None, token)


async def test_a_login_that_has_ended_alone_costs_no_token_that_is_valid(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    source.fails = LOGIN_ENDED
    await stage.pass_(3100)  # it was to be renewed by now
    assert source.fetches > 1
    assert slot.current() is token


async def test_a_renewal_that_fails_after_the_token_ran_out_is_told(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    assert slot.refused(token)
    source.fails = TokenError("down", cause="down", fault=Fault.GOOGLE)
    stage.clock.freeze(7200)
    with pytest.raises(TokenError, match="down"):
        await slot.renewed(token)


async def test_refusals_do_not_cost_a_token_each(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    token = await slot.get()
    assert slot.refused(token)
    await slot.renewed(token)
    for _ in range(100):
        assert not slot.refused(await slot.get())
    assert source.fetches == 2
    stage.clock.freeze(REFUSAL_INTERVAL)
    assert slot.refused(await slot.get())


# -- what others see ----------------------------------------------------------


async def test_status(stage: Stage) -> None:
    slot = slot_of(stage, stage.source())
    empty = slot.status()
    assert (empty.wanted, empty.source, empty.valid, empty.email, empty.expires_at, empty.error) == (
        AUDIENCE,
        "fake source",
        False,
        None,
        None,
        None,
    )
    token = await slot.get()
    status = slot.status()
    assert (status.valid, status.email, status.token_audience, status.expires_at) == (
        True,
        EMAIL,
        AUDIENCE,
        token.expires_at,
    )


async def test_observers_are_told_of_each_fetch(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    await slot.get()
    source.fails = down()
    await stage.pass_(3062)
    good, bad = stage.events[:2]
    assert (good.source, good.wanted, good.changed, good.email, good.expires_in, good.cause) == (
        "fake",
        AUDIENCE,
        True,
        EMAIL,
        3600.0,
        None,
    )
    assert 3000 <= good.next_in <= 3060
    assert (bad.cause, bad.still_valid, bad.described) == ("down", True, "fake source")
    assert bad.next_in < 1


async def test_the_token_shows_nowhere(stage: Stage) -> None:
    source = stage.source()
    slot = slot_of(stage, source)
    with capture_logs() as logs:
        token = await slot.get()
        source.fails = down()
        await stage.pass_(3100)
        for event in stage.events:
            log_event(event)
    assert "SENTINEL" in token.value
    leased = schedule.lease(token, started=0.0, wall=0.0, boot=0.0, ahead=600.0, jitter=0.0)
    seen = [repr(slot), str(slot), repr(slot.status()), repr(stage.events), repr(logs), repr(leased)]
    assert "SENTINEL" not in "".join(seen)


# -- hours of trouble ---------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 4000)),
        st.tuples(st.just("freeze"), st.floats(0, 9000)),
        st.tuples(st.just("jump"), st.floats(-9000, 9000)),
        st.tuples(st.just("fail"), st.just(0.0)),
        st.tuples(st.just("mend"), st.just(0.0)),
        st.tuples(st.just("life"), st.floats(0, 4000)),
        st.tuples(st.just("ask"), st.just(0.0)),
    ),
    max_size=30,
)


@settings(max_examples=75, deadline=None)
@given(steps=STEPS, ahead=st.sampled_from([210.0, 600.0]), seed=st.integers(0, 2**32))
def test_hours_of_trouble(steps: list[tuple[str, float]], ahead: float, seed: int) -> None:
    """Whatever the clocks and the source do: no token with under 30 s left by either clock, no good token
    withheld, and the source is not hammered.
    """
    asyncio.run(_trouble(steps, ahead, random.Random(seed)))


async def _trouble(steps: list[tuple[str, float]], ahead: float, rng: random.Random) -> None:
    stage = Stage(rng=random.Random(rng.random()))
    clock = stage.clock
    source = stage.source(refresh_ahead=ahead)
    slot = slot_of(stage, source)
    seen: dict[
        str, tuple[float, float]
    ] = {}  # a token's value -> (its end by the wall clock, by the boot clock)
    disturbed: list[float] = []  # when the wall clock was set, or the token's life: boot clock

    def note() -> None:
        """A new token's two ends, worked out here from the clocks as they are at its fetch."""
        token = slot.held
        if token is not None and token.value not in seen:
            seen[token.value] = (token.expires_at, clock.boot() + token.expires_at - clock.wall())

    def check() -> None:
        held = slot.held
        token = slot.current()
        if token is not None:
            wall_end, boot_end = seen[token.value]
            assert wall_end - clock.wall() > 30 - 1e-6
            assert boot_end - clock.boot() > 30 - 1e-6
        elif held is not None:
            wall_end, boot_end = seen[held.value]
            assert min(wall_end - clock.wall(), boot_end - clock.boot()) <= 30 + 1e-6

    for what, amount in [("ask", 0.0), *steps, ("mend", 0.0), ("pass", 60.0), ("ask", 0.0)]:
        if what == "pass":
            # Timer by timer, so that each new token is noted when it comes.
            end = clock.boot() + amount
            while (wake := clock.next_wake()) is not None and clock.boot() + wake < end:
                clock.pass_(max(wake, 0.0))
                await stage.settle()
                note()
                check()
                await stage.settle()
                note()
            clock.pass_(end - clock.boot())
        elif what == "freeze":
            clock.freeze(amount)
        elif what == "jump":
            clock.jump(amount)
            disturbed.append(clock.boot())
        elif what == "fail":
            source.fails = down()
        elif what == "mend":
            source.fails = None
            source.life = 3600.0
        elif what == "life":
            source.life = amount
        else:
            had = slot.current()
            await stage.settle()
            note()
            try:
                got = await slot.get()
            except TokenError:
                assert had is None  # a good token is never thrown away
            else:
                note()
                assert got is slot.current()
        await stage.settle()
        note()
        check()
        await stage.settle()
        note()

    assert slot.current() is not None  # 60 s after the source was mended, all is well
    # Never two fetches in a moment, unless a jump of the wall clock did for the first one's token.
    for before, after in zip(source.at, source.at[1:], strict=False):
        assert after - before >= 0.5 or any(before <= at <= after for at in disturbed)
    elapsed = clock.boot() - source.at[0]
    assert source.fetches <= 12 + elapsed / 22.5 + 12 * len(steps)
    await stage.cache.close()
    assert stage.cache.busy == 0


@pytest.mark.parametrize("seeds", and_thoroughly(1, 8))
def test_two_days_of_trouble(seeds: int) -> None:
    """The same, through 48 hours on end of failures, suspends and clock jumps."""
    for seed in range(seeds):
        _two_days(seed)


def _two_days(seed: int) -> None:
    rng = random.Random(seed)
    steps: list[tuple[str, float]] = []
    hours = 0.0
    while hours < 48:
        what = rng.choice(["pass", "pass", "pass", "freeze", "jump", "fail", "mend", "ask"])
        amount = rng.uniform(-9000, 9000) if what == "jump" else rng.uniform(0, 7200)
        if what in ("pass", "freeze"):
            hours += amount / 3600
        steps.append((what, amount))
    asyncio.run(_trouble(steps, rng.choice([210.0, 600.0]), rng))
