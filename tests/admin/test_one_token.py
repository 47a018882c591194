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
from idtoken_proxy.settings.model import GoogleEndpoints, Route, Settings, Upstream
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
