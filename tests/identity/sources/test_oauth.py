from __future__ import annotations

import asyncio
from pathlib import Path

from idtoken_proxy.emulator.consent import CLIENT
from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.login_store import LoginStore
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.sources.oauth import OauthSource
from idtoken_proxy.login import Desk
from idtoken_proxy.settings.identities import OauthIdentity
from idtoken_proxy.settings.model import Scopes
from tests.identity.sources.emulated import DEV, Google, fails, logged_in


def of(google: Google, path: Path, directory: Path) -> OauthSource:
    source = build(OauthIdentity(str(path)), google.endpoints, {"XDG_STATE_HOME": str(directory)})
    assert isinstance(source, OauthSource)
    return source


async def test_its_tokens_are_the_person_s_for_that_client(google: Google, tmp_path: Path) -> None:
    path = await asyncio.to_thread(logged_in, google.emulator, tmp_path)
    source = of(google, path, tmp_path)
    token = await asyncio.to_thread(source.fetch, "whatever")
    assert (token.audience, token.email) == (CLIENT, DEV.email)
    assert source.describe().startswith(f"login of {DEV.email} in {tmp_path}")
    assert await asyncio.to_thread(source.objection, CLIENT, "intranet.example.com") is None
    objection = await asyncio.to_thread(
        source.objection, "55-other.apps.googleusercontent.com", "intranet.example.com"
    )
    assert objection is not None
    assert objection.cause == "audience_unsupported"
    assert (await asyncio.to_thread(source.access_token)).email == DEV.email


async def test_nobody_has_logged_in(google: Google, tmp_path: Path) -> None:
    path = await asyncio.to_thread(logged_in, google.emulator, tmp_path)
    source = of(google, path, tmp_path / "elsewhere")
    command = "idtoken-proxy login"
    await asyncio.to_thread(
        fails, source.fetch, "a", cause="login_missing", fault=Fault.OPERATOR, login=command, remedy=command
    )
    # Which client it will be of is known all the same: a proxy may start before the login.
    assert await asyncio.to_thread(source.objection, CLIENT, "intranet.example.com") is None
    other = "55-other.apps.googleusercontent.com"
    assert await asyncio.to_thread(source.objection, other, "intranet.example.com") is not None


async def test_one_that_was_revoked_and_made_anew(google: Google, tmp_path: Path) -> None:
    path = await asyncio.to_thread(logged_in, google.emulator, tmp_path)
    source = of(google, path, tmp_path)
    await asyncio.to_thread(source.fetch, "a")
    before = await asyncio.to_thread(source.version)
    desk = await asyncio.to_thread(
        Desk.of, OauthIdentity(str(path)), None, {"XDG_STATE_HOME": str(tmp_path)}, LoginStore
    )
    kept = await asyncio.to_thread(desk.store.load)
    told = await asyncio.to_thread(desk.log_out)
    assert told == f"The login of {DEV.email} is revoked and removed"
    assert await asyncio.to_thread(source.version) != before
    await asyncio.to_thread(desk.store.save, kept)  # as a copy on another machine
    await asyncio.to_thread(
        fails,
        source.fetch,
        "a",
        cause="login_expired",
        fault=Fault.OPERATOR,
        login="idtoken-proxy login",
        remedy="idtoken-proxy login",
    )
    await asyncio.to_thread(logged_in, google.emulator, tmp_path)
    assert (await asyncio.to_thread(source.fetch, "a")).email == DEV.email


async def test_scopes_that_the_login_has_not(google: Google, tmp_path: Path) -> None:
    path = await asyncio.to_thread(logged_in, google.emulator, tmp_path)
    source = of(google, path, tmp_path)
    assert (
        source.remedy_for(Scopes(("email",)))
        == "Add them to the identity's scopes (email), then idtoken-proxy login"
    )
