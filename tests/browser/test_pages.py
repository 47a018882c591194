"""A page of another origin, or under a rebound name, gets nothing to the receiver; a page on the proxy itself works."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import GuardSettings, MetadataSettings, Scopes, TcpAddress
from tests.browser.chromium import BROWSER, MISSING
from tests.browser.devtools import new_tab
from tests.browser.site import Rebound, Site
from tests.engine.proxied import AUDIENCE, Proxied, make_token, route_to, settings_for
from tests.engine.wire import Receiver

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(BROWSER is None, reason=MISSING)]

# What a page sees of each way that leads to a server that answers.
WORKS = {
    **dict.fromkeys(
        ("fetch", "no-cors", "post", "credentials", "preflight", "json", "xhr", "websocket", "events"),
        "hello",
    ),
    **dict.fromkeys(("form", "form by GET", "image", "script", "style", "frame"), "loaded"),
    "beacon": "sent",
}


@asynccontextmanager
async def opened(browser: str, url: str) -> AsyncIterator[None]:
    """The page is there for as long as the block, and looked at by what it tells its own server alone."""
    async with new_tab(browser) as tab:
        await tab.call("Page.navigate", url=url)
        yield


@asynccontextmanager
async def proxied(
    receiver: Receiver, directory: Path, guard: GuardSettings | None = None
) -> AsyncIterator[tuple[Proxied, list[Exchange]]]:
    """And every exchange that the proxy had."""
    (directory / "token").write_text(make_token())
    settings = settings_for(route_to(receiver, directory / "token"), guard=guard or GuardSettings())
    server = Server(settings, {})
    await server.start()
    await server.slots["receiver"].get()
    exchanges: list[Exchange] = []
    server.context.access_log = exchanges.append
    started = Proxied(server, "")
    try:
        yield started, exchanges
    finally:
        await started.end()


async def test_a_page_on_the_proxy_works(chromium: str, tmp_path: Path) -> None:
    site = Site()
    async with Receiver(site.script) as receiver, proxied(receiver, tmp_path) as (proxy, _):
        async with opened(chromium, f"http://localhost:{proxy.port}/page"):
            assert await site.report() == WORKS
        assert {request.method for request in receiver.requests} == {"GET", "POST", "PUT", "DELETE"}
        assert all(request.one("authorization") for request in receiver.requests)


async def test_a_page_elsewhere_would_reach_a_server_without_a_guard(chromium: str) -> None:
    """So that the tests below say something: these are requests that browsers do send."""
    victim = Site()
    async with Receiver(victim.script) as receiver:
        attacker = Site(f"http://localhost:{receiver.port}")
        async with (
            Receiver(attacker.script) as elsewhere,
            opened(chromium, f"http://evil.example:{elsewhere.port}/page"),
        ):
            await attacker.report()
        reached = {request.target.partition("?")[0] for request in receiver.requests}
    blind = {
        "/fetch",
        "/no-cors",
        "/post",
        "/credentials",
        "/preflight",
        "/json",
        "/xhr",
        "/beacon",
        "/websocket",
        "/events",
    }
    assert reached >= blind | {"/form", "/form-get", "/image", "/script", "/style", "/frame"}


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1"])
async def test_a_page_elsewhere_reaches_nothing(chromium: str, tmp_path: Path, host: str) -> None:
    async with Receiver(Site().script) as receiver, proxied(receiver, tmp_path) as (proxy, exchanges):
        attacker = Site(f"http://localhost:{proxy.port}")
        async with (
            Receiver(attacker.script) as elsewhere,
            opened(chromium, f"http://{host}:{elsewhere.port}/page"),
        ):
            told = await attacker.report()
        refused(receiver, exchanges)
        # `loaded` is a frame that shows the proxy's refusal; `opaque` and `sent` say that a request was made, and no more.
        assert set(told.values()) <= {"error", "opaque", "sent", "loaded", "silence"}, told
        assert {
            told[way]
            for way in ("fetch", "preflight", "json", "xhr", "websocket", "events", "image", "script")
        } == {"error"}


# Names that browsers do not trust: there they say nothing of whose page it is, and of plain GETs not even Origin.
NAMED = "proxy.example"


@pytest.mark.parametrize("referrer", ["", '<meta name="referrer" content="no-referrer">'])
@pytest.mark.parametrize("unverified", ["refuse", "allow"])
async def test_under_a_name_that_browsers_do_not_trust_neither(
    chromium: str, tmp_path: Path, referrer: str, unverified: str
) -> None:
    """Where the operator has let in what cannot be told, a page that hides its address gets blind requests through."""
    guard = GuardSettings(
        allowed_hosts=(NAMED,), unverified_pages="allow" if unverified == "allow" else "refuse"
    )
    async with Receiver(Site().script) as receiver, proxied(receiver, tmp_path, guard) as (proxy, exchanges):
        attacker = Site(f"http://{NAMED}:{proxy.port}")
        attacker.page = attacker.page.replace(b"<title>", referrer.encode() + b"<title>")
        async with (
            Receiver(attacker.script) as elsewhere,
            opened(chromium, f"http://evil.example:{elsewhere.port}/page"),
        ):
            told = await attacker.report()
        if unverified == "allow" and referrer:
            reached = {request.target for request in receiver.requests}
            assert reached <= {"/no-cors", "/image", "/script", "/style", "/frame", "/form-get?a=b"}, reached
            assert "/image" in reached
            return
        refused(receiver, exchanges)
        assert {told[way] for way in ("fetch", "json", "xhr", "websocket", "events", "image", "script")} == {
            "error"
        }


async def test_a_page_under_such_a_name_works_where_that_is_said(chromium: str, tmp_path: Path) -> None:
    guard = GuardSettings(allowed_hosts=(NAMED,), unverified_pages="allow")
    site = Site()
    async with (
        Receiver(site.script) as receiver,
        proxied(receiver, tmp_path, guard) as (proxy, _),
        opened(chromium, f"http://{NAMED}:{proxy.port}/page"),
    ):
        assert await site.report() == WORKS


async def test_a_rebound_name_reaches_nothing(chromium: str, tmp_path: Path) -> None:
    async with Receiver(Site().script) as receiver, proxied(receiver, tmp_path) as (proxy, exchanges):
        attacker = Rebound(proxy.port)
        async with (
            Receiver(attacker.script) as elsewhere,
            opened(chromium, f"http://rebound.example:{elsewhere.port}/page"),
        ):
            told = await attacker.report()
        refused(receiver, exchanges)
        # The page is at home, as far as its browser can tell, and may read the refusals; there is nothing else to read.
        assert "hello" not in told.values(), told


ASK_FOR_TOKENS = """
Promise.all([{}, {headers: {"Metadata-Flavor": "Google"}}, {mode: "no-cors"}, {method: "POST", body: "x"}].flatMap(
  (how) => ["token", "identity?audience=https://receiver.example", "?recursive=true"].map((what) =>
    fetch("http://NAME/computeMetadata/v1/instance/service-accounts/default/" + what, how)
      .then(async (answer) => answer.type + " " + answer.status + " " + (await answer.text())).catch(() => "error"))))
