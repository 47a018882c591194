"""Google's own 401 for a token out of the cache: one fetch, one more try, where the request is at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from idtoken_proxy.emulator import DEMO, Emulator, Seen
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Route, Settings, TcpAddress, Upstream


@dataclass
class Clock:
    """The emulator's; pushed on, it makes the receiver call the proxy's token expired."""

    ahead: float = 0.0

    def __call__(self) -> float:
        import time  # noqa: PLC0415

        return time.time() + self.ahead


@dataclass
class World:
    url: str
    clock: Clock
    emulator: Emulator
    slot: TokenSlot
    seen: list[Seen] = field(default_factory=list)

    @property
    def refusals(self) -> list[int | None]:
        return [one.refused for one in self.seen]


@asynccontextmanager
async def world(keys: Keys) -> AsyncIterator[World]:
    clock, seen = Clock(), list[Seen]()
    async with Emulator(DEMO, keys=keys, clock=clock, on_request=seen.append) as emulator:
        origin = emulator.urls["user-profiles"]
        port = int(origin.rsplit(":", 1)[1])
        route = Route("profiles", Upstream("http", "127.0.0.1", port), origin, identity=MetadataIdentity())
        settings = Settings(
            routes=(route,),
            listen=(TcpAddress("127.0.0.1", 0),),
            admin=None,
            google=GoogleEndpoints(metadata_host=emulator.metadata_host),
        )
        server = Server(settings, {})
        await server.start()
        try:
            yield World(f"http://{server.addresses[0]}", clock, emulator, server.slots["profiles"], seen)
        finally:
            await server.stop(drain=0.5)


async def test_a_refused_token_is_dropped_fetched_once_and_the_request_said_once_more(keys: Keys) -> None:
    async with world(keys) as at, aiohttp.ClientSession() as app:
        assert (await app.get(at.url)).status == 200
        at.clock.ahead = 7200
        answer = await app.get(at.url)
        assert answer.status == 200
        assert (await answer.json())["service"] == "user-profiles"
        assert at.refusals == [None, 401, None]


async def test_the_second_refusal_passes_and_costs_no_further_token(keys: Keys) -> None:
    async with world(keys) as at, aiohttp.ClientSession() as app:
        assert (await app.get(at.url)).status == 200
        handed_out = at.emulator.counts.handed_out["metadata"]
        for ahead in (7200, 14400, 21600):
            at.clock.ahead = ahead
            last = await app.get(at.url)
        assert last.status == 401
        assert 'error="invalid_token"' in last.headers["WWW-Authenticate"]
        assert at.emulator.counts.handed_out["metadata"] == handed_out + 1


async def test_a_request_with_a_small_body_is_said_once_more_with_it(keys: Keys) -> None:
    async with world(keys) as at, aiohttp.ClientSession() as app:
        assert (await app.get(at.url)).status == 200
        at.clock.ahead = 7200
        answer = await app.post(at.url, data=b"once")
        assert answer.status == 200
        assert at.refusals == [None, 401, None]


async def test_the_refusal_of_an_upload_passes_and_the_next_has_another_token(keys: Keys) -> None:
    async with world(keys) as at, aiohttp.ClientSession() as app:
        assert (await app.get(at.url)).status == 200
        handed_out, refused = at.emulator.counts.handed_out["metadata"], at.slot.current()
        at.clock.ahead = 7200
        assert (await app.post(at.url, data=b"x" * 65_537)).status == 401
        async with asyncio.timeout(30):
            while at.slot.current() is refused:
                await asyncio.sleep(0.01)
        for _ in range(3):
            assert (await app.post(at.url, data=b"x" * 65_537)).status == 200
        assert at.refusals == [None, 401, None, None, None]
        assert at.emulator.counts.handed_out["metadata"] == handed_out + 1
