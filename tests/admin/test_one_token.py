from __future__ import annotations

from pathlib import Path

import pytest

from idtoken_proxy.admin.one_token import claims_of, identity_for, one_token
from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.identities import (
    AutoIdentity,
    FileIdentity,
    Identity,
    MetadataIdentity,
    NoIdentity,
)
from idtoken_proxy.settings.model import CLOUD_PLATFORM, GoogleEndpoints, Route, Scopes, Settings, Upstream
from tests.cases import for_each
from tests.engine.proxied import AUDIENCE, make_token

UPSTREAM = Upstream("http", "127.0.0.1", 1)
AUTO, METADATA, PUBLIC = AutoIdentity(), MetadataIdentity(), NoIdentity()


def settings(**routes: tuple[str | None, Identity]) -> Settings:
    return Settings(
        routes=tuple(
            Route(name, UPSTREAM, audience, identity) for name, (audience, identity) in routes.items()
        )
    )


TWO = settings(a=("https://a", AUTO), b=("https://b", METADATA), public=(None, PUBLIC))
SAME = settings(a=("https://a", METADATA), b=("https://b", METADATA), public=(None, PUBLIC))


@for_each(
    ("all_routes", "audience", "route", "expected"),
    [
        (settings(), "https://x", None, (AUTO, "https://x")),
        (settings(public=(None, PUBLIC)), "https://x", None, (AUTO, "https://x")),
        (TWO, "https://b", None, (METADATA, "https://b")),
        (SAME, "https://x", None, (METADATA, "https://x")),
        (TWO, None, "b", (METADATA, "https://b")),
        (TWO, "https://x", "b", (METADATA, "https://x")),
    ],
)
def test_whose_token(
    all_routes: Settings, audience: str | None, route: str | None, expected: tuple[Identity, str]
) -> None:
    assert identity_for(all_routes, audience, route) == expected


@for_each(
    ("audience", "route", "said"),
    [
        (None, None, "name an audience with --audience"),
        ("https://x", None, "name one of them with --route: a, b$"),
        (None, "c", 'no route "c"; there are: a, b, public'),
        (None, "public", 'route "public" is public'),
        ("https://x", "public", 'route "public" is public'),
    ],
)
def test_what_has_to_be_said(audience: str | None, route: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        identity_for(TWO, audience, route)


async def test_one_token_and_its_claims(tmp_path: Path) -> None:
    path = tmp_path / "token"
    value = make_token()
    path.write_text(value + "\n")
    token = await one_token(FileIdentity(str(path)), AUDIENCE, GoogleEndpoints(), {})
    assert token.value == value
    claims = claims_of(token)
    assert (claims["aud"], claims["email"]) == (AUDIENCE, "caller@example.com")


@for_each("filling", ["", "x", "xx", "xxx"])
def test_claims_of_any_length(filling: str) -> None:
    token = IdToken.parse(make_token("aud" + filling), origin="the test")
    assert claims_of(token)["aud"] == "aud" + filling


async def test_no_token(tmp_path: Path) -> None:
    with pytest.raises(TokenError) as raised:
        await one_token(FileIdentity(str(tmp_path / "gone")), AUDIENCE, GoogleEndpoints(), {})
    assert raised.value.cause == "file_missing"


def test_an_access_token_by_its_scopes() -> None:
    api = Route("api", UPSTREAM, None, METADATA, scopes=Scopes(("email",)))
    all_routes = Settings(routes=(*TWO.routes, api))
    assert identity_for(all_routes, None, None, "email") == (METADATA, Scopes(("email",)))
    assert identity_for(all_routes, None, "api") == (METADATA, Scopes(("email",)))
    assert identity_for(SAME, None, None, "cloud-platform,email") == (
        METADATA,
        Scopes((CLOUD_PLATFORM, "email")),
    )
    assert identity_for(TWO, None, "b", CLOUD_PLATFORM) == (METADATA, Scopes())


@for_each(
    ("audience", "scopes", "said"),
    [
        ("https://a", "email", "name one of --audience and --scopes"),
        (None, "", "--scopes names none"),
        (None, 'a"b', "--scopes must be a scope"),
    ],
)
def test_scopes_that_cannot_be(audience: str | None, scopes: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        identity_for(SAME, audience, None, scopes)


async def test_an_access_token_and_what_came_with_it(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"access_token": "ya29.it", "expires_in": 3600}')
    token = await one_token(FileIdentity(str(tmp_path / "t")), Scopes(), GoogleEndpoints(), {})
    assert token.value == "ya29.it"
    assert set(claims_of(token)) == {"email", "sub", "exp"}
