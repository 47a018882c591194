"""The composition root: listeners, readiness, draining. Signals and the rest of a process: tests/end_to_end/."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog

import idtoken_proxy.composer
from idtoken_proxy import plain_file
from idtoken_proxy.admin.client import ask
from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.world import DEMO
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.generation import Generation, compose
from idtoken_proxy.identity.threads import MAX_ABANDONED
from idtoken_proxy.server import ListenFailed, Server
from idtoken_proxy.settings.identities import AutoIdentity, FileIdentity, MetadataIdentity, NoIdentity
from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import (
    GoogleEndpoints,
    GuardSettings,
    Route,
    Settings,
    TcpAddress,
    Timeouts,
    UnixAddress,
    Upstream,
)
from idtoken_proxy.turns import Pieces
from tests.engine.proxied import LOCAL, make_token, route_to, settings_for
from tests.engine.test_downstream import problem
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Receiver, Wire, answering, connect, eventually, get, ok, post
from tests.steps import longest_hold

Serve = Callable[..., Awaitable[Server]]
Dial = Callable[..., Awaitable[Wire]]
REFUSED = r"refused|Connect call failed"
PUBLIC: dict[str, Any] = {"identity": NoIdentity(), "audience": None}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    started: list[Server] = []

    async def begin(settings: Settings) -> Server:
        server = Server(settings, {})
        await server.start()
        started.append(server)
        return server

    yield begin
    for server in started:
        await server.stop(drain=0)


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    dialled: list[Wire] = []

    async def begin(port: int, host: str = "127.0.0.1") -> Wire:
        dialled.append(await connect(port, host))
        return dialled[-1]

    yield begin
    for wire in dialled:
        wire.transport.abort()


def port_of(server: Server) -> int:
    return server.addresses[0].port


async def test_what_is_doubtful_is_said_at_the_start_and_after_a_reload(serve: Serve) -> None:
    async with Receiver(answering(ok())) as receiver:
        settings = settings_for(route_to(receiver, None, **PUBLIC))
        doubtful = replace(settings, warnings=(Problem("proxy.yaml", 4, "routes[0].audience", "looks odd"),))
        with structlog.testing.capture_logs() as lines:
            server = await serve(doubtful)
            await server.reload(settings)
            await server.reload(doubtful)
        told = [line for line in lines if line["event"] == "doubtful setting"]
        assert [(line["key"], line["line"], line["detail"]) for line in told] == [
            ("routes[0].audience", 4, "looks odd")
        ] * 2


async def test_a_secret_that_others_may_read_is_said_at_the_start_and_after_a_reload(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "caller").write_text("x" * 32)
    (tmp_path / "caller").chmod(0o644)
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "listen: 127.0.0.1:0\nadmin: off\nguard: {caller_token_file: caller}\n"
        "routes: [{name: a, upstream: 'http://127.0.0.1:1', identity: none}]\n"
    )
    settings = load_settings(str(file), {})
    with structlog.testing.capture_logs() as lines:
        server = await serve(settings)
        await server.reload(settings)
        (tmp_path / "caller").chmod(0o600)
        await server.reload(settings)
    told = [(line["key"], line["line"]) for line in lines if line["event"] == "doubtful setting"]
    assert told == [("guard.caller_token_file", 3)] * 2


# -- listeners -------------------------------------------------------------------


async def test_localhost_is_both_families(serve: Serve, dial: Dial) -> None:
    async with Receiver(answering(ok())) as receiver:
        server = await serve(
            settings_for(route_to(receiver, None, **PUBLIC), listen=(TcpAddress("localhost", 0),))
        )
        hosts = {address.host for address in server.addresses}
        assert "127.0.0.1" in hosts
        if not socket.has_dualstack_ipv6():
            pytest.skip("no IPv6 here")
        assert hosts == {"127.0.0.1", "::1"}
        assert len({address.port for address in server.addresses}) == 1
        for address in server.addresses:
            app = await dial(address.port, address.host)
            app.send(get("/"))
            assert (await app.response()).status == 200
            app.close()
        forwarded = [request.one("x-forwarded-for") for request in receiver.requests]
        assert forwarded == [address.host for address in server.addresses]


async def test_several_listeners(serve: Serve, dial: Dial) -> None:
    listen = (TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0))
    async with Receiver(answering(ok())) as receiver:
        server = await serve(settings_for(route_to(receiver, None, **PUBLIC), listen=listen))
        for address in server.addresses:
            app = await dial(address.port)
            app.send(get("/"))
            assert (await app.response()).status == 200
            app.close()
        assert len({address.port for address in server.addresses}) == 2
        assert server.status()["listen"] == [f"http://{address}" for address in server.addresses]


async def test_a_taken_port_is_said_and_nothing_stays_open(serve: Serve, dial: Dial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        listen = (TcpAddress("127.0.0.1", port), TcpAddress("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(ListenFailed) as caught:
            await serve(settings_for(route_to(1, None, **PUBLIC), listen=listen))
        assert str(taken.getsockname()[1]) in caught.value.detail
        assert "in use" in caught.value.detail
        assert caught.value.remedy is not None
        with pytest.raises(OSError, match=REFUSED):
            await dial(port)


async def test_a_taken_admin_port_is_said_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_for(
            route_to(1, None, **PUBLIC), admin=TcpAddress("127.0.0.1", taken.getsockname()[1])
        )
        server = Server(settings, {})
        with structlog.testing.capture_logs() as said, pytest.raises(ListenFailed, match="admin"):
            await server.start()
        assert not server.addresses
        assert not told(said, "listening")  # it was tried before anything else


async def test_the_admin_listener_is_logged_and_one_for_others_is_warned_of(serve: Serve) -> None:
    public = route_to(1, None, **PUBLIC)
    with structlog.testing.capture_logs() as said:
        server = await serve(settings_for(public, admin=TcpAddress("127.0.0.1", 0)))
        (own,) = server.admin
        assert told(said, "admin listening") == [f"http://{own}"]
        assert not [line for line in said if line["log_level"] == "warning"]
        said.clear()
        await server.reload(settings_for(public, admin=TcpAddress("0.0.0.0", 0)))
        (remote,) = server.admin
        assert told(said, "admin listening") == [f"http://{remote}"]
        (warning,) = [line for line in said if line["log_level"] == "warning"]
        assert (warning["address"], "remedy" in warning) == (f"http://{remote}", True)
        said.clear()
        await server.reload(settings_for(public, admin=TcpAddress("0.0.0.0", 0)))
        assert not told(said, "admin listening")  # it is the same one


def told(lines: Iterable[Mapping[str, Any]], event: str) -> list[str]:
    return [line["address"] for line in lines if line["event"] == event]


# -- readiness -------------------------------------------------------------------


async def test_ready_with_the_first_token(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "token"
    server = await serve(settings_for(route_to(1, path)))
    await eventually(lambda: server.slots["receiver"].status().error is not None, "the first fetch")
    assert not server.ready
    told = next(server.route_statuses())["token"]
    assert (told["valid"], told["error"]["cause"]) == (False, "file_missing")
    token = make_token()
    await asyncio.to_thread(path.write_text, token)
    await eventually(lambda: server.ready, "never ready, with nobody asking")
    status = next(server.route_statuses())
    told = status["token"]
    assert (told["valid"], told["error"], told["email"]) == (True, None, "caller@example.com")
    assert token.rpartition(".")[2] not in json.dumps(status)
    assert token.split(".")[1] not in json.dumps(status)


async def test_a_public_route_needs_no_token(serve: Serve) -> None:
    server = await serve(settings_for(route_to(1, None, **PUBLIC)))
    assert server.ready
    assert "token" not in next(server.route_statuses())


async def test_routes_of_one_identity_and_audience_share_a_token(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "token"
    await asyncio.to_thread(path.write_text, make_token())
    server = await serve(settings_for(route_to(1, path, name="a"), route_to(2, path, name="b", path="/b")))
    assert server.slots["a"] is server.slots["b"]


async def test_pools_are_per_origin(serve: Serve) -> None:
    routes = [
        route_to(1, None, name="a", **PUBLIC),
        route_to(
            1, None, name="b", path="/b", **{**PUBLIC, "upstream": Upstream("http", "127.0.0.1", 1, "/base")}
        ),
        route_to(2, None, name="c", path="/c", **PUBLIC),
    ]
    server = await serve(settings_for(*routes))
    a, b, c = (entry.pool for entry in server.context.router.entries)
    assert a is b
    assert a is not c


async def test_a_receiver_that_is_down_does_not_show_in_readiness(serve: Serve, dial: Dial) -> None:
    server = await serve(settings_for(route_to(1, None, **PUBLIC)))
    app = await dial(port_of(server))
    app.send(get("/"))
    assert (await app.response()).status == 502
    assert server.ready
    app.close()


# -- draining --------------------------------------------------------------------


async def test_what_is_under_way_ends_and_nothing_new_begins(serve: Serve, dial: Dial) -> None:
    gate = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await gate.wait()
        wire.send(b"world")

    async with Receiver(script) as receiver:
        server = await serve(settings_for(route_to(receiver, None, **PUBLIC)))
        port = port_of(server)
        idle, busy, begun = [await dial(port) for _ in range(3)]
        busy.send(get("/"))
        await busy.until(b"hello")
        begun.send(get("/")[:10])
        stopping = asyncio.ensure_future(server.stop(drain=10))
        assert await idle.to_end() == b""
        await begun.gone()
        assert not server.ready
        with pytest.raises(OSError, match=REFUSED):
            await dial(port)
        assert not stopping.done()
        gate.set()
        assert await busy.to_end() == b"world"
        await stopping


async def test_a_request_that_waits_for_its_answer_is_told_that_the_connection_ends(
    serve: Serve, dial: Dial
) -> None:
    gate = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await gate.wait()
        wire.send(ok())

    async with Receiver(script) as receiver:
        server = await serve(settings_for(route_to(receiver, None, **PUBLIC)))
        app = await dial(port_of(server))
        app.send(get("/") + get("/2"))
        await eventually(lambda: bool(receiver.requests), "the request")
        stopping = asyncio.ensure_future(server.stop(drain=10))
        await asyncio.sleep(0.05)
        gate.set()
        answer = await app.response()
        assert (answer.body, answer.one("connection")) == (b"hello", "close")
        assert await app.to_end() == b""
        await stopping
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("request_", [get("/"), post(bytes(100))[:-1], HANDSHAKE])
async def test_what_does_not_end_is_ended(serve: Serve, dial: Dial, request_: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        if request_ == HANDSHAKE:
            wire.send(SWITCHING)

    async with Receiver(script) as receiver:
        server = await serve(settings_for(route_to(receiver, None, **PUBLIC)))
        app = await dial(port_of(server))
        app.send(request_)
        wire = await receiver.connection()
        await wire.wait(lambda: len(wire.received) > 30)
        if request_ == HANDSHAKE:
            await app.response()
        await server.stop(drain=0.2)
        await app.gone()
        await wire.gone()
        assert b"200 OK" not in app.received


async def test_stopping_does_not_wait_for_a_token_that_does_not_come(
    serve: Serve, dial: Dial, tmp_path: Path
) -> None:
    server = await serve(settings_for(route_to(1, tmp_path / "missing")))
    app = await dial(port_of(server))
    app.send(get("/"))
    problem(await app.response())
    async with asyncio.timeout(5):
        await server.stop(drain=1)


async def test_a_server_that_was_stopped_can_be_stopped_again(serve: Serve) -> None:
    server = await serve(settings_for(route_to(1, None, **PUBLIC)))
    await server.stop(drain=0)
    await server.stop(drain=0)


# -- mistakes ----------------------------------------------------------------------


async def test_an_unreadable_ca_file_is_a_mistake_in_the_settings(serve: Serve, tmp_path: Path) -> None:
    route = route_to(1, None, **{**PUBLIC, "upstream": Upstream("https", "127.0.0.1", 1)})
    with pytest.raises(ConfigError, match="ca_file"):
        await serve(settings_for(route, ca_file=str(tmp_path / "missing.pem")))


async def test_deadlines_of_a_route_are_its_own(serve: Serve, dial: Dial) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    async with Receiver(silent) as receiver:
        quick = route_to(
            receiver, None, name="quick", path="/quick", timeouts=Timeouts(response=0.3), **PUBLIC
        )
        slow = route_to(receiver, None, name="slow", **PUBLIC)
        server = await serve(settings_for(quick, slow))
        apps = [await dial(port_of(server)) for _ in range(2)]
        apps[0].send(get("/quick"))
        apps[1].send(get("/slow"))
        answer = await apps[0].response()
        assert (answer.status, problem(answer)["route"]) == (504, "quick")
        assert not apps[1].received
        for app in apps:
            app.close()


async def test_a_file_identity_names_its_source(serve: Serve, tmp_path: Path) -> None:
    server = await serve(settings_for(route_to(1, None, identity=FileIdentity(str(tmp_path / "t")))))
    assert str(tmp_path / "t") in next(server.route_statuses())["token"]["source"]


# -- reloads -----------------------------------------------------------------------


async def dialled(path: Path) -> Wire:
    _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, str(path))
    return wire


async def test_who_is_not_listed_any_more_has_the_last_answer_with_what_is_under_way(serve: Serve) -> None:
    gate = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await gate.wait()
        wire.send(ok())

    def only(uid: int) -> GuardSettings:
        return GuardSettings(allowed_uids=frozenset({uid}))

    with TemporaryDirectory() as made:
        path = Path(made) / "proxy.sock"
        async with Receiver(script) as receiver:
            settings = settings_for(
                route_to(receiver, None, **PUBLIC),
                listen=(UnixAddress(str(path)), *LOCAL),
                guard=only(os.getuid()),
            )
            server = await serve(settings)
            idle, busy = await dialled(path), await dialled(path)
            by_port = await connect(port_of(server))
            busy.send(get("/") + get("/2"))
            by_port.send(get("/"))
            await eventually(lambda: len(receiver.requests) == 2, "the requests")
            await server.reload(replace(settings, guard=only(os.getuid())))
            await asyncio.sleep(0.05)
            assert not idle.ended
            await server.reload(replace(settings, guard=only(os.getuid() + 1)))
            assert await idle.to_end() == b""
            assert not busy.ended
            gate.set()
            assert (await busy.response()).body == b"hello"
            assert await busy.to_end() == b""
            assert (await by_port.response()).body == b"hello"  # nobody knows whose it is
            assert len(receiver.requests) == 2
            refused = await dialled(path)
            assert (await refused.response()).status == 403
            assert not by_port.ended
            for wire in (by_port, refused, idle, busy):
                wire.transport.abort()


async def test_a_refused_reload_leaves_tokens_and_their_sources_as_they_were(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    await asyncio.to_thread(path.write_text, make_token())
    settings = settings_for(
        route_to(1, path),
        route_to(1, None, name="other", path="/other", identity=MetadataIdentity()),
        google=GoogleEndpoints(metadata_host="127.0.0.1:1"),
    )
    server = await serve(settings)
    sources = {name: slot.source for name, slot in server.slots.items()}
    kept = server.cache.slots
    bound = server.bound
    with socket.create_server(("127.0.0.1", 0)) as taken, TemporaryDirectory() as made:
        busy = TcpAddress("127.0.0.1", taken.getsockname()[1])
        door = UnixAddress(str(Path(made) / "proxy.sock"))
        other = replace(
            settings,
            routes=(*settings.routes, route_to(1, path, name="new", path="/new", audience="https://new")),
            google=GoogleEndpoints(metadata_host="127.0.0.1:2"),
            listen=(door, *LOCAL),
        )
        for refused in (replace(other, listen=(door, busy)), replace(other, admin=busy)):
            with pytest.raises(ListenFailed, match="in use"):
                await server.reload(refused)
            assert server.settings is settings
            assert {name: slot.source for name, slot in server.slots.items()} == sources
            assert server.cache.slots == kept
            assert server.bound == bound
            assert not Path(door.path).exists()
        await server.reload(other)
        assert server.slots["other"].source is not sources["other"]
        assert Path(door.path).exists()
        assert len(server.cache.slots) == len(kept) + 1
        await server.stop(drain=0)


async def test_the_admin_listener_stays_moves_and_goes_with_the_settings(serve: Serve) -> None:
    async def answers(address: UnixAddress) -> bool:
        try:
            return (await asyncio.to_thread(ask, address, "/liveness")) == (200, "ok\n")
        except FileNotFoundError:
            return False

    with TemporaryDirectory() as made:
        first, second = (UnixAddress(str(Path(made) / name)) for name in ("first.sock", "second.sock"))
        settings = settings_for(route_to(1, None, **PUBLIC), admin=first)
        server = await serve(settings)
        made_as = await asyncio.to_thread(Path(first.path).stat)
        await server.reload(replace(settings))
        assert (await asyncio.to_thread(Path(first.path).stat)).st_ino == made_as.st_ino
        assert await answers(first)
        await server.reload(replace(settings, admin=second))
        assert (await answers(first), await answers(second)) == (False, True)
        await server.reload(replace(settings, admin=None))
        assert not await answers(second)


@pytest.mark.parametrize("asks", [False, True])
async def test_an_address_for_all_is_warned_of_unless_callers_are_asked_for_a_secret(
    serve: Serve,
    tmp_path: Path,
    asks: bool,  # noqa: FBT001
) -> None:
    secret = tmp_path / "caller"
    await asyncio.to_thread(secret.write_text, "a-secret-of-24-characters")
    with structlog.testing.capture_logs() as logged:
        server = await serve(
            settings_for(
                route_to(1, None, **PUBLIC),
                listen=(TcpAddress("0.0.0.0", 0),),
                guard=GuardSettings(caller_token_file=str(secret) if asks else None),
            )
        )
    warned = [line["address"] for line in logged if line["log_level"] == "warning"]
    assert warned == ([] if asks else [f"http://{server.addresses[0]}"])


@pytest.mark.parametrize("refused", [False, True])
async def test_a_reload_that_is_cancelled_halfway_leaves_nothing_half_done(
    serve: Serve,
    refused: bool,  # noqa: FBT001
) -> None:
    settings = settings_for(route_to(1, None, **PUBLIC))
    server = await serve(settings)
    bound = server.bound
    with socket.create_server(("127.0.0.1", 0)) as taken, TemporaryDirectory() as made:
        door = UnixAddress(str(Path(made) / "proxy.sock"))
        last = TcpAddress("127.0.0.1", taken.getsockname()[1] if refused else 0)
        other = replace(settings, listen=(door, last))
        reload = asyncio.ensure_future(server.reload(other))
        async with asyncio.timeout(10):
            while not Path(door.path).exists():
                await asyncio.sleep(0)
        reload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reload
        if refused:
            assert (server.settings, server.bound) == (settings, bound)
        else:
            assert server.settings is other
            assert server.bound[0] == door
        await server.stop(drain=0)
        assert not Path(door.path).exists()


@pytest.fixture
async def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A file on a disk that hangs."""
    path, over = tmp_path / "hanging.json", threading.Event()
    path.write_text("{}")
    number, look = path.stat().st_ino, os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = look(descriptor)
        if found.st_ino == number:
            over.wait(60)
        return found

    monkeypatch.setattr(plain_file, "look", fstat)
    yield path
    over.set()


