"""What is handed out is the configuration's: a request chooses among listed audiences, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.cache import TokenCache
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.metadata_server.handed_out import HandedOut
from idtoken_proxy.settings.identities import AutoIdentity
from idtoken_proxy.settings.model import CLOUD_PLATFORM, MetadataSettings, Scopes
from tests.cases import for_each
from tests.engine.proxied import make_token

PUBSUB = "https://www.googleapis.com/auth/pubsub"
DRIVE = "https://www.googleapis.com/auth/drive"


class FakeSource:
    name = "fake"
    refresh_ahead = 60.0

    def __init__(self) -> None:
        self.asked: list[str] = []

    def describe(self) -> str:
        return "a fake"

    def fetch(self, audience: str) -> IdToken:
        self.asked.append(audience)
        if "broken" in audience:
            raise TokenError("out of order", cause="broken", fault=Fault.GOOGLE)
        return IdToken.parse(make_token(audience), origin="a test")

    def access_token(self, scopes: Scopes) -> AccessToken:
        raise AssertionError("nobody asked for one")


@pytest.fixture
async def cache() -> AsyncIterator[TokenCache]:
    made = TokenCache(on_event=lambda _: None)
    yield made
    await made.close()


def handed_out(cache: TokenCache, *audiences: str, scopes: Scopes | None = None) -> HandedOut:
    settings = MetadataSettings(audiences=audiences, scopes=scopes)
    return HandedOut(settings, FakeSource(), cache)


async def test_a_listed_audience_is_the_slot_that_a_route_has(cache: TokenCache) -> None:
    out = handed_out(cache, "https://a.example")
    slot = out.id_token("https://a.example")
    assert slot is cache.slot(AutoIdentity(), out.source, "https://a.example")
    assert [out.id_token(one) for one in ("https://a.example/", "https://b.example", CLOUD_PLATFORM)] == [
        None
    ] * 3
    assert out.access_token(()) is None
    assert out.source.asked == []  # type: ignore[attr-defined]  # nothing is fetched before somebody asks


@for_each(
    "listed, asked, granted",
    [
        ((CLOUD_PLATFORM,), (), True),
        ((CLOUD_PLATFORM,), (PUBSUB, CLOUD_PLATFORM), True),
        ((CLOUD_PLATFORM,), (DRIVE,), True),  # as on a VM: the token has the scopes that it has
        ((PUBSUB,), (PUBSUB,), True),
        ((PUBSUB,), (), True),
        ((PUBSUB,), (PUBSUB, DRIVE), False),
        ((PUBSUB, DRIVE), (CLOUD_PLATFORM,), False),
    ],
)
async def test_scopes_are_the_configuration_s(
    cache: TokenCache, listed: tuple[str, ...], asked: tuple[str, ...], *, granted: bool
) -> None:
    slot = handed_out(cache, scopes=Scopes(listed)).access_token(asked)
    assert (slot is not None) is granted
    assert slot is None or slot.wanted == Scopes(listed)


async def test_whose_they_are_is_found_out_once(cache: TokenCache) -> None:
    out = handed_out(cache, "https://a.example", "https://b.example")
    assert await out.email() == "caller@example.com"
    assert await out.email() == "caller@example.com"
    assert out.source.asked == ["https://a.example"]  # type: ignore[attr-defined]
    assert await handed_out(cache).email() is None


async def test_a_failure_is_told(cache: TokenCache) -> None:
    out = handed_out(cache, "https://broken.example")
    assert out.error() is None
    with pytest.raises(TokenError):
        await out.email()
    error = out.error()
    assert error is not None
    assert error.cause == "broken"


@for_each(
    "said, environ, email, project",
    [
        ("said", {"GOOGLE_CLOUD_PROJECT": "of-environment"}, None, "said"),
        (
            None,
            {"GOOGLE_CLOUD_PROJECT": "of-environment"},
            "a@of-email.iam.gserviceaccount.com",
            "of-environment",
        ),
        (None, {}, "login@of-email.iam.gserviceaccount.com", "of-email"),
        (None, {}, "123-compute@developer.gserviceaccount.com", None),
        (None, {}, "person@example.com", None),
        (None, {}, None, None),
    ],
)
async def test_the_project(
    cache: TokenCache, said: str | None, environ: dict[str, str], email: str | None, project: str | None
) -> None:
    out = HandedOut(MetadataSettings(project_id=said), FakeSource(), cache)
    assert out.project_id(email, environ) == project
