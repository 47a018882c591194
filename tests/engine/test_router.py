"""Routes through real sockets: who gets a request, under which path, with whose token, or why nobody does."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from idtoken_proxy.engine import line_table
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.stats import RouteCounts
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity, MetadataIdentity, NoIdentity
from idtoken_proxy.settings.model import GuardSettings, Rewrite, Route, Scopes, TokenHeader, Upstream
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import Proxied, make_token, route_to, settings_for, unasked
from tests.engine.test_downstream import problem
from tests.engine.wire import Receiver, Wire, answering, get, ok

Routed = Callable[..., Awaitable[Proxied]]


@pytest.fixture
async def routed() -> AsyncIterator[Routed]:
    started: list[Proxied] = []

    async def begin(*routes: Route, **changes: Any) -> Proxied:
        server = Server(settings_for(*routes, **changes), {})
        await server.start()
        started.append(Proxied(server, ""))
        return started[-1]

    yield begin
    for proxied in started:
        await proxied.end()


def public(name: str, receiver: Receiver, **changes: object) -> Route:
    return route_to(receiver, None, **{"name": name, "identity": NoIdentity(), "audience": None, **changes})


async def told(wire: Wire) -> None:
    """Answers with the target that it was asked for."""
    while True:
        request = await wire.request()
        wire.send(ok(request.target.encode()))


def to_host(host: str, target: str = "/") -> bytes:
    return get(target).replace(b"Host: localhost", f"Host: {host}".encode())


async def test_the_longest_prefix_and_the_host_decide(receive: Receive, routed: Routed) -> None:
    names = ("root", "users", "admins", "hosted")
    receivers = {name: await receive(answering(ok(name.encode()))) for name in names}
    proxied = await routed(
        public("root", receivers["root"]),
        public("users", receivers["users"], path="/users"),
        public("admins", receivers["admins"], path="/users/admins"),
        public("hosted", receivers["hosted"], host="hosted.localhost", path="/users"),
    )
    for host, target, name in (
        ("localhost", "/", "root"),
        ("localhost", "/users", "users"),
        ("localhost:1234", "/users?x=/users/admins", "users"),
        ("127.0.0.1", "/users/7", "users"),
        ("localhost", "/users-old", "root"),
        ("localhost", "/Users", "root"),
        ("localhost", "/%75sers", "root"),
        ("localhost", "/users/admins/", "admins"),
        ("LOCALHOST", "/users/adminsx", "users"),
        ("hosted.localhost", "/users/admins", "hosted"),
        ("hosted.localhost", "/else", "root"),
        ("other.localhost", "/users/", "users"),
    ):
        assert (await proxied.ask(to_host(host, target))).body == name.encode(), (host, target)


async def test_no_route(receive: Receive, routed: Routed) -> None:
    receiver = await receive(answering(ok()))
    proxied = await routed(public("users", receiver, path="/users"))
    app = await proxied.connect()
    app.send(get("/elsewhere"))
    answer = await app.response()
    assert answer.status == 404
    assert "destination_not_found" in (answer.one("proxy-status") or "")
    assert "/users (users)" in str(problem(answer)["remedy"])
    app.send(get("/users"))
    assert (await app.response()).status == 200


async def test_a_thousand_routes_are_not_all_named(receive: Receive, routed: Routed) -> None:
    receiver = await receive(told)
    proxied = await routed(*(public(f"r{n}", receiver, path=f"/{n}") for n in range(1000)))
    assert "980 more" in str(problem(await proxied.ask(get("/")))["remedy"])
    assert (await proxied.ask(get("/999/x"))).body == b"/999/x"
    assert len(proxied.pools) == 1  # of one origin


@for_each(
    ("path", "base", "strip", "target", "expected"),
    [
        ("/", "", False, "/a?b", "/a?b"),
        ("/p", "", False, "/p/a", "/p/a"),
        ("/p", "", True, "/p/a?b=/p", "/a?b=/p"),
        ("/p", "", True, "/p", "/"),
        ("/p", "", True, "/p?x", "/?x"),
        ("/p", "/b/c", True, "/p/a", "/b/c/a"),
        ("/", "/b", False, "/a", "/b/a"),
        ("/p", "/b", False, "/p/a", "/b/p/a"),
        ("/", "", False, "/a/../b/%2e%2e/..;x/%00%5c", "/a/../b/%2e%2e/..;x/%00%5c"),
        ("/", "", False, "/a%0d%0aHost:%20evil", "/a%0d%0aHost:%20evil"),
        ("/", "", False, "//evil.example/a", "//evil.example/a"),
    ],
)
async def test_targets(
    receive: Receive,
    routed: Routed,
    path: str,
    base: str,
    *,
    strip: bool,
    target: str,
    expected: str,
) -> None:
    receiver = await receive(told)
    upstream = Upstream("http", "127.0.0.1", receiver.port, base)
    proxied = await routed(public("r", receiver, path=path, strip_prefix=strip, upstream=upstream))
    assert (await proxied.ask(get(target))).body == expected.encode()
    in_full = get(f"http://localhost{target}")
    assert (await proxied.ask(in_full)).body == expected.encode()


@for_each(
    "target",
    [
        "/p/../x",
        "/p/%2e%2e/x",
        "/p/%2E./x",
        "/p/..;x/y",
        "/p/a%2fb",
        "/p/a%5Cb",
        "/p/%00",
        "/p/a\\..\\x",
        "/p/.",
    ],
)
@for_each("websocket", [False, True])
async def test_no_way_out_of_a_prefix(
    receive: Receive, routed: Routed, target: str, *, websocket: bool
) -> None:
    receiver = await receive(told)
    proxied = await routed(public("p", receiver, path="/p"))
    fields = ("Connection: Upgrade", "Upgrade: websocket") if websocket else ()
    answer = await proxied.ask(get(target, *fields))
    assert answer.status == 400
    problem(answer)
    assert not receiver.connections


SPELLINGS = [
    *(
        "/%61dmin/x",
        "/x/../admin",
        "/x/..;/admin",
        "//admin",
        "/admin;x",
        "/ADMIN",
        "/admin.",
        "/admin%20",
        "/admin%00",
    ),
    *(
        "/%u0061dmin",
        "/%c1%a1dmin",
        "/x/%c0%ae%c0%ae/admin",
        "/%2561dmin",
        "/%EF%BD%81dmin",
        "/v1/jobs%3Apurge",
        "/v1%2fjobs:purge",
    ),
]


@for_each("target", SPELLINGS)
async def test_what_a_route_forbids_no_other_spelling_of_its_path_gets_around(
    receive: Receive, routed: Routed, target: str
) -> None:
    """Two routes of one receiver, or of two names that may be one receiver's. Where both follow the same rules there is
    nothing to get around, and nothing is refused.
    """
    receiver, other = await receive(told), await receive(told)
    methods = frozenset({"GET"})
    readers = [
        public("admin", receiver, path="/admin", methods=methods),
        public("purge", receiver, path="/v1/jobs:purge", methods=methods),
    ]
    for number, catch_all in enumerate((public("all", receiver), public("all", other)), 1):
        proxied = await routed(catch_all, *readers)
        answer = await proxied.ask(get(target, method="DELETE"), to="DELETE")
        assert answer.status == 400
        assert "another route's" in str(problem(answer)["detail"])
        assert (await proxied.ask(get("/a/../b%2fc"))).body == b"/a/../b%2fc"
        assert len(receiver.connections) + len(other.connections) == number
    apart = await routed(public("all", other, methods=methods), *readers)
    assert (await apart.ask(get(target))).body == target.encode()


@for_each(
    ("line", "status"),
    [
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example", 403),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example", 400),
        (b"GET http://localhost@evil.example/ HTTP/1.1\r\nHost: localhost", 400),
        (b"GET https://localhost/ HTTP/1.1\r\nHost: localhost", 400),
        (b"GET localhost:80 HTTP/1.1\r\nHost: localhost", 400),
        (b"GET * HTTP/1.1\r\nHost: localhost", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 400),
        (b"GET / HTTP/1.1\r\nHost: ", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: a b", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost, evil.example", 400),
        (b"GET / HTTP/1.1\r\nHost: user@localhost", 400),
        *((f"GET / HTTP/1.1\r\nHost: {name}".encode(), 403) for name in (
            "evil.com", "evil.com:80", "localhost.evil.com", "127a0b0c1", "localhost.", "127.0.0.2", "[::2]", "0.0.0.0",
            "metadata.google.internal", "169.254.169.254", "-.localhost", "..localhost",
        )),
        (b"GET / HTTP/1.1\r\nHost: localhost:99999", 200),
        (b"GET / HTTP/1.1\r\nHost: [::1]:80", 200),
        (b"GET / HTTP/1.1\r\nHost: a.b.localhost:1", 200),
        (b"GET / HTTP/1.1\r\nHost: listed.example", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost", 200),
        (b"OPTIONS http://localhost HTTP/1.1\r\nHost: localhost", 200),
    ],
)  # fmt: skip
async def test_whom_the_proxy_answers_to(receive: Receive, start: Start, line: bytes, status: int) -> None:
    receiver = await receive(told)
    proxied = await start(
        receiver, guard=GuardSettings(allowed_hosts=("listed.example",), unverified_pages="allow")
    )
    answer = await proxied.ask(line + b"\r\n\r\n")
    assert answer.status == status
    if status != 200:
        problem(answer)
        assert not receiver.connections


async def test_a_proxy_in_front_that_is_listed_says_that_tls_ends_there(
    receive: Receive, start: Start
) -> None:
    """Redirects, the receiver's X-Forwarded-Proto and the Origin check follow; from an unlisted peer nothing does."""
    heads: list[list[bytes]] = []

    async def redirecting(wire: Wire) -> None:
        while True:
            request = await wire.request()
            heads.append([line for line in request.raw.split(b"\r\n") if b"Forwarded-Proto" in line])
            wire.send(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/in\r\nContent-Length: 0\r\n\r\n"
                % receiver.port
            )

    receiver = await receive(redirecting)
    asks = (
        b"GET / HTTP/1.1\r\nHost: proxy.test\r\nX-Forwarded-Proto: https\r\n"
        b"Origin: https://proxy.test\r\nSec-Fetch-Site: same-origin\r\n\r\n"
    )
    listed = await start(
        receiver,
        guard=GuardSettings(
            allowed_hosts=("proxy.test",), trusted_proxies=(ipaddress.IPv4Network("127.0.0.1"),)
        ),
    )
    answer = await listed.ask(asks)
    assert answer.status == 302
    assert b"\r\nLocation: https://proxy.test/in\r\n" in answer.raw
    assert heads == [[b"X-Forwarded-Proto: https"]]
    elsewhere = await start(
        receiver,
        guard=GuardSettings(
            allowed_hosts=("proxy.test",), trusted_proxies=(ipaddress.IPv4Network("127.0.0.2"), "unix")
        ),
    )
    assert (await elsewhere.ask(asks)).status == 403
    assert len(heads) == 1