"""


async def test_no_page_is_handed_a_token(chromium: str, tmp_path: Path) -> None:
    """Whatever it says, elsewhere, under a rebound name, and even as a page of the metadata server's face itself."""
    (tmp_path / "token").write_text(make_token())
    identity = FileIdentity(str(tmp_path / "token"))
    face = MetadataSettings(TcpAddress("127.0.0.1", 0), identity, (AUDIENCE,), scopes=Scopes())
    async with Receiver(Site().script) as receiver:
        server = Server(settings_for(route_to(receiver, tmp_path / "token"), metadata=face), {})
        await server.start()
        try:
            (address,) = server.metadata
            assert isinstance(address, TcpAddress)
            own, rebound = f"localhost:{address.port}", f"evil.example:{address.port}"
            async with new_tab(chromium) as tab:
                for page, asked in (
                    (f"evil.example:{receiver.port}", own),
                    (f"localhost:{receiver.port}", own),
                    (own, own),
                    (rebound, rebound),
                ):
                    await tab.open(f"http://{page}/")
                    told = await tab.evaluate(ASK_FOR_TOKENS.replace("NAME", asked))
                    assert len(told) == 12
                    for answer in told:
                        assert answer == "error" or answer.startswith(("opaque 0 ", "basic 403 ")), (
                            page,
                            answer,
                        )
                        assert "eyJ" not in answer
            by_outcome = server.metadata_counts.by_outcome()
            assert (by_outcome["answered"], by_outcome["failed"]) == (0, 0)
            assert by_outcome["refused"] > 24
        finally:
            await server.stop(0)


def refused(receiver: Receiver, exchanges: list[Exchange]) -> None:
    """By the guard, which is asked before there is a route; so no token was asked for."""
    assert not receiver.connections
    assert len(exchanges) >= 14
    assert {exchange.status for exchange in exchanges} == {403}
    assert all(exchange.entry is None for exchange in exchanges)
