"""Chromium by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): a person at a page, who looks,
types and clicks. One browser serves many tests, each with cookies and a cache of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from tests.browser.chromium import BROWSER, OPTIONS

PATIENCE: Final = 20.0  # seconds that anything may take on a busy machine before the test fails


class DevToolsError(Exception):
    pass


class Session:
    """With the browser, or with one of its pages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []  # of the browser: errors, and what a policy forbade

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self._socket.receive_json()
                if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                    self.complaints.append(json.dumps(message["params"]))
                if message.get("id") == number:
                    if "error" in message:
                        raise DevToolsError(method, message["error"])
                    return cast("dict[str, Any]", message["result"])


class Tab(Session):
    def __init__(self, socket: aiohttp.ClientWebSocketResponse, browser: Session, context: str) -> None:
        super().__init__(socket)
        self._browser = browser
        self._context = context

    async def evaluate(self, expression: str) -> Any:
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise DevToolsError(expression, result["exceptionDetails"])
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """A page that is left while it is asked, or that has nothing of the kind yet, is asked again."""
        answer: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        answer = await self.evaluate(expression)
                    except DevToolsError as error:
                        answer = error
                    else:
                        if answer:
                            return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            seen = await self.evaluate("location.href + '\\n' + document.body.innerText")
            raise AssertionError(f"never came true: {expression} (last: {answer})\n{seen}") from None

    async def open(self, url: str) -> None:
        """As if it were typed into the address bar."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def text(self, selector: str = "body") -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def address(self) -> str:
        return str(await self.evaluate("location.href"))

    async def click(self, selector: str) -> None:
        """Not before there is something to see: a stylesheet moves things, and until a page has been painted the browser
        drops what is clicked.
        """
        await self.until("document.readyState === 'complete'")
        await self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        x, y = await self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def type(self, selector: str, text: str) -> None:
        await self.click(selector)
        await self.call("Input.insertText", text=text)

    async def cookies(self) -> dict[str, dict[str, Any]]:
        """All that the browser keeps, of whatever site, by name; two of one name are a failure."""
        found = (await self._browser.call("Storage.getCookies", browserContextId=self._context))["cookies"]
        by_name = {cookie["name"]: cookie for cookie in found}
        assert len(by_name) == len(found), found
        return by_name

    async def shoot(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@contextlib.contextmanager
def started(directory: Path) -> Iterator[str]:
    """The browser's address for `new_tab`. Not bound to an event loop, so that it may outlive a test."""
    assert BROWSER is not None
    told = directory / "profile" / "DevToolsActivePort"
    with (directory / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(BROWSER, *OPTIONS, "--hide-scrollbars", "--remote-debugging-port=0"),
                *(f"--user-data-dir={told.parent}", "about:blank"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "HOME": str(directory)},
        )
        try:
            limit = time.monotonic() + PATIENCE
            while not (told.exists() and told.read_text().count("\n")):
                assert time.monotonic() < limit, "Chromium does not start"
                assert process.poll() is None, "Chromium has ended"
                time.sleep(0.02)
            port, path = told.read_text().splitlines()
            yield f"ws://127.0.0.1:{port}{path}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def new_tab(address: str) -> AsyncIterator[Tab]:
    """A window as if of somebody else: what others have in cookies and caches is not there."""
    async with aiohttp.ClientSession() as client, client.ws_connect(address) as socket:
        browser = Session(socket)
        context = (await browser.call("Target.createBrowserContext"))["browserContextId"]
        made = await browser.call("Target.createTarget", url="about:blank", browserContextId=context)
        page = f"{address.partition('/devtools/')[0]}/devtools/page/{made['targetId']}"
        async with _attached(client, page, browser, context) as tab:
            yield tab
        await browser.call("Target.disposeBrowserContext", browserContextId=context)


@contextlib.asynccontextmanager
async def first_tab(address: str) -> AsyncIterator[Tab]:
    """The one that the browser has opened itself, for pages that keep nothing: a new window is a new process, and costs
    several times what a page does. What was emulated in it ends with the session.
    """
    async with aiohttp.ClientSession() as client, client.ws_connect(address) as socket:
        browser = Session(socket)
        targets = (await browser.call("Target.getTargets"))["targetInfos"]
        first = next(target for target in targets if target["type"] == "page")
        page = f"{address.partition('/devtools/')[0]}/devtools/page/{first['targetId']}"
        async with _attached(client, page, browser, first["browserContextId"]) as tab:
            yield tab
            assert await tab.cookies() == {}
            await tab.call("Page.navigate", url="about:blank")
            await tab.call("Log.clear")


@contextlib.asynccontextmanager
async def _attached(
    client: aiohttp.ClientSession, page: str, browser: Session, context: str
) -> AsyncIterator[Tab]:
    async with client.ws_connect(page, max_msg_size=0) as socket:
        tab = Tab(socket, browser, context)
        for domain in ("Log", "Runtime", "Page"):
            await tab.call(f"{domain}.enable")
        yield tab
