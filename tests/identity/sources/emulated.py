"""A Google to fetch from, with a private service that checks what was fetched."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.federation import SERVICE, Aws, Oidc, Provider, pool_path
from idtoken_proxy.emulator.key_files import key_file
from idtoken_proxy.emulator.world import PROJECT_NUMBER, Account, Iap, Service, World, service_account_email
from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.error_causes import CAUSES
from idtoken_proxy.identity.login_store import LoginStore
from idtoken_proxy.identity.sources.source import Source
from idtoken_proxy.identity.token import IdToken, Token
from idtoken_proxy.login import Desk
from idtoken_proxy.settings.identities import OauthIdentity
from idtoken_proxy.settings.model import GoogleEndpoints

PROJECT = "proj"
POOL = f"{SERVICE}/{pool_path(PROJECT_NUMBER, 'outside')}"
ANYONE_OF_POOL = f"principalSet:{POOL}/*"

CALLER = Account(service_account_email("caller", PROJECT), default=True)
DEV = Account("dev@example.com")
MIDDLE = Account(service_account_email("middle", PROJECT), token_creators=frozenset({CALLER.member}))
LAST = Account(service_account_email("last", PROJECT), token_creators=frozenset({MIDDLE.member}))
TARGET = Account(
    service_account_email("target", PROJECT),
    token_creators=frozenset({CALLER.member, DEV.member, ANYONE_OF_POOL}),  # not its own
)
LONER = Account(service_account_email("loner", PROJECT))
GITHUB = Provider("outside", "github", Oidc("https://github.example.com"))
AZURE = Provider("outside", "azure", Oidc("https://azure.example.com", ("api://app",)))
AMAZON = Provider("outside", "amazon", Aws("111122223333", "web", "eu-west-1"))
EVERYONE = (CALLER, DEV, MIDDLE, LAST, TARGET, LONER)
WORLD = World(
    project=PROJECT,
    accounts=EVERYONE,
    services=(
        Service("private", frozenset(account.member for account in EVERYONE)),
        Service("managed", frozenset({TARGET.member, CALLER.member}), iap=Iap(None)),
    ),
    providers=(GITHUB, AZURE, AMAZON),
)


class Google:
    """`endpoints`: what a configuration's `google:` block says."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.audience = emulator.urls["private"]
        self.endpoints = GoogleEndpoints(
            token_endpoint=emulator.token_endpoint,
            iam_endpoint=emulator.iam_endpoint,
            sts_endpoint=emulator.sts_endpoint,
            metadata_host=emulator.metadata_host,
        )

    async def accepts(self, source: Source, *, email: str, audience: str | None = None) -> IdToken:
        """What the source fetches is for the private service and of `email`, and the service takes it."""
        token = await asyncio.to_thread(source.fetch, self.audience)
        assert (token.audience, token.email) == (audience or self.audience, email)
        await self.receives(token, self.audience)
        return token

    @staticmethod
    async def receives(token: Token, url: str) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Authorization": f"Bearer {token.value}"}) as response,
        ):
            assert response.status == 200, await response.text()

    async def refuses(self, source: Source, **expected: Any) -> TokenError:
        return await asyncio.to_thread(fails, source.fetch, self.audience, **expected)

    async def file(self, path: Path, account: Account) -> Path:
        """A key file, or a user's login. It names no endpoint but Google's own, so that the settings must."""
        content = await asyncio.to_thread(
            key_file, account, WORLD, self.emulator.keys, "https://oauth2.googleapis.com/token"
        )
        return write(path, content)


def write(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return path


def fails(call: Callable[..., object], *args: object, **expected: Any) -> TokenError:
    """The call raises a TokenError with all that is expected of it, a known cause, and no secret in it."""
    with pytest.raises(TokenError) as caught:
        call(*args)
    error = caught.value
    assert {name: getattr(error, name) for name in expected} == expected
    assert error.cause in CAUSES
    told = f"{error}{error.remedy}{error.log_detail}"
    for secret in ("SENTINEL", "PRIVATE KEY", "eyJ", "ya29."):
        assert secret not in told
    assert error.__suppress_context__ or error.__context__ is None
    return error


def consented(url: str, who: str = DEV.email) -> str:
    """A person at the emulator's consent page, who clicks on their name: where the browser is sent to."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    opener = urllib.request.build_opener(Stay)
    with opener.open(url, timeout=10) as page:
        assert who in page.read().decode()
    with pytest.raises(urllib.error.HTTPError) as answer:
        opener.open(url, urllib.parse.urlencode({"account": who}).encode(), timeout=10)
    answer.value.close()
    assert answer.value.code == 302
    return answer.value.headers["Location"]


def logged_in(emulator: Emulator, directory: Path, *scopes: str) -> Path:
    """The OAuth client's file, with its first user's login in `directory`. Blocks."""
    who = next(account.email for account in emulator.world.accounts if not account.is_service_account)
    path = write(directory / "client.json", emulator.client_file)
    environ = {"XDG_STATE_HOME": str(directory)}
    identity = OauthIdentity(str(path), scopes)
    desk = Desk.of(identity, None, environ, LoginStore)
    shown: list[str] = []
    desk.log_in(shown.append, lambda: consented(shown[0], who))
    return path