@for_each(
    ("fields", "status"),
    [
        (("Origin: null",), 403),
        (("Origin: http://evil.example",), 403),
        (("Origin: http://localhost:1",), 403),
        (("Origin: https://localhost",), 403),
        (("Origin: chrome-extension://abcdef",), 403),
        (("Origin: http://localhost", "Origin: http://evil.example"), 400),
        (("Origin: http://localhost",), 200),
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        (("Sec-Fetch-Site: same-origin",), 200),
        (("Sec-Fetch-Site: none",), 200),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"), 200),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), 403),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), 403),
    ],
)
async def test_pages_of_other_sites(
    receive: Receive, start: Start, fields: tuple[str, ...], status: int
) -> None:
    receiver = await receive(told)
    proxied = await start(receiver)
    assert (await proxied.ask(get("/", *fields))).status == status
    assert len(receiver.requests) == (status == 200)


async def test_a_cross_site_navigation_by_post_is_refused(receive: Receive, start: Start) -> None:
    receiver = await receive(told)
    proxied = await start(receiver)
    fields = (
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
        "Content-Length: 0",
    )
    assert (await proxied.ask(get("/", *fields, method="POST"))).status == 403
    assert not receiver.connections


async def test_methods_of_a_route(receive: Receive, start: Start) -> None:
    receiver = await receive(told)
    proxied = await start(receiver, route={"methods": frozenset({"GET", "PATCH"})})
    app = await proxied.connect()
    app.send(get("/", method="DELETE"))
    answer = await app.response()
    assert (answer.status, answer.one("allow")) == (405, "GET, PATCH")
    problem(answer)
    app.send(get("/", method="get"))
    assert (await app.response()).status == 405  # methods are case-sensitive
    app.send(get("/", method="PATCH"))
    assert (await app.response()).status == 200


