"""What a reload takes away is gone: each key that grants something, for an open connection's next request and for tunnels."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.standing import Standing
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.policy.headers import Peer
from idtoken_proxy.server import Server
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import EgressProxy, Route, Settings, TcpAddress, UnixAddress, Upstream
from idtoken_proxy.settings.schema_dsl import Entry, Items, Kind, Section
from idtoken_proxy.turns import at_once
from tests.cases import for_each
from tests.engine.proxied import AUDIENCE, make_token, unasked
from tests.engine.test_tunnel import SWITCHING, UPGRADE
from tests.engine.wire import Receiver, Wire, connect, eventually, get, ok

SECRET = "0123456789abcdef"


@dataclass(frozen=True)
class Taken:
    """`before` lets `head` through, and `after` does not, to where it went and as whom. `by`: the place of the listener."""

    before: dict[str, Any]
    after: dict[str, Any]
    target: str = "/ws"
    lines: tuple[str, ...] = ()
    host: str = "localhost"
    by: int = 0
    plain: bool = True  # a file's token is the same for any audience
    written: str = SECRET  # guard.caller_token_file's content at the reload


def route(**said: Any) -> dict[str, Any]:
    return {"routes": [{"name": "it", "upstream": "http://127.0.0.1:{receiver}", **said}]}


def guard(**said: Any) -> dict[str, Any]:
    return {"guard": said}


FILE = {"type": "file", "path": "{directory}/token"}
FAR = "proxy.test"
LOCKED = {"guard": {"caller_token_file": "{directory}/secret"}}
WITH = (f"X-Idtoken-Proxy-Caller: {SECRET}",)

GRANTS: dict[str, list[Taken]] = {
    "routes": [
        Taken(
            {"routes": [*route()["routes"], {**route(match={"path": "/ws"})["routes"][0], "name": "more"}]},
            route(match={"path": "/other"}),
        )
    ],
    "routes.upstream": [Taken({}, route(upstream="http://127.0.0.1:{other}"))],
    "routes.match.path": [Taken({}, route(match={"path": "/w"}))],
    "routes.match.host": [Taken({}, route(match={"host": "other.localhost"}))],
    "routes.strip_prefix": [
        Taken(route(match={"path": "/p"}, strip_prefix=True), route(match={"path": "/p"}), "/p/ws")
    ],
    "routes.methods": [Taken({}, route(methods=["POST"]))],
    "routes.identity": [Taken(route(identity=FILE, audience=AUDIENCE), {})],
    "routes.audience": [
        Taken(
            route(identity=FILE, audience=AUDIENCE),
            route(identity=FILE, audience="https://other.example"),
            plain=False,
        )
    ],
    "routes.token": [
        Taken(route(identity=FILE, token="access"), route(identity=FILE, audience=AUDIENCE), plain=False)
    ],
    "routes.scopes": [
        Taken(
            route(identity=FILE, token="access"),
            route(identity=FILE, token="access", scopes=["email"]),
            plain=False,
        )
    ],
    "routes.quota_project": [
        Taken(
            route(identity=FILE, token="access"),
            route(identity=FILE, token="access", quota_project="other-project"),
            plain=False,
        )
    ],
    "identity": [Taken({"identity": FILE, **route(audience=AUDIENCE)}, {})],
    "listen": [
        Taken({"listen": ["127.0.0.1:0", "unix:{directory}/a"]}, {}, by=1),
        Taken({"listen": ["unix:{directory}/a"]}, {"listen": ["unix:{directory}/b"]}),
    ],
    "allow_remote": [Taken({"listen": ["127.0.0.1:0", "0.0.0.0:0"], "allow_remote": True}, {}, by=1)],
    "forward_proxy": [Taken({}, {"forward_proxy": False}, "http://127.0.0.1:{receiver}/ws")],
    "guard.allowed_hosts": [
        Taken(guard(allowed_hosts=["proxy.test"], unverified_pages="allow"), {}, host=FAR),
    ],
    "guard.allowed_origins": [
        Taken(guard(allowed_origins=["http://app.test"]), {}, lines=("Origin: http://app.test",))
    ],
    "guard.allowed_uids": [
        Taken(
            {"listen": ["unix:{directory}/a"], **guard(allowed_uids=[os.getuid()])},
            {"listen": ["unix:{directory}/a"], **guard(allowed_uids=[os.getuid() + 1])},
        )
    ],
    "guard.caller_token_file": [
        Taken({}, guard(caller_token_file="{directory}/secret")),
        Taken(LOCKED, LOCKED, lines=WITH, written=SECRET[::-1]),
    ],
    "guard.caller_token_header": [
        Taken(
            LOCKED,
            guard(caller_token_file="{directory}/secret", caller_token_header="X-Other"),
            lines=WITH,
        )
    ],
    "guard.trusted_proxies": [
        Taken(
            guard(allowed_hosts=["proxy.test"], trusted_proxies=["127.0.0.1"]),
            guard(allowed_hosts=["proxy.test"]),
            host=FAR,
            lines=("X-Forwarded-Proto: https", "Origin: https://proxy.test"),
        )
    ],
    "guard.unverified_pages": [
        Taken(
            guard(allowed_hosts=["proxy.test"], unverified_pages="allow"),
            guard(allowed_hosts=["proxy.test"]),
            host=FAR,
        )
    ],
}
# Tunnels alone are older than these; each has a test of its own below, or where it says.
WAYS = {
    "egress_proxy",
    "tls.ca_file",
    "admin",
    # The face asks for each request what it may hand out: metadata_server/test_app.py, "takes it over and away".
    *(f"metadata.{name}" for name in ("listen", "identity", "audiences", "access_tokens", "scopes")),
    *(f"metadata.{name}" for name in ("project_id", "allow_remote")),
}
# Names, bounds and waits, and how things are said: nobody may do less without them than what the others let him do.
NO_GRANTS = {
    "routes.name",
    "routes.token_header",
    "routes.protocol",
    *(f"routes.timeouts.{name}" for name in ("connect", "response", "idle", "keepalive")),
    *(
        f"timeouts.{name}"
        for name in ("connect", "response", "idle", "keepalive", "header", "drain", "lameduck")
    ),
    "wait_for_login",
    "reuse_port",  # another one is not taken over while the port is open
    "limits.header_bytes",
    "limits.connections",
    "limits.services",
    "rewrite.location",
    "rewrite.cookies",
    "rewrite.origin",
    *(
        f"google.{name}"
        for name in (
            "token_endpoint",
            "iam_endpoint",
            "sts_endpoint",
            "metadata_host",
            "universe_domain",
            "access_token_hosts",  # without it the settings are not taken over
        )
    ),
    "log.format",
    "log.level",
    "log.access",
    "tracing.enabled",
    "tracing.endpoint",
    "tracing.sample",
}


# Of listeners before apps, whose tunnels tests/receive/test_inbound_listeners.py has; whatever they say, each is held against it anew.
RECEIVED = {
    "receive",
    *(f"receive.{name}" for name in ("listen", "upstream", "audiences", "invokers", "paths", "issuers")),
    *(
        f"receive.{name}"
        for name in ("tls.cert_file", "tls.key_file", "allow_plaintext", "protocol", "keep_signature")
    ),
    *(f"receive.timeouts.{name}" for name in ("connect", "response", "idle", "keepalive")),
    "google.keys_endpoint",
}


def keys_of(entry: type[Entry], prefix: str = "") -> Iterator[str]:
    for name, said in entry.declared.items():
        kind: Kind[Any] = said.kind
        inner = kind.item if isinstance(kind, Items) else kind
        if isinstance(kind, Items) and isinstance(inner, Section):
            yield prefix + name
        if isinstance(inner, Section):
            yield from keys_of(inner.entry, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_of_each_key_it_is_known_whether_it_grants_anything() -> None:
    """A new one is to be put into one of the tables."""
    listed = [*GRANTS, *WAYS, *NO_GRANTS, *RECEIVED]
    assert sorted(keys_of(Document)) == sorted(listed)


class World:
    """A proxy whose settings change, and a receiver that echoes."""

    def __init__(self, directory: Path, receiver: Receiver, other: Receiver) -> None:
        self.directory, self.receiver, self.other = directory, receiver, other
        self.server: Server
        self.wires: list[Wire] = []

    def settings(self, changes: dict[str, Any]) -> Settings:
        said = {"listen": "127.0.0.1:0", "admin": False, "identity": "none", **route(), **changes}
        text = json.dumps(said)
        for name, value in (
            ("directory", str(self.directory)),
            ("receiver", str(self.receiver.port)),
            ("other", str(self.other.port)),
        ):
            text = text.replace("{" + name + "}", value)
        return settings_from_text(text, str(self.directory / "proxy.yaml"), {})

    async def dial(self, by: int) -> Wire:
        address = self.server.bound[by]
        if isinstance(address, UnixAddress):
            _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, address.path)
        else:
            assert isinstance(address, TcpAddress)
            wire = await connect(address.port)
        self.wires.append(wire)
        return wire

    def seen(self) -> list[tuple[str, str | None]]:
        return [(request.target, request.one("authorization")) for request in self.receiver.requests]


async def echoing(wire: Wire) -> None:
    while True:
        request = await wire.request()
        if request.one("upgrade") is None:
            wire.send(ok())
            continue
        wire.send(SWITCHING)
        while True:
            wire.send(await wire.exactly(1))


def head(case: Taken, world: World, *more: str) -> bytes:
    target = case.target.replace("{receiver}", str(world.receiver.port))
    named = target.partition("//")[2].partition("/")[0] or case.host
    return get(target, *case.lines, *more).replace(b"Host: localhost", b"Host: " + named.encode())


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory() as made:  # a short path, for sockets
        yield Path(made)


CASES = [pytest.param(case, id=f"{key}-{n}") for key, cases in GRANTS.items() for n, case in enumerate(cases)]


@for_each("kept", [False, True], ids=["taken", "kept"])
@for_each("case", CASES)
async def test_what_a_reload_takes_away_is_gone(directory: Path, case: Taken, *, kept: bool) -> None:
    """For the next request on an open connection, and for a tunnel at once. What it leaves goes on."""
    (directory / "token").write_text(make_token())
    (directory / "secret").write_text(SECRET)
    async with Receiver(echoing) as receiver, Receiver(echoing) as other:
        world = World(directory, receiver, other)
        settings = world.settings(case.before)
        world.server = server = Server(settings, {})
        await server.start()
        try:
            plain, tunnel = await world.dial(case.by), await world.dial(case.by)
            plain.send(head(case, world))
            assert (await plain.response()).status == 200
            plain.forget()
            tunnel.send(head(case, world, *UPGRADE))
            assert (await tunnel.response()).status == 101
            tunnel.forget()
            granted = world.seen()[0]
            assert world.seen() == [granted] * 2
            if kept:
                await server.reload(replace(settings, limits=replace(settings.limits, connections=99)))
                tunnel.send(b"a")
                assert await tunnel.exactly(1) == b"a"
                plain.send(head(case, world))
                assert (await plain.response()).status == 200
                assert world.seen() == [granted] * 3
                return
            (directory / "secret").write_text(case.written)
            await server.reload(world.settings(case.after))
            await tunnel.gone()
            await eventually(lambda: not server.context.tunnels, "the tunnel stays")
            plain.send(head(case, world))
            await eventually(lambda: plain.ended or b"HTTP/1.1" in plain.received, "no answer")
            assert (granted in world.seen()[2:]) is not case.plain
        finally:
            for wire in world.wires:
                wire.transport.abort()
            await server.stop(drain=0.05)


@pytest.mark.parametrize("gone", ["struck off", "no listener", "no route"])
async def test_a_tunnel_is_not_begun_after_what_let_its_handshake_in_is_gone(
    directory: Path, gone: str
) -> None:
    """The handshake is under way as the settings change; the receiver agrees to it later."""
    agreed = asyncio.Event()

    async def late(wire: Wire) -> None:
        await wire.request()
        await agreed.wait()
        wire.send(SWITCHING)
        await wire.exactly(1)

    door = {"listen": ["unix:{directory}/a"]}
    after: dict[str, Any] = {
        "struck off": {**door, **guard(allowed_uids=[os.getuid() + 1])},
        "no listener": {},
        "no route": {**door, **route(match={"path": "/other"})},
    }[gone]
    async with Receiver(late) as receiver:
        world = World(directory, receiver, receiver)
        world.server = server = Server(world.settings({**door, **guard(allowed_uids=[os.getuid()])}), {})
        await server.start()
        try:
            app = await world.dial(0)
            app.send(get("/ws", *UPGRADE))
            await eventually(lambda: len(receiver.requests) == 1, "no handshake")
            await server.reload(world.settings(after))
            assert not app.ended
            agreed.set()
            await app.gone()
            await eventually(lambda: not server.context.busy, "the tunnel stays")
        finally:
            app.transport.abort()
            await server.stop(drain=0.05)


async def test_connections_of_a_listener_that_is_gone_end_with_their_exchange(directory: Path) -> None:
    agreed = asyncio.Event()

    async def late(wire: Wire) -> None:
        await wire.request()
        await agreed.wait()
        wire.send(ok())

    async with Receiver(late) as receiver:
        world = World(directory, receiver, receiver)
        both = {"listen": ["127.0.0.1:0", "unix:{directory}/a"]}
        world.server = server = Server(world.settings(both), {})
        await server.start()
        try:
            stays, busy, idle = await world.dial(0), await world.dial(1), await world.dial(1)
            busy.send(get("/") + get("/2"))
            await eventually(lambda: len(receiver.requests) == 1, "no request")
            await server.reload(world.settings({}))
            assert await idle.to_end() == b""
            assert not busy.ended
            agreed.set()
            assert (await busy.response()).status == 200
            assert await busy.to_end() == b""
            assert len(receiver.requests) == 1
            stays.send(get("/"))
            assert (await stays.response()).status == 200
        finally:
            for wire in world.wires:
                wire.transport.abort()
            await server.stop(drain=0.05)


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user; CI is root")


@needs_root
async def test_without_a_list_the_own_user_alone_for_open_connections_too(directory: Path) -> None:
    directory.chmod(0o755)
    async with Receiver(echoing) as receiver:
        world = World(directory, receiver, receiver)
        door = {"listen": ["unix:{directory}/a"]}
        world.server = server = Server(
            world.settings({**door, **guard(allowed_uids=[os.getuid(), 1234])}), {}
        )
        await server.start()
        try:
            own = [await world.dial(0) for _ in range(2)]
            os.seteuid(1234)  # which the kernel looks at as they connect (unix(7), SO_PEERCRED)
            try:
                others = [await world.dial(0) for _ in range(2)]
            finally:
                os.seteuid(0)
            for plain, tunnel in (own, others):
                plain.send(get("/"))
                assert (await plain.response()).status == 200
                plain.forget()
                tunnel.send(get("/ws", *UPGRADE))
                assert (await tunnel.response()).status == 101
                tunnel.forget()
            await server.reload(world.settings(door))
            for wire in others:
                await wire.gone()
            own[0].send(get("/"))
            assert (await own[0].response()).status == 200
            own[1].send(b"a")
            assert await own[1].exactly(1) == b"a"
        finally:
            for wire in world.wires:
                wire.transport.abort()
            await server.stop(drain=0.05)


async def test_the_admin_listener_and_its_connections_go(directory: Path) -> None:
    async with Receiver(echoing) as receiver:
        world = World(directory, receiver, receiver)
        server = Server(world.settings({"admin": "unix:{directory}/admin"}), {})
        await server.start()
        try:
            _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, str(directory / "admin"))
            wire.send(get("/liveness"))
            assert (await wire.response()).status == 200
            wire.forget()
            await server.reload(world.settings({}))
            assert await wire.to_end() == b""
            wire.transport.abort()
        finally:
            await server.stop(drain=0.05)


SAFE = Settings((Route("it", Upstream("https", "receiver.example", 443), None, NoIdentity()),))


@pytest.mark.parametrize(
    ("after", "holds"),
    [
        (SAFE, True),
        (replace(SAFE, ca_file="/etc/ca.pem"), False),
        (
            replace(SAFE, routes=(replace(SAFE.routes[0], egress_proxy=EgressProxy("proxy.corp", 3128)),)),
            False,
        ),
        (replace(SAFE, routes=(replace(SAFE.routes[0], name="renamed"),)), True),
    ],
)
async def test_the_way_there_is_part_of_it(after: Settings, *, holds: bool) -> None:
    pool = await unasked()

    def no_pool(_: Route) -> Pool:
        return pool

    sweeper = Sweeper(60.0)
    before = at_once(Router.made(SAFE, {}, no_pool, None, Stats()))
    downstream = Downstream(ServerContext(before, sweeper, access_log=None, stats=Stats()), Door())
    downstream.peer = Peer.of("127.0.0.1", b"")
    block = get("/ws", *UPGRADE).removesuffix(b"\r\n\r\n")
    exchange = Exchange(downstream, before, len(block))
    exchange.open(parse_request(block))
    assert (
        Standing(downstream, block, exchange).holds(at_once(Router.made(after, {}, no_pool, None, Stats())))
        is holds
    )
    sweeper.close()
