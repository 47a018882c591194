from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.cache import TokenCache
from idtoken_proxy.identity.clock import SystemClock
from idtoken_proxy.settings.identities import AutoIdentity, MetadataIdentity
from idtoken_proxy.settings.model import CLOUD_PLATFORM, Scopes
from tests.identity.fakes import AUDIENCE, FakeClock, FakeSource, Stage, id_token

OTHER = "https://orders-x7f3kq-uc.a.run.app"


async def test_one_slot_for_each_identity_and_audience(stage: Stage) -> None:
    source = stage.source()
    slot = stage.cache.slot(AutoIdentity(), source, AUDIENCE)
    assert stage.cache.slot(AutoIdentity(), source, AUDIENCE) is slot
    assert stage.cache.slot(AutoIdentity(), source, OTHER) is not slot
    assert stage.cache.slot(MetadataIdentity(), source, AUDIENCE) is not slot
    assert source.fetches == 0


async def test_each_audience_has_its_own_token(stage: Stage) -> None:
    source = stage.source()
    for audience in (AUDIENCE, OTHER):
        token = await stage.cache.slot(AutoIdentity(), source, audience).get()
        assert id_token(token).audience == audience
    assert source.fetches == 2


async def test_after_a_reload_the_token_stays_and_the_new_source_is_asked_next(stage: Stage) -> None:
    before, after = stage.source(), stage.source()
    slot = stage.cache.slot(AutoIdentity(), before, AUDIENCE)
    token = await slot.get()
    again = stage.cache.slot(AutoIdentity(), after, AUDIENCE)
    assert again.current() is token
    again.use(after)
    stage.watched.append(again)
    await stage.pass_(3600)
    assert (before.fetches, after.fetches) == (1, 1)


async def test_retain_forgets_the_rest(stage: Stage) -> None:
    source = stage.source()
    kept = stage.cache.slot(AutoIdentity(), source, AUDIENCE)
    gone = stage.cache.slot(AutoIdentity(), source, OTHER)
    token = await gone.get()
    stage.cache.retain([kept])
    assert gone.current() is token  # for a request under way
    assert stage.cache.slot(AutoIdentity(), source, AUDIENCE) is kept
    assert stage.cache.slot(AutoIdentity(), source, OTHER) is not gone


async def test_a_slot_that_is_forgotten_fetches_nothing_ahead(stage: Stage) -> None:
    source = stage.source()
    slot = stage.cache.slot(AutoIdentity(), source, AUDIENCE, "a pattern")
    token = await slot.get()
    assert stage.events[-1].counted_as == "a pattern"
    stage.cache.forget(AutoIdentity(), slot)
    await stage.pass_(60)
    assert (slot.current(), stage.cache.busy) == (token, 0)  # for a request under way, and no timer is left
    await stage.pass_(3600)
    assert source.fetches == 1
    await slot.get()  # who still asks is served, once
    assert (source.fetches, stage.cache.busy) == (2, 0)
    assert stage.cache.slot(AutoIdentity(), source, AUDIENCE) is not slot


async def test_no_token_is_minted_for_a_slot_that_nobody_holds() -> None:
    stage = Stage(maxsize=1)
    source = stage.source()
    held = stage.cache.slot(AutoIdentity(), source, AUDIENCE)
    loose = stage.cache.slot(AutoIdentity(), source, OTHER)
    await held.get()
    await loose.get()
    stage.cache.slot(MetadataIdentity(), source, AUDIENCE)  # the cache holds one
    stage.watched.append(held)
    fallen = weakref.ref(loose)
    stage.events.clear()  # which tell whose fetches they were
    del loose
    gc.collect()
    assert fallen() is None
    assert source.fetches == 2
    await stage.pass_(3600)
    assert source.fetches == 3  # the one that a route holds goes on
    assert held.current() is not None
    assert stage.clock.sleeping == 1
    await stage.cache.close()


async def test_close_leaves_no_task_and_no_waiter(stage: Stage) -> None:
    source = stage.source()
    source.hold.clear()
    slot = stage.cache.slot(AutoIdentity(), source, AUDIENCE)
    waiting = asyncio.create_task(slot.get())
    await asyncio.sleep(0.01)
    await stage.cache.close()
    with pytest.raises(TokenError) as caught:
        await waiting
    assert caught.value.cause == "closed"
    source.hold.set()
    with pytest.raises(TokenError) as caught:
        await slot.get()
    assert caught.value.cause == "closed"
    assert stage.cache.busy == 0


async def test_closed_before_a_flight_has_begun(stage: Stage) -> None:
    source = stage.source()
    slot = stage.cache.slot(AutoIdentity(), source, AUDIENCE)
    waiting = asyncio.create_task(slot.get())
    await asyncio.sleep(0)  # the flight is spawned; its own first step is still to come
    assert slot.active_fetch is not None
    await stage.cache.close()
    with pytest.raises(TokenError) as caught:
        await waiting
    assert (caught.value.cause, source.fetches) == ("closed", 0)


async def test_by_default_it_runs_on_real_time_and_logs() -> None:
    cache = TokenCache()
    source = FakeSource(FakeClock(wall=SystemClock.wall()))
    slot = cache.slot(AutoIdentity(), source, AUDIENCE)
    with capture_logs() as logs:
        token = await slot.get()
    assert slot.current() is token
    assert [line["event"] for line in logs] == ["token fetched"]
    assert token.value not in repr(logs)
    await cache.close()


async def test_scopes_are_never_an_audience(stage: Stage) -> None:
    """Were they one key, an access token would go where an ID token belongs."""
    identity, source = MetadataIdentity(), stage.source()
    slots = {stage.cache.slot(identity, source, wanted) for wanted in (CLOUD_PLATFORM, Scopes())}
    assert len(slots) == 2
    assert stage.cache.slot(identity, source, Scopes((CLOUD_PLATFORM,))) in slots