async def test_a_refused_request_costs_no_token(receive: Receive, tmp_path: Path, routed: Routed) -> None:
    """And starts no fetch: what is asked for at the start is all."""
    receiver = await receive(told)
    path = tmp_path / "token"
    proxied = await routed(route_to(receiver, path))
    await asyncio.sleep(0.05)
    for request in (
        to_host("evil.example"),
        get("/", "Origin: null"),
        get("/", method="TRACE"),
        b"x\r\n\r\n",
    ):
        assert (await proxied.ask(request)).status in (400, 403, 405)
    assert not receiver.connections


async def test_never_the_other_routes_token(receive: Receive, routed: Routed, tmp_path: Path) -> None:
    """Two receivers, two audiences, and whatever a path may look like (Traefik GO-2026-5532)."""
    tokens = {}
    routes = []
    receivers = {}
    for name in ("a", "b"):
        tokens[name] = make_token(f"https://{name}.example")
        await asyncio.to_thread((tmp_path / name).write_text, tokens[name])
        receivers[name] = await receive(answering(ok(name.encode())))
        routes.append(
            route_to(
                receivers[name],
                tmp_path / name,
                name=name,
                path=f"/{name}",
                audience=f"https://{name}.example",
                identity=FileIdentity(str(tmp_path / name)),
            )
        )
    proxied = await routed(*routes)
    app = await proxied.connect()
    parts = ("a", "b", "..", ".", "", "a%2fb", "%61", "A", "b;x", "a.b", "*")
    targets = ["/" + "/".join(segments) for segments in itertools.product(parts, repeat=3)]
    for target in targets:
        app.send(get(target))
        answer = await app.response()
        if answer.one("connection") == "close":
            app = await proxied.connect()
        if answer.status == 200:
            assert answer.body.decode() == target.split("/")[1]
        else:
            assert answer.status in (400, 404)
    for name, other in (("a", "b"), ("b", "a")):
        assert receivers[name].requests
        assert tokens[other].encode() not in receivers[name].received
        assert {request.one("authorization") for request in receivers[name].requests} == {
            f"Bearer {tokens[name]}"
        }


