"""Two days of hour-long tokens, at a client that asks once a minute and never restarts: no receiver ever says 401."""

from __future__ import annotations

import pytest

from idtoken_proxy.identity.token import AccessToken
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import Scopes, Wanted
from tests.identity.fakes import AUDIENCE, FakeClock, FakeSource, Stage

MINUTES = 2 * 24 * 60


class Google(FakeSource):
    """Both kinds of token; each is good for an hour from when it was asked for, less what the answer takes."""

    def access_token(self, scopes: Scopes = Scopes()) -> AccessToken:  # noqa: B008 -- frozen
        token = self.fetch(str(scopes))
        return AccessToken.of(
            f"ya29.{self.fetches}",
            origin="it",
            asked=self.clock.wall(),
            life=token.expires_at - self.clock.wall(),
        )


@pytest.mark.parametrize("wanted", [AUDIENCE, Scopes()], ids=["id", "access"])
@pytest.mark.parametrize(
    ("refresh_ahead", "frozen"),
    [(600.0, False), (210.0, False), (600.0, True)],
    ids=["ahead", "metadata", "frozen"],
)
async def test_not_one_401(stage: Stage, wanted: Wanted, refresh_ahead: float, frozen: bool) -> None:  # noqa: FBT001
    """`frozen`: between two requests the CPU sleeps, and timers with it."""
    clock: FakeClock = stage.clock
    source = Google(clock, refresh_ahead=refresh_ahead)
    slot = stage.cache.slot(MetadataIdentity(), source, wanted)
    stage.watched.append(slot)
    for _ in range(MINUTES):
        token = await slot.get()
        assert token.expires_at - clock.wall() >= 30, "the receiver would answer 401"
        if frozen:
            clock.freeze(60)
            await stage.settle()
        else:
            await stage.pass_(60)
    assert 48 <= source.fetches <= 60
