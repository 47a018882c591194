"""The status page in a real browser: what it shows, that it fits a phone, that it can be read, and that nothing that
was said to the proxy becomes markup. With STATUS_PAGE_SHOTS=DIRECTORY it leaves screenshots there, to be looked at.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from idtoken_proxy.admin.history import EVERY, History
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.errors import ConfigError, Problem, ProxyError, TokenError
from idtoken_proxy.identity.diagnosis import Diagnosis
from idtoken_proxy.receive.key_set import KeySet
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import CommandIdentity, FileIdentity, NoIdentity
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import MetadataSettings, Route, TcpAddress
from tests.browser.chromium import BROWSER, MISSING
from tests.browser.devtools import Tab, first_tab
from tests.engine.proxied import AUDIENCE, make_token, route_to, settings_for
from tests.engine.wire import Receiver, answering, connect, eventually, get, ok
from tests.receive.forged import GOOGLE, bearer
from tests.receive.inbound import inbound, settings_text
from tests.receive.signing import AUDIENCE as RECEIVED
from tests.receive.signing import claims_of

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason=MISSING)]
TIMES = "\N{MULTIPLICATION SIGN}"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


async def look(tab: Tab, url: str, *, width: int = 1280, dark: bool = False) -> None:
    await tab.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    await tab.call("Emulation.setEmulatedMedia", features=[scheme])
    await tab.open(url)
    await tab.until("document.querySelector('#version').textContent !== ''")


async def shoot(tab: Tab, name: str) -> None:
    if directory := os.environ.get("STATUS_PAGE_SHOTS"):
        await tab.shoot(Path(directory, f"{name}.png"))


@pytest.fixture
async def tab(chromium: str) -> AsyncIterator[Tab]:
    async with first_tab(chromium) as one:
        yield one
        assert one.complaints == []


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def begin(*routes: Route, metadata: MetadataSettings | None = None) -> Server:
            admin = TcpAddress("127.0.0.1", 0)
            server = Server(settings_for(*routes, admin=admin, metadata=metadata), {})
            await server.start()
            stack.push_async_callback(server.stop, 0)
            return server

        yield begin


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(answering(ok())) as one:
        yield one


def page_of(server: Server) -> str:
    (address,) = server.admin
    return f"http://{address}/"


def named(name: str, receiver: Receiver | int, directory: Path, lifetime: float = 2990.0) -> Route:
    audience = f"https://{name}-x7f3kq-uc.a.run.app"
    path = directory / name
    path.write_text(make_token(audience, lifetime))
    return replace(route_to(receiver, path), name=name, path=f"/{name}", audience=audience)


async def world(serve: Serve, receiver: Receiver, directory: Path) -> Server:
    """Of everything something."""
    lost = replace(named("reports", receiver, directory), identity=FileIdentity("/nonexistent/token"))
    server = await serve(
        named("user-profiles", receiver, directory),
        named("orders", receiver, directory, 200),
        replace(named("assets", receiver, directory), identity=NoIdentity(), audience=None),
        named("billing", 1, directory),
        lost,
    )
    server.context.stats.refused_upstream(
        "billing", 403, Diagnosis("no_invoker", "x may not invoke billing", INVOKE)
    )
    for target in ("/user-profiles/1", "/user-profiles/2", "/orders", "/billing", "/reports", "/nowhere"):
        await ask(server, get(target))
    await ask(server, get("/orders", "Origin: http://evil.example"))
    await ask(server, get("/" + "x" * 65536))
    server.reloaded(ConfigError((Problem("proxy.yaml", 12, "routes[1].upstream", "is no URL"),)))
    return server


async def ask(server: Server, request: bytes) -> None:
    app = await connect(server.addresses[0].port)
    app.send(request)
    await app.response()
    app.close()


# -- what it shows -----------------------------------------------------------------


async def test_routes_tokens_and_errors(tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    server = await world(serve, receiver, tmp_path)
    await look(tab, page_of(server))
    text = await tab.text("main")
    for said in (
        "user-profiles",
        "https://user-profiles-x7f3kq-uc.a.run.app",
        "caller@example.com",
        "Token valid for 49 min",
        "Token valid for only 3 min",
        "Public: no token is attached",
        "No valid token: requests are answered 503",
        "Fetch fails (file_missing)",
        f"2 {TIMES} 2xx",
        "127.0.0.1:1 refuses connections",
        "Write the ID token (a JWT)",
        "no route matches this host and path",
        'a page of origin "http://evil.example" may not use this proxy',
        f"refused 1 {TIMES} origin",
        f"header bytes hit 1 {TIMES}",
        "proxy.yaml:12: routes[1].upstream: is no URL",
    ):
        assert said in text, said
    rows = await tab.evaluate("[...document.querySelectorAll('#routes tr')].map((row) => row.innerText)")
    assert [row.split("\n")[0] for row in rows[:2]] == ["billing", "reports"]  # those that need someone
    assert "Not started: a route gets no token" in await tab.text("#state")
    assert "bad" in await tab.evaluate("document.querySelector('#state').className")
    assert "See that the receiver runs, and listens on that port: 127.0.0.1:1" in text
    await shoot(tab, "errors-1280-light")


async def test_the_metadata_server_s_face(tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(make_token())
    missing = FileIdentity(str(tmp_path / "missing"))
    face = MetadataSettings(TcpAddress("127.0.0.1", 0), missing, (AUDIENCE,))
    server = await serve(route_to(receiver, token), metadata=face)
    assert server.handed_out is not None
    with contextlib.suppress(TokenError):
        await server.handed_out.email()
    (address,) = server.admin
    await look(tab, f"http://{address}/")
    told = await tab.text("#proxy")
    assert f"http://{server.metadata[0]} as token file" in told
    assert "1 audience, no access tokens; answered 0, refused 0, failed 0" in told
    assert "file_missing" in told


async def test_a_listener_before_an_app_is_shown_as_what_it_is(tab: Tab) -> None:
    admin = {"admin": TcpAddress("127.0.0.1", 0)}
    async with inbound(listed=admin, paths="{/healthz: public}") as running:
        await running.ask(*bearer(GOOGLE.token(claims_of(time()))))
        await running.ask()
        await running.ask(target="/healthz")
        (address,) = running.server.admin
        await look(tab, f"http://{address}/")
        row = await tab.text("#routes")
        for said in (
            f"before an app, plain text\n127.0.0.1:{running.port} → http://127.0.0.1:{running.app.port}",
            f"Checks callers' tokens · audience {RECEIVED}",
            "/: 2 invokers · /healthz: public",
            "✓ google: 1 key\n✓ iap: 1 key",
            f"Let in 1, on public paths 1, refused 1: 1 {TIMES} no_token",
        ):
            assert said in row, said
        assert "no token is attached" not in row
        assert "Serving" in await tab.text("#state")
        assert str(running.port) in await tab.text("#facts")
        await shoot(tab, "receiving-1280-light")
        running.published.away = True
        for keys in running.server.key_sets():
            assert isinstance(keys, KeySet)
            keys.expire()
            await eventually(lambda keys=keys: keys.error is not None, "no failure")  # type: ignore[misc]
        await tab.until("document.querySelector('#routes').innerText.includes('not confirmed of late')")
        assert "Keys of google cannot be fetched (endpoint_unavailable)" in await tab.text("#routes")


async def test_an_issuer_without_keys_is_what_the_page_says_first(tab: Tab) -> None:
    away = settings_text(1, 1, issuers="[google]")
    server = Server(replace(settings_from_text(away, "proxy.yaml", {}), admin=TcpAddress("127.0.0.1", 0)), {})
    await server.start()
    try:
        (google,) = server.key_sets()
        assert isinstance(google, KeySet)
        await eventually(lambda: google.error is not None, "no failure")
        await look(tab, page_of(server))
        assert "An issuer's keys are missing" in await tab.text("#state")
        row = await tab.text("#routes")
        assert "✕ google: no keys yet, its tokens are answered 503" in row
        assert "Keys of google cannot be fetched (endpoint_unreachable)" in row
        assert "Remedy: " in row
    finally:
        await server.stop(0)


async def test_it_keeps_up(tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    server = await serve(named("users", receiver, tmp_path))
    await look(tab, page_of(server))
    await tab.until("document.querySelector('#state').textContent === '● Serving'")
    for _ in range(20):
        await ask(server, get("/users"))
    await tab.until("parseFloat(document.querySelector('#rate').textContent) > 0")
    await tab.until("/ms$/.test(document.querySelector('#p50').textContent)")
    await tab.until("document.querySelector('#routes .chart .first').getAttribute('d') !== ''")
    label = await tab.evaluate("document.querySelector('#routes svg').getAttribute('aria-label')")
    assert label.startswith("Requests per second on users, now ")
    await shoot(tab, "serving-1280-light")


async def test_before_any_token(tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    server = await serve(
        replace(named("slow", receiver, tmp_path), identity=CommandIdentity(("/bin/cat", str(fifo))))
    )
    try:
        await look(tab, page_of(server))
        assert "No token yet: it is being fetched" in await tab.text("main")
        assert "None since the proxy started." in await tab.text("main")
        assert "waiting for tokens" in await tab.text("#state")
    finally:
        with fifo.open("w") as writer:
            writer.write("none")


async def test_a_proxy_that_has_gone(tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    server = await serve(named("users", receiver, tmp_path))
    await look(tab, page_of(server))
    await server.stop(0)
    await tab.until("!document.querySelector('#notice').hidden")
    assert "The proxy does not answer" in await tab.text("#notice")
    assert await tab.text("#state") == "✕ Unreachable"
    assert "users" in await tab.text("main")
    tab.complaints.clear()  # the browser says that, too


async def test_many_routes_and_the_filter(tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    routes = [named(f"service-{number:03}", receiver, tmp_path) for number in range(150)]
    await look(tab, page_of(await serve(*routes)))
    rows = "document.querySelectorAll('#routes tr').length"
    assert await tab.evaluate(rows) == 100
    assert "first 100 of 150" in await tab.text("#route-count")
    find = "f = document.querySelector('#filter'); f.value = '%s'; f.dispatchEvent(new Event('input'))"
    await tab.evaluate(find % "service-14")
    assert await tab.evaluate(rows) == 10
    await tab.evaluate(find % "nothing of it")
    assert await tab.evaluate(rows) == 0
    assert "No route matches the filter." in await tab.text("main")
    await tab.evaluate(find % "SERVICE-149")
    assert await tab.evaluate(rows) == 1


async def test_what_was_said_to_the_proxy_becomes_no_markup(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path
) -> None:
    server = await serve(named("users", receiver, tmp_path))
    server.context.stats.trouble("users", ProxyError(HOSTILE, remedy=HOSTILE))
    server.reloaded(ConfigError((Problem("proxy.yaml", 1, HOSTILE, HOSTILE),)))
    await look(tab, page_of(server))
    assert (await tab.text("main")).count(HOSTILE) == 4
    assert await tab.evaluate("document.querySelectorAll('main img, main script').length") == 0


INVOKE = "gcloud run services add-iam-policy-binding shop --region=r --member=serviceAccount:a@b.c --role=roles/run.invoker"


async def test_what_google_refuses_has_its_command_to_copy(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path
) -> None:
    server = await serve(named("users", receiver, tmp_path), named("orders", receiver, tmp_path))
    stats = server.context.stats
    remedy = f"Grant it: {INVOKE}; and see: gcloud run services logs read 'a; b' --limit=50, which tells more"
    stats.refused_upstream("orders", 403, Diagnosis("no_invoker", "a@b.c may not invoke shop", remedy))
    await look(tab, page_of(server))
    text = await tab.text("#routes")
    assert (
        "Refused by Google (403, no_invoker), just now: a@b.c may not invoke shop. Remedy: Grant it: " in text
    )
    assert "403 refused by google" in await tab.text("#errors")
    first = await tab.evaluate("document.querySelector('#routes tr').innerText")
    assert first.startswith("orders")
    commands = "[...document.querySelectorAll('#routes code')].map((code) => code.textContent)"
    assert await tab.evaluate(commands) == [INVOKE, "gcloud run services logs read 'a; b' --limit=50"]
    await tab.evaluate(
        "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
    )
    await tab.evaluate("document.querySelector('#routes button.copy').click()")
    await tab.until("document.querySelector('#routes button.copy').textContent === 'Copied'")
    assert await tab.evaluate("window.copied") == INVOKE
    # A page that came by plain HTTP from elsewhere has no clipboard of that kind.
    await tab.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))")
    await tab.evaluate(
        "document.execCommand = () => { window.copied = getSelection().toString() || document.activeElement.value; return true; }"
    )
    await tab.evaluate("document.querySelectorAll('#routes button.copy')[1].click()")
    await tab.until("document.querySelectorAll('#routes button.copy')[1].textContent === 'Copied'")
    assert await tab.evaluate("window.copied") == "gcloud run services logs read 'a; b' --limit=50"
    await shoot(tab, "refused-1280-light")


async def test_once_it_goes_well_again_the_mark_is_a_note(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path
) -> None:
    server = await serve(named("users", receiver, tmp_path))
    server.context.stats.refused_upstream("users", 403, Diagnosis("no_invoker", "may not", INVOKE))
    await ask(server, get("/users"))
    await look(tab, page_of(server))
    assert "Requests have gone well since." in await tab.text("#routes")
    assert "warn" in await tab.evaluate("document.querySelectorAll('#routes .trouble')[1].className")


async def test_it_has_a_past_when_it_is_opened_after_the_incident(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the proxy has kept of six minutes, as its clock would have had it."""
    now = time() - 31 * EVERY
    made: list[History] = []

    def of_then(context: Callable[[], ServerContext]) -> History:
        made.append(History(context, wall=lambda: now))
        return made[-1]

    monkeypatch.setattr("idtoken_proxy.admin.app.History", of_then)
    server = await serve(named("users", receiver, tmp_path))
    (kept,) = made
    await eventually(lambda: bool(kept.report()["points"]), "it does not look as it starts")
    counts = server.context.stats.route("users")
    for step in range(30):
        now = time() - (30 - step) * EVERY
        counts.classes[2] += 60 if step == 9 else 0
        counts.buckets[5] += 60 if step == 9 else 0
        kept.look()
    await look(tab, page_of(server))
    await tab.until("document.querySelector('#rate-chart .first').getAttribute('d') !== ''")
    points = "everything.series('rate').map((rate) => Math.round(rate || 0))"
    assert (await tab.evaluate(points))[1:30] == [0] * 8 + [10] + [0] * 20
    of_route = "histories.get('users').series('rate').map((rate) => Math.round(rate || 0))"
    assert max(await tab.evaluate(of_route)) == 10
    assert await tab.text("#rate") == "0"


