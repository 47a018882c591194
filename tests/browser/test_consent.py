"""`idtoken-proxy login` as a person sees it: the page that it opens, a click, and the way back to the terminal."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from idtoken_proxy.emulator import Account, Emulator, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.identity.login_store import LoginStore
from idtoken_proxy.login import Desk
from idtoken_proxy.settings.identities import OauthIdentity
from tests.browser.chromium import BROWSER, MISSING
from tests.browser.devtools import new_tab
from tests.identity.sources.emulated import write

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason=MISSING)]

DEV = Account("dev@example.com")


def _show(loop: asyncio.AbstractEventLoop, shown: asyncio.Future[str], url: str) -> None:
    loop.call_soon_threadsafe(shown.set_result, url)


async def test_a_login(chromium: str, keys: Keys, tmp_path: Path) -> None:
    async with Emulator(World("proj", (DEV,), ()), keys=keys) as emulator, new_tab(chromium) as tab:
        identity = OauthIdentity(str(write(tmp_path / "client.json", emulator.client_file)))
        desk = Desk.of(identity, None, {"XDG_STATE_HOME": str(tmp_path)}, LoginStore)
        loop = asyncio.get_running_loop()
        shown: asyncio.Future[str] = loop.create_future()
        told = asyncio.ensure_future(
            asyncio.to_thread(desk.log_in, lambda _: None, None, lambda page: _show(loop, shown, page))
        )
        await tab.open(await shown)
        await tab.click("button.account")
        await tab.until("document.title === 'idtoken-proxy'")
        page = await tab.text()
        assert "Logged in" in page
        assert (await told).startswith(f"Logged in as {DEV.email}")
        login = await asyncio.to_thread(desk.store.load)
        # The sentinel: it is in its store, and nowhere else.
        seen = json.dumps([page, await tab.address(), tab.complaints, dict(os.environ)])
        assert login.refresh_token not in seen
        holders = [
            path for path in tmp_path.rglob("*") if path.is_file() and login.refresh_token in path.read_text()
        ]
        assert [str(path) for path in holders] == [desk.store.path]
        assert tab.complaints == []
