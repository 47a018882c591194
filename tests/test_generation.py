"""One generation of settings, composed whole or refused whole."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.generation import Generation, Loaded, check_audiences, compose, load, release
from idtoken_proxy.identity.cache import TokenCache
from idtoken_proxy.settings.identities import (
    FileIdentity,
    Identity,
    MetadataIdentity,
    NoIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.model import EgressProxy, GuardSettings, Route, Settings, Timeouts, Upstream
from idtoken_proxy.turns import at_once
from tests.steps import steps_of

SECRET = "a-secret-of-24-characters"


@pytest.fixture
async def cache() -> AsyncIterator[TokenCache]:
    cache = TokenCache()
    yield cache
    await cache.close()


def route(name: str, identity: Identity, host: str = "receiver.example", **changes: object) -> Route:
    audience = None if isinstance(identity, NoIdentity) else f"https://{host}"
    return Route(name, Upstream("https", host, 443), audience, identity, **changes)  # type: ignore[arg-type]


def composed_of(
    settings: Settings, loaded: Loaded, *, cache: TokenCache, sweeper: Sweeper, stats: Stats | None = None
) -> Generation:
    return at_once(compose(settings, loaded, cache=cache, sweeper=sweeper, stats=stats or Stats()))


def composed(cache: TokenCache, *routes: Route, **changes: object) -> Generation:
    settings = Settings(routes=routes, **changes)  # type: ignore[arg-type]
    return composed_of(settings, load(settings, {}), cache=cache, sweeper=Sweeper(1.0))


async def test_routes_of_one_identity_share_its_source_and_those_of_one_audience_their_slot(
    cache: TokenCache,
) -> None:
    made = composed(
        cache,
        route("a", MetadataIdentity()),
        route("b", MetadataIdentity(), path="/b"),
        route("c", MetadataIdentity(), "other.example"),
        route("public", NoIdentity()),
    )
    assert made.slots["a"] is made.slots["b"]
    assert made.slots["a"] is not made.slots["c"]
    assert made.sources["a"] is made.sources["c"]
    assert "public" not in made.slots
    assert [entry.slot for entry in made.router.entries][-1] is None


async def test_routes_of_one_origin_share_its_pool_unless_their_timeouts_differ(cache: TokenCache) -> None:
    made = composed(
        cache,
        route("a", NoIdentity()),
        route("b", NoIdentity(), path="/b"),
        route("patient", NoIdentity(), path="/p", timeouts=Timeouts(connect=30)),
    )
    a, b, patient = (entry.pool for entry in made.router.entries)
    assert a is b
    assert a is not patient
    assert len(made.pools) == 2


async def test_a_pool_leads_through_its_routes_egress_proxy(cache: TokenCache) -> None:
    """As resolved: a receiver on loopback has none."""
    egress = EgressProxy("proxy", 3128)
    made = composed(
        cache,
        route("out", NoIdentity(), egress_proxy=egress),
        route("same", NoIdentity(), path="/b", egress_proxy=egress),
        route("here", NoIdentity(), "localhost", path="/c"),
    )
    out, same, here = (entry.pool for entry in made.router.entries)
    assert out is same
    assert (out._egress, here._egress) == (egress, None)


async def test_the_next_generation_keeps_the_tokens_of_what_has_not_changed(
    cache: TokenCache, tmp_path: Path
) -> None:
    before = composed(cache, route("a", MetadataIdentity()), route("b", FileIdentity("/token"), path="/b"))
    after = composed(cache, route("a", MetadataIdentity(), path="/renamed"))
    assert after.slots["a"] is before.slots["a"]
    assert after.pools[0] is not before.pools[0]


def refusal(caught: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "content", ["", "short", "a line\nand another that is long enough", "ünprintable-secret"]
)
async def test_a_caller_token_that_is_none_is_told(cache: TokenCache, tmp_path: Path, content: str) -> None:
    path = tmp_path / "caller"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        composed(cache, route("a", NoIdentity()), guard=GuardSettings(caller_token_file=str(path)))
    assert refusal(caught) == [
        f"settings: guard.caller_token_file: {path} must hold one line of at least 16 visible ASCII characters"
    ]


async def test_a_caller_token_that_cannot_be_read_is_told(cache: TokenCache) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(cache, route("a", NoIdentity()), guard=GuardSettings(caller_token_file="/absent"))
    assert refusal(caught) == [
        "settings: guard.caller_token_file: /absent cannot be read: No such file or directory"
    ]


async def test_a_route_that_cannot_take_a_users_token_is_objected_to(
    cache: TokenCache, tmp_path: Path
) -> None:
    iap = Route(
        "iap",
        Upstream("https", "app.example", 443),
        "1234-abc.apps.googleusercontent.com",
        UserIdentity(),
    )
    settings = Settings(routes=(iap, route("run", UserIdentity(), "a-b-uc.a.run.app", path="/run")))
    made = composed_of(settings, load(settings, {"HOME": str(tmp_path)}), cache=cache, sweeper=Sweeper(1.0))
    with pytest.raises(ConfigError) as caught:
        await asyncio.to_thread(check_audiences, made.settings, made.sources)
    (told,) = refusal(caught)
    assert told.startswith('settings: route "iap": ')
    assert "impersonat" in told
    places = (Problem("proxy.yaml", 4, "routes[0].identity", ""), Problem("proxy.yaml", 1, "identity", ""))
    with pytest.raises(ConfigError) as caught:
        check_audiences(replace(settings, identities_at=places), made.sources)
    (told,) = refusal(caught)
    assert told.startswith('proxy.yaml:4: routes[0].identity: route "iap": ')


async def test_sources_that_every_receiver_takes_are_not_objected_to(cache: TokenCache) -> None:
    made = composed(cache, route("a", MetadataIdentity()), route("public", NoIdentity(), path="/p"))
    check_audiences(made.settings, made.sources)


async def test_a_generation_costs_what_its_routes_do(cache: TokenCache) -> None:
    def steps(count: int) -> int:
        routes = tuple(
            route(f"r{one}", MetadataIdentity(), f"s{one}.example", path=f"/r{one}") for one in range(count)
        )
        settings = Settings(routes=routes)
        ready = load(settings, {})
        return steps_of(lambda: composed_of(settings, ready, cache=cache, sweeper=Sweeper(1.0)))

    steps(1)  # what is made once
    assert steps(200) < 2.2 * steps(100)


async def test_no_piece_of_it_is_longer_for_more_routes(cache: TokenCache) -> None:
    def longest(count: int) -> tuple[int, int]:
        routes = tuple(
            route(f"r{one}", MetadataIdentity(), f"s{one}.example", path=f"/a{one}/b") for one in range(count)
        )
        settings = Settings(routes=routes)
        pieces = compose(settings, load(settings, {}), cache=cache, sweeper=Sweeper(1.0), stats=Stats())
        steps = []
        done = False
        while not done:
            made: list[Generation] = []

            def piece(made: list[Generation] = made) -> None:
                try:
                    next(pieces)
                except StopIteration as end:
                    made.append(end.value)

            steps.append(steps_of(piece))
            done = bool(made)
        assert len(made[0].router.entries) == count
        return max(steps[:-1]), steps[-1]

    longest(1)
    (few, few_at_the_end), (many, many_at_the_end) = longest(150), longest(450)
    assert many < 1.2 * few
    assert max(few_at_the_end, many_at_the_end) < few


async def test_what_is_only_being_made_counts_nothing_yet(cache: TokenCache) -> None:
    stats = Stats()
    known = stats.route("a")
    stripped = route("b", MetadataIdentity(), "other.example", path="/b", strip_prefix=True)
    settings = Settings(routes=(route("a", MetadataIdentity()), stripped))
    made = composed_of(settings, load(settings, {}), cache=cache, sweeper=Sweeper(1.0), stats=stats)
    assert list(stats.routes) == ["a"]
    assert stats.upstreams == {}
    assert made.router.entries[0].counts is known
    entry, by_receiver = made.router.entries[1], made.router.forward_table.match("other.example", b"/")
    assert by_receiver is not None
    assert by_receiver is not entry
    assert by_receiver.counts is entry.counts
    stats.take({entry.route.name: entry.counts for entry in made.router.entries}, made.upstreams)
    assert list(stats.routes) == ["a", "b"]
    assert all(
        stats.upstreams[entry.pool.upstream.origin] is entry.pool.counts for entry in made.router.entries
    )


async def test_a_generation_goes_with_its_last_reference(cache: TokenCache) -> None:
    """What goes round in circles would wait for a collector that is not to look at it."""
    routes = [
        route(f"r{one}", MetadataIdentity(), f"s{one}.example", path=f"/a/r{one}") for one in range(200)
    ]
    gc.disable()
    try:
        made = composed(cache, *routes)
        router, pools = weakref.ref(made.router), [weakref.ref(pool) for pool in made.pools]
        held = made.held()
        del made
        assert router() is None
        pieces = release(held)
        next(pieces)
        assert 0 < sum(pool() is None for pool in pools) < 200 or len(held) > 200
        at_once(pieces)
        assert not held
        assert all(pool() is None for pool in pools)
    finally:
        gc.enable()
