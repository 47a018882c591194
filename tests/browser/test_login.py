"""A person at Chromium logs in to a private web app through the proxy, works in it and logs out again."""

from __future__ import annotations

import asyncio
import html
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from aiohttp import web

from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import GuardSettings, Rewrite, Route
from tests.browser.chromium import BROWSER, MISSING
from tests.browser.devtools import Tab, new_tab
from tests.browser.webapp import COLOUR, FRAMEWORKS, HOST, PASSWORD, Seen, WebApp, listening
from tests.engine.proxied import Proxied, make_token, settings_for

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason=MISSING)]


@dataclass(frozen=True)
class Way:
    """Of opening an app: `host` and `path` as they stand in the address bar."""

    host: str
    path: str
    route: dict[str, Any]

    def url(self, port: int) -> str:
        return f"http://{self.host}:{port}{self.path}"


WAYS: Final = {
    "localhost": Way("localhost", "", {}),
    "a stripped prefix": Way("localhost", "/app", {"path": "/app", "strip_prefix": True}),
    "a name of its own": Way("app.localhost", "", {"host": "app.localhost"}),
}


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST).configure_cert(context)
    return context


class Place:
    """Where apps run, each behind its route of one proxy."""

    def __init__(self, stack: AsyncExitStack, tls: ssl.SSLContext, ca: trustme.CA, directory: Path) -> None:
        self._stack = stack
        self._tls = tls
        self._directory = directory
        self._ca_file = directory / "ca.pem"
        ca.cert_pem.write_to_path(self._ca_file)

    async def app(self, name: str = "app", framework: str = "Django", **changes: Any) -> WebApp:
        token = make_token(f"https://{name}.example")
        await asyncio.to_thread((self._directory / name).write_text, token)
        app = WebApp(token, FRAMEWORKS[framework], **changes)
        return await self._stack.enter_async_context(app.running(self._tls))

    def route(self, app: WebApp, name: str = "app", **changes: Any) -> Route:
        identity = FileIdentity(str(self._directory / name))
        return Route(name, app.upstream, f"https://{name}.example", identity, **changes)

    async def serve(self, *routes: Route, **changes: Any) -> int:
        server = Server(settings_for(*routes, ca_file=str(self._ca_file), **changes), {})
        await server.start()
        proxied = Proxied(server, "")
        self._stack.push_async_callback(proxied.end)
        return proxied.port

    async def elsewhere(self, pages: Mapping[str, str], bounce: str = "") -> str:
        """The origin of another server on this machine, as `npm run dev` starts one. What is posted to /bounce is sent
        on to the address `bounce`, to be posted there.
        """

        async def answer(request: web.Request) -> web.Response:
            if request.path == "/bounce":
                return web.Response(status=307, headers={"Location": bounce})
            text = f"<!doctype html><link rel=icon href='data:,'>{pages[request.path]}"
            return web.Response(text=text, content_type="text/html")

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        return f"http://localhost:{await self._stack.enter_async_context(listening(app))}"


