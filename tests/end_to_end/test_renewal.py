"""An hour and more on a clock that a test turns: streams live on, and no call carries a token that has run out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from google.auth import jwt

from idtoken_proxy.emulator import DEMO, Account, Emulator, Seen, Service, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import service_account_email
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import Identity, ImpersonatedIdentity, MetadataIdentity, UserIdentity
from idtoken_proxy.settings.model import CLOUD_PLATFORM, GoogleEndpoints, Scopes
from tests.cases import for_each
from tests.emulator.grpc_client import dialled
from tests.end_to_end.conftest import Serve, route_to, settings_for
from tests.identity.fakes import FakeClock
from tests.identity.sources.emulated import write

LIFE = 3600
DURATION = 2 * LIFE + 600  # two renewals, and a while with the third token
A_SWEEP = 2.0  # seconds: what the sweeper lets count for one turn
SAYS = 60  # seconds between two messages of the stream, where timeouts.idle is 300
CALLS = 300

PROJECT = "my-project"
CALLER = Account(service_account_email("caller", PROJECT), default=True)
DEV = Account("dev@example.com")
TARGET = Account(service_account_email("target", PROJECT), token_creators=frozenset({CALLER.member}))
IMPERSONATED = ImpersonatedIdentity(TARGET.email, source=MetadataIdentity())
APIS = World(
    PROJECT,
    (CALLER, DEV, TARGET),
    (
        Service(
            "logs",
            frozenset({CALLER.member, DEV.member, TARGET.member}),
            api="logging",
            scopes=(CLOUD_PLATFORM,),
        ),
    ),
)


def sent(seen: Seen, name: str) -> list[str]:
    return [value for header, value in seen.headers if header.lower() == name]


def expiry_of(seen: Seen) -> float:
    """Of the one token that it carries."""
    (bearer,) = sent(seen, "authorization")
    token = bearer.removeprefix("Bearer ")
    claims = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
    return float(claims["exp"])


def moments(clock: FakeClock, server: Server) -> Iterator[int]:
    """Every second sweep of DURATION, deadlines included."""
    for second in range(0, DURATION, int(A_SWEEP)):
        yield second
        clock.pass_(A_SWEEP)
        server.context.sweeper.sweep()


async def settled(server: Server) -> None:
    """A fetch that was due has begun, and has come to its end."""
    for _ in range(3):
        await asyncio.sleep(0)
    for slot in server.slots.values():
        while slot.active_fetch is not None:
            await asyncio.wait([slot.active_fetch], timeout=10)


DAYS = 2 * 24 * LIFE
ASKS = 600  # seconds between two requests of a client that never restarts


async def two_days(server: Server, clock: FakeClock, path: str) -> None:
    """Of a client that never restarts."""
    url = f"http://localhost:{server.addresses[0].port}{path}"
    async with aiohttp.ClientSession() as client:
        for _ in range(0, DAYS, ASKS):
            async with client.get(url) as answer:
                assert answer.status == 200, await answer.text()
            clock.pass_(ASKS)
            server.context.sweeper.sweep()
            await settled(server)


async def test_two_days_of_id_tokens_without_a_401(keys: Keys, serve: Serve) -> None:
    clock, seen = FakeClock(), list[Seen]()
    async with Emulator(
        DEMO, keys=keys, clock=clock.wall, token_lifetime=LIFE, on_request=seen.append
    ) as emulator:
        route = route_to(emulator, "user-profiles")
        server = await serve(settings_for(route, metadata_host=emulator.metadata_host), clock)
        await two_days(server, clock, "/user-profiles/x")
    assert [one.refused for one in seen] == [None] * (DAYS // ASKS)
    assert 48 <= len({expiry_of(one) for one in seen}) <= 60


@for_each("identity", [MetadataIdentity(), UserIdentity(), IMPERSONATED], ids=lambda identity: identity.type)
async def test_two_days_of_access_tokens_without_a_401(
    keys: Keys, serve: Serve, tmp_path: Path, identity: Identity
) -> None:
    """The stand-in for one of Google's APIs knows each token, and by the same clock when it ends."""
    clock, seen = FakeClock(), list[Seen]()
    async with Emulator(
        APIS, keys=keys, clock=clock.wall, token_lifetime=LIFE, on_request=seen.append
    ) as emulator:
        write(tmp_path / "application_default_credentials.json", emulator.key_file(DEV.email))
        route = route_to(emulator, "logs", audience=None, scopes=Scopes(), identity=identity)
        google = GoogleEndpoints(
            metadata_host=emulator.metadata_host,
            token_endpoint=emulator.token_endpoint,
            iam_endpoint=emulator.iam_endpoint,
        )
        settings = settings_for(route, metadata_host=emulator.metadata_host, google=google)
        server = await serve(settings, clock, {"CLOUDSDK_CONFIG": str(tmp_path)})
        await two_days(server, clock, "/logs/x")
    assert [one.refused for one in seen] == [None] * (DAYS // ASKS)
    assert 48 <= len({sent(one, "authorization")[0] for one in seen}) <= 60


async def test_a_stream_outlives_its_token_and_calls_after_it_carry_the_next(
    keys: Keys, serve: Serve
) -> None:
    clock, seen, told = FakeClock(), list[Seen](), list[float]()

    def came(request: Seen) -> None:
        seen.append(request)
        told.append(expiry_of(request) - clock.wall())

    async with Emulator(DEMO, keys=keys, clock=clock.wall, token_lifetime=LIFE, on_request=came) as emulator:
        route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
        server = await serve(settings_for(route, metadata_host=emulator.metadata_host), clock)
        async with dialled(f"http://localhost:{server.addresses[0].port}") as client:
            stream = client.bidi_stream(timeout=None)
            began = clock.wall()
            said = 0
            for second in moments(clock, server):
                await settled(server)
                if second % SAYS == 0:
                    await stream.write({"text": str(second)})
                    assert (await stream.read())["text"] == str(second)
                    said += 1
                if second % CALLS == 0:
                    assert (await client.unary({"text": "short"}))["text"] == "short"
            await stream.done_writing()
            assert (await stream.code()).name == "OK"
        assert clock.wall() - began == DURATION
    streams, calls = [
        [one for one in seen if one.target.endswith(kind)] for kind in ("/BidiStream", "/Unary")
    ]
    assert len(streams) == 1  # nobody began it anew
    assert said == DURATION / SAYS
    assert expiry_of(streams[0]) < clock.wall() - LIFE  # its own token has long run out
    assert [one.refused for one in seen] == [None] * len(seen)
    assert min(told) >= 30, told  # seconds that each token had still to live when it came
    carried = [expiry_of(one) for one in calls]
    assert carried == sorted(carried)
    assert len(calls) == DURATION / CALLS
    assert len(set(carried)) == 3
