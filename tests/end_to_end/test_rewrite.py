"""A web app that knows nothing but its own address, opened through the proxy in each way in which one may be."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity, NoIdentity
from idtoken_proxy.settings.model import GuardSettings, Rewrite, Route, Settings, TcpAddress, Upstream
from tests.cases import for_each
from tests.end_to_end.conftest import PATIENCE, Serve
from tests.engine.wire import Receiver, answering, connect, get, parse_head

LISTED = "https://frontend.example"
GOOGLE = "https://accounts.google.com/o/oauth2/v2/auth?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback"


@dataclass
class App:
    """With a login, and as strict as frameworks are about who may post to it. `forwarded`: it goes by X-Forwarded-Host
    where there is one (Next.js, Rails), else by Host alone (Django, SvelteKit).
    """

    base: str = ""
    forwarded: bool = True
    port: int = 0
    asked: list[web.BaseRequest] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def upstream(self) -> Upstream:
        return Upstream("http", "127.0.0.1", self.port, self.base)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        assert request.host == f"127.0.0.1:{self.port}"
        assert request.path.startswith(f"{self.base}/"), request.path
        path = request.path.removeprefix(self.base)
        if path == "/login":
            return self._log_in(request) if request.method == "POST" else self._login_page()
        if path == "/google":
            return web.Response(status=302, headers={"Location": GOOGLE})
        if path == "/up":
            return web.Response(status=302, headers={"Location": "../login?relative"})
        if path == "/api":
            return web.json_response({"a": 1}, headers={"Access-Control-Allow-Origin": "*", "X-Total": "7"})
        if "session" not in request.cookies:
            return web.Response(status=302, headers={"Location": f"{self.origin}{self.base}/login?next=/"})
        return web.json_response(dict(request.cookies))

    def _login_page(self) -> web.Response:
        answer = web.Response(text="<form method=post>", content_type="text/html")
        answer.headers["Content-Location"] = f"{self.base}/login"
        answer.headers["Set-Cookie"] = f"csrf=7; Domain=127.0.0.1; Path={self.base}/; Secure; SameSite=Lax"
        return answer

    def _log_in(self, request: web.BaseRequest) -> web.Response:
        address = request.headers.get("X-Forwarded-Host", request.host) if self.forwarded else request.host
        if request.headers.get("Origin") != f"http://{address}":
            return web.Response(status=403, text="Origin")
        if not request.headers.get("Referer", "").startswith(f"{self.origin}{self.base}/login"):
            return web.Response(status=403, text="Referer")
        if request.cookies.get("csrf") != "7":
            return web.Response(status=403, text="cookie")
        answer = web.Response(status=303, headers={"Location": f"{self.base}/home"})
        answer.headers.add("Set-Cookie", "session=42; Path=/; HttpOnly; Secure; SameSite=None")
        answer.headers.add("Set-Cookie", "__Host-id=1; Path=/; Secure")
        answer.headers.add("Set-Cookie", f"only=here; Path={self.base}/login")
        answer.headers.add("Set-Cookie", "foreign=1; Domain=evil.example")
        return answer


RunApp = Callable[[App], Awaitable[App]]


@pytest.fixture
async def run_app() -> AsyncIterator[RunApp]:
    runners: list[web.ServerRunner] = []

    async def begin(app: App) -> App:
        runner = web.ServerRunner(web.Server(app))
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        app.port = runner.addresses[0][1]
        return app

    yield begin
    for runner in runners:
        await runner.cleanup()


class AsBrowsersDo(AbstractResolver):
    """Every name under .localhost is this machine (https://www.w3.org/TR/secure-contexts/#localhost)."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        assert host == "localhost" or host.endswith(".localhost")
        found = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None:
        pass


@dataclass
class Addressing:
    """`url` as a person types it, with {port}; `route` changes the route."""

    url: str
    route: dict[str, Any]
    base: str = ""


ADDRESSINGS = {
    "plain": Addressing("http://localhost:{port}", {}),
    "plain, to a base path": Addressing("http://localhost:{port}", {}, "/v1/app"),
    "stripped": Addressing("http://localhost:{port}/app", {"path": "/app", "strip_prefix": True}),
    "stripped, to a base path": Addressing(
        "http://localhost:{port}/app", {"path": "/app", "strip_prefix": True}, "/v1"
    ),
    "a name of its own": Addressing("http://app.localhost:{port}", {"host": "app.localhost"}),
    "127.0.0.1": Addressing("http://127.0.0.1:{port}", {}),
}


def settings_for(*routes: Route, **changes: Any) -> Settings:
    return Settings(routes, **{"listen": (TcpAddress("127.0.0.1", 0),), "admin": None, **changes})


def route_to(app: App, **changes: Any) -> Route:
    return Route(
        **{"name": "app", "upstream": app.upstream, "audience": None, "identity": NoIdentity(), **changes}
    )


def browser(url: str) -> aiohttp.ClientSession:
    """Keeps Secure cookies for a proxy on this machine, as browsers do."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=AsBrowsersDo()),
        cookie_jar=aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=URL(url).origin()),
        timeout=aiohttp.ClientTimeout(PATIENCE),
    )


def port_of(server: Server) -> int:
    return server.addresses[0].port


@pytest.fixture(params=list(ADDRESSINGS))
def addressing(request: pytest.FixtureRequest) -> Addressing:
    found: Addressing = ADDRESSINGS[request.param]
    return found


# -- web apps ----------------------------------------------------------------------------


async def test_a_login(addressing: Addressing, run_app: RunApp, serve: Serve) -> None:
    """A redirect to the login page, a form with a CSRF check, a redirect back, and a session."""
    app = await run_app(App(addressing.base))
    neighbour = await run_app(App())
    routes = [route_to(app, **addressing.route)]
    if addressing.route:
        routes.append(route_to(neighbour, name="neighbour"))
    port = port_of(await serve(settings_for(*routes)))
    url = addressing.url.format(port=port)
    page = {
        "Origin": str(URL(url).origin()),
        "Referer": f"{url}/login?next=/",
        "Sec-Fetch-Site": "same-origin",
    }
    async with browser(url) as session:
        async with session.get(f"{url}/") as answer:
            assert (answer.status, str(answer.url)) == (200, f"{url}/login?next=/")
            path = URL(url).path.rstrip("/")
            assert answer.headers["Content-Location"] == f"{path}/login"
        async with session.post(f"{url}/login", headers=page) as answer:
            assert (answer.status, str(answer.url)) == (200, f"{url}/home"), await answer.text()
            got = await answer.json()
            assert got.items() >= {"session": "42", "csrf": "7"}.items()
            assert "only" not in got
            assert "foreign" not in got
        # What a page of another site sends, or one that does not say who it is, is as foreign as without the proxy.
        async with session.post(f"{url}/login") as answer:
            assert (answer.status, await answer.text()) == (403, "Origin")
        async with session.get(f"{url}/google", allow_redirects=False) as answer:
            assert answer.headers["Location"] == GOOGLE
        async with session.get(f"{url}/up", allow_redirects=False) as answer:
            assert answer.headers["Location"] == "../login?relative"
        if addressing.route.get("strip_prefix"):
            # The app's cookies are none of another route's, but for the one that must have the whole host.
            async with session.get(f"http://localhost:{port}/elsewhere", allow_redirects=False) as answer:
                assert answer.status == 302
            assert set(neighbour.asked[-1].cookies) == {"__Host-id"}


@pytest.mark.parametrize(
    ("rewrite", "forwarded", "status", "missing"),
    [
        (Rewrite(), True, 303, ""),
        (Rewrite(), False, 303, ""),
        (Rewrite(cookies=False), True, 403, "cookie"),
        (Rewrite(origin=False), False, 403, "Origin"),
        (Rewrite(origin=False), True, 403, "Referer"),
    ],
)
async def test_what_each_rewriting_is_good_for(
    run_app: RunApp, serve: Serve, *, rewrite: Rewrite, forwarded: bool, status: int, missing: str
) -> None:
    app = await run_app(App(forwarded=forwarded))
    route = route_to(app, path="/app", strip_prefix=True)
    url = f"http://localhost:{port_of(await serve(settings_for(route, rewrite=rewrite)))}/app"
    page = {"Origin": str(URL(url).origin()), "Referer": f"{url}/login"}
    async with browser(url) as session:
        async with session.get(f"{url}/login") as answer:
            assert answer.status == 200
        async with session.post(f"{url}/login", headers=page, allow_redirects=False) as answer:
            assert (answer.status, await answer.text()) == (status, missing)


async def test_redirects_as_they_come(run_app: RunApp, serve: Serve) -> None:
    app = await run_app(App())
    route = route_to(app, path="/app", strip_prefix=True)
    url = f"http://localhost:{port_of(await serve(settings_for(route, rewrite=Rewrite(location=False))))}/app"
    async with browser(url) as session, session.get(f"{url}/", allow_redirects=False) as answer:
        assert answer.headers["Location"] == f"{app.origin}/login?next=/"


async def test_a_websockets_handshake_may_set_cookies(serve: Serve) -> None:
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Set-Cookie: a=b; Domain=127.0.0.1; Path=/\r\n\r\n"
    )
    async with Receiver(answering(switch)) as receiver:
        upstream = Upstream("http", "127.0.0.1", receiver.port)
        route = Route("it", upstream, None, NoIdentity(), path="/app", strip_prefix=True)
        app = await connect(port_of(await serve(settings_for(route))))
        origin = "http://localhost"
        app.send(get("/app/ws", "Connection: Upgrade", "Upgrade: websocket", f"Origin: {origin}"))
        answer = parse_head(await app.until(b"\r\n\r\n"))
        assert (answer.status, answer.one("set-cookie")) == (101, "a=b; Path=/app")
        assert receiver.requests[0].one("origin") == upstream.origin
        app.close()


# -- pages of other origins ----------------------------------------------------------------

PREFLIGHT = {
    "Origin": LISTED,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization,content-type",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
}


@pytest.fixture
async def guarded(run_app: RunApp, serve: Serve) -> AsyncIterator[tuple[App, str, aiohttp.ClientSession]]:
    """A public route, and one for which there is no token to be had."""
    app = await run_app(App())
    without = FileIdentity("/nonexistent/token")
    server = await serve(
        settings_for(
            route_to(app),
            route_to(app, name="no-token", path="/no-token", identity=without, audience="https://a.example"),
            route_to(app, name="read-only", path="/read", methods=frozenset({"GET", "HEAD"})),
            guard=GuardSettings(allowed_origins=(LISTED,)),
        )
    )
    url = f"http://localhost:{port_of(server)}"
    async with browser(url) as session:
        yield app, url, session


Guarded = tuple[App, str, aiohttp.ClientSession]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("/no-token/x", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("/read", "GET, HEAD"),
    ],
)
async def test_a_listed_pages_preflight_is_answered_here(guarded: Guarded, path: str, methods: str) -> None:
    app, url, session = guarded
    for _ in range(2):
        async with session.options(f"{url}{path}", headers=PREFLIGHT) as answer:
            assert answer.status == 204
            assert await answer.read() == b""
            told = dict(answer.headers)
            assert told.pop("Date")
            assert told == {
                "Proxy-Status": "idtoken-proxy",
                "Access-Control-Allow-Origin": LISTED,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Methods": methods,
                "Access-Control-Allow-Headers": "authorization, content-type",
                "Access-Control-Max-Age": "600",
                "Vary": "Origin",
            }
    async with session.options(
        f"{url}{path}", headers={**PREFLIGHT, "Access-Control-Request-Private-Network": "true"}
    ) as answer:
        assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
    assert not app.asked


async def test_with_a_body_it_is_the_connections_last(guarded: Guarded) -> None:
    app, url, session = guarded
    async with session.options(f"{url}/api", headers=PREFLIGHT, data=b"x" * 100_000) as answer:
        assert (answer.status, answer.headers["Connection"]) == (204, "close")
    assert not app.asked


@for_each(
    "origin",
    ["https://evil.example", "null", "http://localhost:3000", f"{LISTED}.evil.example", f"{LISTED}:444"],
)
@for_each("method", ["OPTIONS", "GET", "PUT"])
async def test_any_other_page_is_refused_and_told_nothing(guarded: Guarded, origin: str, method: str) -> None:
    app, url, session = guarded
    async with session.request(method, f"{url}/api", headers={**PREFLIGHT, "Origin": origin}) as answer:
        assert (answer.status, answer.content_type) == (403, "application/problem+json")
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert not app.asked


async def test_a_listed_page_may_read_answers(guarded: Guarded) -> None:
    app, url, session = guarded
    page = {"Origin": LISTED, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    async with session.get(f"{url}/api", headers=page) as answer:
        assert await answer.json() == {"a": 1}
        assert answer.headers.getall("Access-Control-Allow-Origin") == [LISTED]
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Vary"] == "Origin"
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert "X-Total" in exposed
    # Its own Origin goes on: whether it may do more than read is for the app to say.
    assert app.asked[0].headers["Origin"] == LISTED
    assert app.asked[0].headers["X-Forwarded-Host"] == URL(url).authority
    # What goes wrong is for it to read too.
    for path, status in (("/no-token", 503), ("/read", 405)):
        async with session.put(f"{url}{path}", headers=page) as answer:
            assert (answer.status, answer.content_type) == (status, "application/problem+json")
            assert answer.headers["Access-Control-Allow-Origin"] == LISTED
            assert "Proxy-Status" in answer.headers["Access-Control-Expose-Headers"]


async def test_any_others_answers_are_the_receivers(guarded: Guarded) -> None:
    app, url, session = guarded
    for headers in ({}, {"Origin": url, "Sec-Fetch-Site": "same-origin"}):
        async with session.get(f"{url}/api", headers=headers) as answer:
            assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert answer.headers["Vary"] == "Origin"  # or a cache would give it to a listed page
    # A preflight of the proxy's own pages is for the receiver to answer.
    async with session.options(f"{url}/api", headers={**PREFLIGHT, "Origin": url, "Sec-Fetch-Site": "same-origin"}) as answer:  # fmt: skip
        assert answer.status == 200
    assert app.asked[-1].method == "OPTIONS"
    assert app.asked[-1].headers["Access-Control-Request-Method"] == "PUT"