@pytest.fixture
async def place(tls: ssl.SSLContext, ca: trustme.CA, tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(stack, tls, ca, tmp_path)


@pytest.fixture
async def person(chromium: str, place: Place) -> AsyncIterator[Tab]:
    """Goes before the place does, and takes the connections along."""
    async with new_tab(chromium) as one:
        yield one


async def log_in(person: Tab, user: str = "ada") -> None:
    await person.until("document.title === 'Log in'")
    await person.type("input[name=user]", user)
    await person.type("input[name=password]", PASSWORD)
    await person.click("button")


async def at_home(person: Tab, user: str = "ada") -> None:
    """All that the page loads and does has come to something."""
    await person.until(f"document.querySelector('h1').textContent === 'Hello, {user}'")
    await person.until(f"document.querySelector('#posted').textContent === 'kept for {user}'")
    await person.until(f"document.querySelector('#live').textContent === 'hello, {user}'")
    await person.until("document.querySelector('img').naturalWidth > 0")
    assert await person.evaluate("getComputedStyle(document.querySelector('h1')).color") == COLOUR


# -- a login --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opened", "framework"),
    [
        *((way, "Django") for way in WAYS),
        ("a stripped prefix", "Rails"),
        ("a name of its own", "Express with Helmet"),
    ],
)
async def test_from_the_first_page_to_the_log_out(
    person: Tab, place: Place, tmp_path: Path, opened: str, framework: str
) -> None:
    way, app = WAYS[opened], await place.app(framework=framework)
    url = way.url(await place.serve(place.route(app, **way.route)))

    await person.open(f"{url}/")
    await person.until("document.title === 'Log in'")
    assert await person.address() == f"{url}/login?next=/"
    await person.shoot(tmp_path / "login.png")

    await log_in(person)
    await at_home(person)
    assert await person.address() == f"{url}/?welcome"
    await person.shoot(tmp_path / "home.png")
    assert app.notes == ["milk"]
    for path in ("/", "/static/app.js", "/static/picture.svg", "/api/notes", "/api/live"):
        assert app.users[app.asked_for(path)[-1].cookies["session"]] == "ada", path

    kept = await person.cookies()
    assert {name: (one["domain"], one["path"]) for name, one in kept.items()} == {
        "csrf": (way.host, way.path or "/"),
        "session": (way.host, way.path or "/"),
        "__Host-device": (way.host, "/"),
        "area": (way.host, f"{way.path}/account"),
    }
    assert all(one["secure"] for one in kept.values())
    assert {name for name, one in kept.items() if one["httpOnly"]} == {"session", "__Host-device"}
    assert kept["session"]["sameSite"] == "Lax"
    assert kept["__Host-device"]["sameSite"] == "Strict"

    await person.click("a")
    await person.until(
        "document.title === 'Account' && document.querySelector('#user').textContent === 'ada'"
    )
    assert [one.path for one in app.seen if "area" in one.cookies] == ["/account/"]
    await person.click("a")
    await at_home(person)

    await person.click("form button")
    await person.until("document.title === 'Log in'")
    assert await person.address() == f"{url}/login?bye"
    assert set(await person.cookies()) == {"csrf"}
    await person.open(f"{url}/")
    await person.until("document.title === 'Log in'")
    assert await person.address() == f"{url}/login?next=/"
    assert person.complaints == []


async def test_two_apps_under_two_names_know_nothing_of_each_other(person: Tab, place: Place) -> None:
    one, two = await place.app("one"), await place.app("two")
    port = await place.serve(
        place.route(one, "one", host="one.localhost"), place.route(two, "two", host="two.localhost")
    )
    for name, user in (("one", "ada"), ("two", "bob")):
        await person.open(f"http://{name}.localhost:{port}/")
        await log_in(person, user)
        await at_home(person, user)
    # Logged in at both, at the same time, with cookies of the same names.
    await person.open(f"http://one.localhost:{port}/")
    await at_home(person, "ada")
    assert (list(one.users.values()), list(two.users.values())) == (["ada"], ["bob"])
    assert not sent_to(one) & sent_to(two) - {"laptop"}


def sent_to(app: WebApp) -> set[str]:
    """The cookies' values."""
    return {value for seen in app.seen for value in seen.cookies.values()}


# -- without which it does not work -------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_redirects_as_they_come_lead_past_the_proxy(person: Tab, place: Place, way: Way) -> None:
    """To the receiver's own address, where the browser, without a token, is nobody."""
    app = await place.app(scheme="http")
    url = way.url(await place.serve(place.route(app, **way.route), rewrite=Rewrite(location=False)))
    await person.open(f"{url}/")
    assert await person.address() == f"http://{HOST}:{app.port}/login?next=/"
    assert await person.text() == "This service is private: no token"