# -- a prefix that is not in the path any more ----------------------------------------


def prefixes(received: bytes) -> list[bytes]:
    return [
        line
        for line in received.split(b"\r\n")
        if line.lower().replace(b"_", b"-").startswith(b"x-forwarded-prefix")
    ]


@for_each(
    ("where", "line"),
    [
        ({"path": "/a/b", "strip_prefix": True}, b"X-Forwarded-Prefix: /a/b"),
        ({"path": "/a"}, None),
        ({"strip_prefix": True}, None),
        ({"host": "localhost", "strip_prefix": True}, None),
    ],
)
@for_each("websocket", [False, True])
async def test_the_receiver_is_told_the_prefix_that_it_does_not_see(
    receive: Receive,
    routed: Routed,
    where: dict[str, Any],
    line: bytes | None,
    websocket: bool,  # noqa: FBT001
) -> None:
    receiver = await receive(told)
    proxied = await routed(public("p", receiver, **where))
    theirs = ("X-Forwarded-Prefix: /evil", "X_Forwarded_Prefix: /evil", "x-forwarded_prefix: /evil")
    upgrade = (
        "Connection: Upgrade, X-Forwarded-Prefix",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    await proxied.ask(get("/a/b/c", *theirs, *(upgrade if websocket else ())))
    assert prefixes(receiver.received) == ([] if line is None else [line])


async def test_what_is_said_once_more_after_google_s_401_has_the_prefix_too(
    receive: Receive, routed: Routed, tmp_path: Path
) -> None:
    refusal = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="invalid_token" '
        b'error_description="The access token could not be verified"\r\nContent-Length: 0\r\n\r\n'
    )
    audience, kept = "https://a.example", tmp_path / "token"
    receiver = await receive(answering(ok(), refusal, ok()))
    first, second = make_token(audience, lifetime=3000), make_token(audience, lifetime=3500)
    await asyncio.to_thread(kept.write_text, first)
    identity = FileIdentity(str(kept))
    proxied = await routed(
        route_to(receiver, kept, path="/a", strip_prefix=True, audience=audience, identity=identity)
    )
    theirs = "X-Forwarded-Prefix: /evil"
    assert (await proxied.ask(get("/a/b", theirs))).status == 200
    await asyncio.to_thread(kept.write_text, second)
    assert (await proxied.ask(get("/a/b", theirs))).status == 200
    assert len(receiver.requests) == 3
    assert [request.target for request in receiver.requests] == ["/b"] * 3
    assert prefixes(receiver.received) == [b"X-Forwarded-Prefix: /a"] * 3


