"""What a person can mend is looked at: what waits goes on the moment that somebody has logged in, or written the file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.credential_watch import INTERVAL
from idtoken_proxy.identity.error_causes import HOST
from idtoken_proxy.identity.slot import TokenSlot
from idtoken_proxy.identity.sources.file import FileSource
from idtoken_proxy.settings.identities import FileIdentity, UserIdentity
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, START, FakeClock, FakeSource, Stage, jwt, turns

LOGIN = "gcloud auth application-default login"


class Login(FakeSource):
    """Fails until somebody logs in."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.fails = TokenError(
            "it has expired", cause="login_expired", fault=Fault.OPERATOR, remedy=LOGIN, login=LOGIN
        )
        self.looks = 0
        self.logins = 1

    def version(self) -> object:
        self.looks += 1
        return self.logins

    def log_in(self) -> None:
        self.logins += 1
        self.fails = None


def made(stage: Stage, *audiences: str) -> tuple[Login, list[TokenSlot]]:
    source = Login(stage.clock)
    slots = [stage.cache.slot(UserIdentity(), source, audience) for audience in audiences]
    stage.watched += slots
    return source, slots


async def fails(slot: TokenSlot, patience: float = 0.0) -> TokenError:
    with pytest.raises(TokenError) as caught:
        await slot.get(patience)
    return caught.value


async def comes(stage: Stage, slot: TokenSlot) -> bool:
    """Whether a token does, well before the next try. It is looked at, and fetched, in threads: in the world's own time."""
    for _ in range(4):
        await stage.pass_(INTERVAL)
        for _ in range(200):
            if slot.current() is not None:
                return True
            await asyncio.sleep(0.005)
    return False


async def test_the_error_names_the_command_and_the_machine(stage: Stage) -> None:
    _, (slot,) = made(stage, AUDIENCE)
    for _ in range(2):
        error = await fails(slot)
        assert (error.login, error.remedy) == (LOGIN, f"On {HOST}: {LOGIN}")
    assert stage.events[0].error is not None
    assert stage.events[0].error.remedy == error.remedy == getattr(slot.status().error, "remedy", None)


async def test_a_login_ends_the_back_off(stage: Stage) -> None:
    source, (slot,) = made(stage, AUDIENCE)
    for _ in range(8):  # until the back-off is long
        await fails(slot)
        await stage.pass_(25)
    await fails(slot)
    tries = source.fetches
    source.log_in()
    assert await comes(stage, slot)
    assert source.fetches == tries + 1
    looks = source.looks
    await stage.pass_(60)
    assert source.looks == looks  # nobody looks any more


async def test_what_waits_goes_on(stage: Stage) -> None:
    source, (slot,) = made(stage, AUDIENCE)
    await fails(slot)
    waiting = [asyncio.ensure_future(slot.get(60)) for _ in range(3)]
    await turns()
    assert not any(one.done() for one in waiting)
    source.log_in()
    assert await comes(stage, slot)
    assert {(await one).value for one in waiting} == {slot.held and slot.held.value}


async def test_patience_ends(stage: Stage) -> None:
    _, (slot,) = made(stage, AUDIENCE)
    assert (await fails(slot, 0.02)).cause == "login_expired"
    assert (await fails(slot, 0.02)).cause == "login_expired"


async def test_another_trouble_is_not_waited_out(stage: Stage) -> None:
    source, (slot,) = made(stage, AUDIENCE)
    source.fails = TokenError("x", cause="endpoint_unavailable", fault=Fault.GOOGLE)
    async with asyncio.timeout(5):
        assert (await fails(slot, 60)).cause == "endpoint_unavailable"
    await stage.pass_(10)
    assert source.looks <= source.fetches  # one before each fetch, and no watch


async def test_one_look_serves_all_slots_of_a_login(stage: Stage) -> None:
    source, slots = made(stage, *(f"https://{name}.a.run.app" for name in "abcdef"))
    for slot in slots:
        await fails(slot)
    before, fetches = source.looks, source.fetches
    await stage.pass_(3 * INTERVAL + 0.1)
    assert source.looks - before <= 4 + (source.fetches - fetches)
    source.log_in()
    assert all([await comes(stage, slot) for slot in slots])


@for_each(
    "before",
    [None, "not yet", jwt({"aud": AUDIENCE, "exp": START - 7200})],
    ids=["missing", "no token", "expired"],
)
async def test_a_token_file_that_is_written_at_last_is_read_at_once(
    stage: Stage, tmp_path: Path, before: str | None
) -> None:
    path = tmp_path / f"token-{len(before or '')}"
    if before is not None:
        path.write_text(before)
    source = FileSource(str(path), stage.clock.wall)
    slot = stage.cache.slot(FileIdentity(str(path)), source, AUDIENCE)
    stage.watched.append(slot)
    while ((await fails(slot)).retry_after or 0) <= 10:  # until the next try is far
        await stage.pass_(1)
    path.write_text(jwt({"aud": AUDIENCE, "exp": stage.clock.wall() + 3600}))
    assert await comes(stage, slot)