@pytest.mark.parametrize(
    ("rewrite", "told"),
    [
        (Rewrite(cookies=False), "CSRF cookie not set"),
        (Rewrite(origin=False), "Origin checking failed"),
    ],
    ids=["cookies", "origin"],
)
async def test_a_login_fails_where_cookies_or_origins_are_as_they_come(
    person: Tab, place: Place, rewrite: Rewrite, told: str
) -> None:
    app = await place.app()
    url = WAYS["localhost"].url(await place.serve(place.route(app), rewrite=rewrite))
    await person.open(f"{url}/")
    await log_in(person)
    await person.until(f"document.body.innerText.includes({told!r})")
    assert app.users == {}


# -- a frontend on another origin -----------------------------------------------------------------


ME = "fetch('{url}/api/me', {{credentials: 'include'}}).then(answer => answer.json(), error => error.name)"
KEEP = """fetch('{url}/api/notes', {{method: 'POST', credentials: 'include', body: JSON.stringify({{text: 'bread'}}),
  headers: {{'Content-Type': 'application/json', 'X-CSRF-Token': '{csrf}'}}}})
  .then(async answer => [answer.status, answer.headers.get('X-Notes'), await answer.json()], error => error.name)"""


async def test_a_listed_frontend_uses_the_apps_api_and_no_other_does(person: Tab, place: Place) -> None:
    page = {"/": "<title>Frontend</title>"}
    listed, other = await place.elsewhere(page), await place.elsewhere(page)
    app = await place.app(trusted=(listed, other))
    guard = GuardSettings(allowed_origins=(listed,))
    url = f"http://localhost:{await place.serve(place.route(app), guard=guard)}"
    await person.open(f"{url}/")
    await log_in(person)
    await at_home(person)

    await person.open(f"{listed}/")
    me = await person.evaluate(ME.format(url=url))
    assert me["user"] == "ada"
    assert await person.evaluate(KEEP.format(url=url, csrf=me["csrf"])) == [200, "2", {"by": "ada"}]
    # The proxy answered the preflight; the page's own Origin went on.
    assert app.seen[-1] == Seen("POST", "/api/notes", app.seen[-1].cookies, listed)
    assert app.notes == ["milk", "bread"]

    before = len(app.seen)
    await person.open(f"{other}/")
    assert await person.evaluate(ME.format(url=url)) == "TypeError"
    assert await person.evaluate(KEEP.format(url=url, csrf=me["csrf"])) == "TypeError"
    assert len(app.seen) == before


# -- Origin: null, which is the app's own where it asks for no-referrer -------------------------------


def posting(action: str) -> str:
    return (
        f"<form method=post action={action} target=_top><input name=user value=eve></form>"
        "<script>document.forms[0].submit()</script>"
    )


def sandboxed(page: str) -> str:
    allowed = "allow-scripts allow-forms allow-top-navigation"
    return f'<iframe sandbox="{allowed}" srcdoc="{html.escape(page)}"></iframe>'


async def test_null_of_any_other_page_is_refused(person: Tab, place: Place) -> None:
    """Of another site's pages; of what one of the app's own shows in a sandbox, or posts by way of elsewhere."""
    app = await place.app()
    url = f"http://localhost:{await place.serve(place.route(app))}"
    post = posting(f"{url}/login")
    pages = {
        "/no-referrer": f"<meta name=referrer content=no-referrer>{post}",
        "/sandboxed": sandboxed(post),
    }
    elsewhere = await place.elsewhere(pages, bounce=f"{url}/login")
    refused = (
        """JSON.parse(document.body.innerText).detail === 'a page of origin "null" may not use this proxy'"""
    )
    for path in pages:
        await person.open(f"{elsewhere}{path}")
        await person.until(refused)
    for markup in (sandboxed(post), posting(f"{elsewhere}/bounce")):
        await person.open(f"{url}/login")
        await person.evaluate(f"document.write({json.dumps(markup)})")
        await person.until(refused)
    assert {seen.method for seen in app.seen} == {"GET"}