# -- who can read it ---------------------------------------------------------------

# Of every text, the ratio of contrast to what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
  const parts = (color) => { const c = color.match(/[\\d.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c; };
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (node) => { for (; node; node = node.parentElement) { const c = parts(getComputedStyle(node).backgroundColor); if (c[3]) return c.slice(0, 3); } return [255, 255, 255]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), poor = [];
  for (let text; (text = walker.nextNode());) {
    const node = text.parentElement, box = node.getBoundingClientRect();
    if (!text.data.trim() || !box.width || node.closest('script, style, .hidden')) continue;
    const a = light(parts(getComputedStyle(node).color).slice(0, 3)), b = light(behind(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(ratio.toFixed(2) + ' ' + text.data.trim().slice(0, 40));
  }
  return poor;
})()"""
# What is wider than the window.
WIDE = """[...document.querySelectorAll('body *')].filter((node) => !node.closest('svg, .hidden') &&
  node.getBoundingClientRect().right > innerWidth + 0.5).map((node) => node.tagName + '.' + node.className)"""
NAMELESS = """[...document.querySelectorAll('svg[role=img], [role=meter]:not([hidden]), input')].filter((node) =>
  !node.getAttribute('aria-label') && !(node.labels && node.labels.length)).length"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 768, 1280])
async def test_it_fits_and_can_be_read(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path, width: int, *, dark: bool
) -> None:
    server = await world(serve, receiver, tmp_path)
    await look(tab, page_of(server), width=width, dark=dark)
    assert await tab.evaluate("document.documentElement.scrollWidth") <= width
    assert await tab.evaluate(WIDE) == []
    assert await tab.evaluate(CONTRAST) == []
    assert await tab.evaluate(NAMELESS) == 0
    background = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(16, 20, 26)") is dark
    await shoot(tab, f"errors-{width}-{'dark' if dark else 'light'}")


@pytest.mark.parametrize("width", [390, 1280])
async def test_charts_side_by_side_stand_on_one_line(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path, width: int
) -> None:
    """However many lines the text above them takes."""
    await look(tab, page_of(await serve(named("users", receiver, tmp_path))), width=width)
    feet = await tab.evaluate(
        "[...document.querySelectorAll('.tile svg')].map(chart => Math.round(chart.getBoundingClientRect().bottom))"
    )
    across = 4 if width > 820 else 2
    rows = [feet[start : start + across] for start in range(0, 4, across)]
    assert len(feet) == 4
    assert [len(set(row)) for row in rows] == [1] * len(rows)


async def test_a_meter_says_what_its_bar_shows(
    tab: Tab, serve: Serve, receiver: Receiver, tmp_path: Path
) -> None:
    await look(tab, page_of(await serve(named("users", receiver, tmp_path, 1800))))
    await tab.until("!!document.querySelector('[role=meter]').getAttribute('aria-valuenow')")
    meter = await tab.evaluate(
        "(m => [m.getAttribute('aria-valuenow'), m.getAttribute('aria-valuetext'), m.getAttribute('aria-label'),"
        " m.firstElementChild.style.width])(document.querySelector('[role=meter]'))"
    )
    assert meter in (
        ["50", "30 min", "Remaining life of the token of users", "50%"],
        ["50", "29 min", "Remaining life of the token of users", "50%"],
    )