async def test_a_credential_file_that_hangs_holds_up_neither_a_start_nor_a_cancelled_reload(
    hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(route_to(1, None, identity=AutoIdentity()))
    server = Server(settings, {"GOOGLE_APPLICATION_CREDENTIALS": str(hanging)})
    monkeypatch.setattr(idtoken_proxy.composer, "_CREDENTIAL_FILES", 0.05)
    async with asyncio.timeout(10):
        await server.start()
        assert not server.ready
        monkeypatch.setattr(idtoken_proxy.composer, "_CREDENTIAL_FILES", 3600)
        kept = server.cache.slots
        reload = asyncio.ensure_future(
            server.reload(replace(settings, routes=(replace(settings.routes[0], audience="https://new"),)))
        )
        await asyncio.sleep(0.05)
        reload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reload
        assert server.settings is settings
        assert server.cache.slots == kept
        await server.stop(drain=0)


async def test_a_credential_file_that_hangs_costs_no_reload_however_many_there_are(
    hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(route_to(1, None, identity=AutoIdentity()))
    server = Server(settings, {"GOOGLE_APPLICATION_CREDENTIALS": str(hanging)})
    monkeypatch.setattr(idtoken_proxy.composer, "_CREDENTIAL_FILES", 0.05)
    async with asyncio.timeout(10):
        await server.start()
        for number in range(MAX_ABANDONED + 2):
            route = replace(settings.routes[0], audience=f"https://{number}")
            await server.reload(replace(settings, routes=(route,)))
            assert server.settings.routes == (route,)
        await server.stop(drain=0)


async def test_a_file_that_it_cannot_do_without_and_that_hangs_is_told_of(
    hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time, and with the data path at work meanwhile."""
    settings = settings_for(route_to(1, None, identity=NoIdentity(), audience=None))
    server = Server(settings, {})
    async with asyncio.timeout(10):
        await server.start()
        monkeypatch.setattr(idtoken_proxy.composer, "_CERTIFICATES", 0.05)
        guard = replace(settings.guard, caller_token_file=str(hanging))
        with pytest.raises(ConfigError, match="could not be read within"):
            await server.reload(replace(settings, guard=guard))
        assert server.settings is settings
        await server.stop(drain=0)
    refused = Server(replace(settings, guard=guard), {})
    with pytest.raises(ConfigError, match="caller_token_file could not be read"):
        await refused.start()


# -- what Google refuses -----------------------------------------------------------


async def test_what_googles_front_end_keeps_back_is_explained_once_and_counted(
    serve: Serve, dial: Dial
) -> None:
    async with Emulator(DEMO) as emulator:
        port = int(emulator.urls["user-profiles"].rpartition(":")[2])
        route = Route(
            "users", Upstream("http", "127.0.0.1", port), f"http://127.0.0.1:{port}", MetadataIdentity()
        )
        google = GoogleEndpoints(metadata_host=emulator.metadata_host)
        with structlog.testing.capture_logs() as lines:
            server = await serve(Settings((route,), LOCAL, admin=None, google=google))
            for target, status in (
                ("/healthz?secret=1", 404),
                ("/healthz", 404),
                ("/status/404", 404),
                ("/x", 200),
            ):
                app = await dial(port_of(server))
                app.send(get(target))
                assert (await app.response()).status == status
            app = await dial(port_of(server))
            app.send(
                b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554433\r\n\r\n" + b"x" * 1000
            )
            assert (await app.response()).status == 413
        refusals = server.context.stats.upstream_refusals
        await eventually(lambda: ("users", "request_too_large") in refusals, "the last of them")
    counts = {cause: told.count for (_, cause), told in refusals.items()}
    assert counts == {"reserved_path": 2, "request_too_large": 1}
    told = [line for line in lines if line["event"] == "refused by Google"]
    assert [(line["cause"], line["status"]) for line in told] == [
        ("reserved_path", 404),
        ("request_too_large", 413),
    ]
    assert "secret" not in str(told)


# -- many routes -----------------------------------------------------------------


def many(count: int) -> Settings:
    routes = (
        route_to(
            1,
            None,
            name=f"r{one}",
            path=f"/r{one}",
            upstream=Upstream("http", "127.0.0.1", 1 + one),
            **PUBLIC,
        )
        for one in range(count)
    )
    return settings_for(*routes)


async def test_a_reload_of_many_routes_does_not_hold_the_loop(serve: Serve) -> None:
    server = await serve(many(1))
    longest, all_of_it = await longest_hold(server.reload(many(2000)))
    assert len(server.settings.routes) == 2000
    assert 10 * longest < all_of_it


async def test_nor_does_a_start_with_them(serve: Serve) -> None:
    longest, all_of_it = await longest_hold(serve(many(800)))
    assert 10 * longest < all_of_it


async def test_what_a_reload_takes_away_goes_without_the_collector(serve: Serve) -> None:
    server = await serve(many(300))
    router = weakref.ref(server.context.router)
    gc.disable()
    try:
        await server.reload(many(300))
        assert router() is None
    finally:
        gc.enable()


async def test_at_every_turn_of_a_reload_one_generation_is_told_of(serve: Serve) -> None:
    server = await serve(many(500))
    reloading = asyncio.ensure_future(server.reload(many(1000)))
    turns = {500: 0, 1000: 0}
    while not reloading.done():
        told = [one["name"] for one in server.route_statuses()]
        assert list(server.context.stats.routes) == told
        assert len(server.context.stats.upstreams) == len(told) == len(server.settings.routes)
        turns[len(told)] += 1
        await asyncio.sleep(0)
    await reloading
    assert min(turns.values()) > 5  # made ready in pieces, and the one before given up in pieces


async def test_a_reload_that_is_cancelled_while_it_is_made_ready_leaves_no_trace(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    def watched(*settings: Any, **parts: Any) -> Pieces[Generation]:
        begun.set()
        return compose(*settings, **parts)

    server = await serve(many(1))
    monkeypatch.setattr("idtoken_proxy.composer.compose", watched)
    audience: dict[str, Any] = {"identity": MetadataIdentity(), "audience": "https://r.example"}
    settings = many(1000)
    settings = replace(settings, routes=tuple(replace(one, **audience) for one in settings.routes))
    reloading = asyncio.ensure_future(server.reload(settings))
    await begun.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(server.cache.slots) == 1  # it is well under way
    reloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reloading
    assert list(server.context.stats.routes) == ["r0"]
    assert len(server.cache.slots) == 0
    assert len(server.settings.routes) == 1


async def test_a_stop_that_comes_before_anything_is_open_is_not_lost() -> None:
    """A signal may come at any time since its handler is there."""
    server = Server(settings_for(route_to(1, None, **PUBLIC)), {})
    server.quit(signal="SIGTERM")
    assert server.lifecycle.ending.is_set()
    await server.start()
    assert not server.ready
    await server.stop()


async def test_all_who_have_connected_before_the_end_are_answered(serve: Serve) -> None:
    """The loop accepts one a turn: what it had not come to yet was reset when its listener closed."""
    async with Receiver(answering(ok(b"hello", "Connection: close"))) as receiver:
        server = await serve(settings_for(route_to(receiver, None, **PUBLIC)))
        waiting = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(40)]
        for one in waiting:
            one.sendall(get())
        await server.stop(drain=10)
        answers = [one.recv(100) for one in waiting]
    for one in waiting:
        one.close()
    assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}