async def test_a_url_that_names_the_receiver_has_no_prefix(receive: Receive, routed: Routed) -> None:
    receiver = await receive(told)
    proxied = await routed(public("p", receiver, path="/a", strip_prefix=True))
    await proxied.ask(
        f"GET http://127.0.0.1:{receiver.port}/x HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\n\r\n".encode()
    )
    assert b"GET /x " in receiver.received
    assert prefixes(receiver.received) == []


# -- an Authorization that gives way ------------------------------------------------


def function_entry(header: TokenHeader = TokenHeader.AUTO) -> RouteEntry:
    upstream = Upstream("https", "us-central1-project.cloudfunctions.net", 443, "/hello")
    made = Route("function", upstream, str(upstream), MetadataIdentity(), token_header=header)
    pool = Pool(upstream, Sweeper(1.0), tls=None, keepalive=1, connect=1)
    return RouteEntry(made, None, pool, RouteCounts(), Rewrite(), shared=False)


async def test_that_the_apps_authorization_is_replaced_is_told_once_for_each_route() -> None:
    entry = function_entry()
    with structlog.testing.capture_logs() as logged:
        entry.warn_authorization_replaced()
        entry.warn_authorization_replaced()
    (told,) = logged
    assert told["route"] == "function"
    assert "token_header: X-Serverless-Authorization" in told["remedy"]


async def test_it_is_not_told_where_the_configuration_asked_for_it() -> None:
    with structlog.testing.capture_logs() as logged:
        function_entry(TokenHeader.AUTHORIZATION).warn_authorization_replaced()
    assert logged == []


# -- the callers' secret -------------------------------------------------------------


async def test_the_callers_secret_is_asked_for_and_not_kept(
    receive: Receive, routed: Routed, tmp_path: Path
) -> None:
    secret = "open-sesame-" * 4
    path = tmp_path / "secret"
    await asyncio.to_thread(path.write_text, secret)
    receiver = await receive(told)
    proxied = await routed(public("p", receiver), guard=GuardSettings(caller_token_file=str(path)))
    assert (await proxied.ask(get("/"))).status in (401, 403)
    assert not receiver.connections
    for _ in range(2):
        answer = await proxied.ask(get("/", f"{GuardSettings().caller_token_header}: {secret}"))
        assert answer.status == 200
    assert secret.encode() not in receiver.received
    assert all(secret.encode() not in line for line in line_table.REQUEST_LINES.known)


# -- a browser's question before the request -----------------------------------------------


async def test_a_preflight_is_answered_here_and_the_connection_goes_on(
    receive: Receive, routed: Routed
) -> None:
    receiver = await receive(told)
    origin = "https://app.example"
    proxied = await routed(public("p", receiver), guard=GuardSettings(allowed_origins=(origin,)))
    app = await proxied.connect()
    asks = ("Origin: " + origin, "Access-Control-Request-Method: PUT")
    for fields, connection in ((asks, None), ((*asks, "Connection: close"), "close")):
        app.send(get("/a", *fields, method="OPTIONS"))
        answer = await app.response()
        assert (answer.status, answer.one("connection")) == (204, connection)
        assert answer.one("access-control-allow-origin") == origin
    assert await app.to_end() == b""
    assert not receiver.connections


@for_each(
    ("host", "scopes", "foreign"),
    [
        ("storage.googleapis.com", Scopes(), False),
        ("127.0.0.1", Scopes(), False),
        ("mcp.example.com", Scopes(), True),
        ("mcp.example.com", None, False),
    ],
)
def test_of_a_stated_host_nobody_knows_who_refuses_an_access_token(
    host: str,
    scopes: Scopes | None,
    foreign: bool,  # noqa: FBT001
) -> None:
    """So a POST that it answers 401 is not sent to it again."""
    route = Route("a", Upstream("https", host, 443), None if scopes else "a", scopes=scopes)
    entry = RouteEntry(route, None, asyncio.run(unasked()), RouteCounts(), Rewrite(), shared=False)
    assert entry.foreign is foreign
