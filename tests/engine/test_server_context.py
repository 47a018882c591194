"""All connections from apps together: how many there may be, and that none is in another's way."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from idtoken_proxy.engine.downstream import LINGER
from idtoken_proxy.engine.server_context import MAX_REJECTED
from idtoken_proxy.settings.model import GuardSettings, Limits, UnixAddress
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import LOCAL, Proxied
from tests.engine.test_downstream import problem
from tests.engine.wire import (
    Receiver,
    Wire,
    answering,
    connect,
    eventually,
    get,
    ok,
    turns,
)


async def test_one_connection_too_many(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, limits=Limits(connections=3))
    apps = [await proxied.connect() for _ in range(3)]
    for app in apps:
        app.send(get("/"))
        assert (await app.response()).status == 200
    one_more = await proxied.connect()
    one_more.send(get("/"))
    answer = await one_more.response()
    assert answer.status == 503
    assert answer.one("connection") == "close"
    assert answer.one("retry-after") == "1"
    assert problem(answer)["remedy"]
    await one_more.to_end()
    assert len(receiver.requests) == 3

    apps[0].close()  # room again
    await apps[0].gone()
    await turns(20)
    assert (await proxied.ask(get("/"))).status == 200


async def test_the_refused_do_not_pile_up(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), limits=Limits(connections=1))
    await proxied.connect()
    await turns(20)
    refused = [await proxied.connect() for _ in range(50)]  # who send nothing, and do not close
    for wire in refused:
        assert (await wire.response()).status == 503
        await wire.to_end()
    assert proxied.server.context.busy == 1


async def test_connections_made_and_dropped_leave_nothing(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    for number in range(30):
        app = await connect(proxied.port)
        if number % 3:
            app.send(get("/")[:number])
            await turns()
        if number % 2:
            app.reset()
        else:
            app.close()
    await _no_connections(proxied)
    assert not receiver.requests


async def _no_connections(proxied: Proxied) -> None:
    for _ in range(1000):
        if not proxied.server.context.busy:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{proxied.server.context.busy} connections are left")


async def test_ten_thousand_requests_on_many_connections(receive: Receive, start: Start) -> None:
    """Not a benchmark: what one connection does must not leak into another."""
    receiver: Receiver

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            wire.forget()
            wire.send(ok(request.target.encode()))

    receiver = await receive(script)
    proxied = await start(receiver)

    async def client(name: int) -> None:
        app = await proxied.connect()
        for number in range(200):
            target = f"/{name}/{number}"
            app.send(get(target))
            assert (await app.response()).body == target.encode()
            app.forget()

    await asyncio.gather(*(client(name) for name in range(50)))
    assert len(receiver.connections) <= 50
    await proxied.settled()


async def test_a_flood_beyond_the_limit_costs_a_bounded_number_of_descriptors(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())), limits=Limits(connections=1))
    context = proxied.server.context
    await proxied.connect()
    await eventually(lambda: context.busy == 1, "no connection")
    flood = [await proxied.connect() for _ in range(2 * MAX_REJECTED)]  # who send nothing, and do not close
    for wire in flood:
        await wire.gone()
        assert len(context.rejected) <= MAX_REJECTED
    told = [wire for wire in flood if b"503" in wire.received]
    assert MAX_REJECTED <= len(told) < len(flood)
    assert all(wire.received == b"" for wire in flood if wire not in told)
    await proxied.elapse(LINGER)
    await eventually(lambda: not context.rejected, "they stay")


async def test_who_is_being_turned_away_does_not_keep_the_proxy_from_ending(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())), limits=Limits(connections=1))
    context = proxied.server.context
    await proxied.connect()
    await eventually(lambda: context.busy == 1, "no connection")
    await (await proxied.connect()).response()
    assert context.rejected
    await proxied.server.stop(drain=0)
    await eventually(lambda: not context.rejected, "it stays")


async def test_who_comes_while_the_proxy_drains_is_told_so(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    proxied.server.context.closed = True  # what was in the listener's queue as it closed
    answer = await proxied.ask(get("/"))
    assert (answer.status, answer.one("connection"), answer.one("retry-after")) == (503, "close", "1")
    assert "shutting down" in str(problem(answer)["detail"])
    assert not receiver.connections


async def test_a_user_who_is_not_listed_is_refused_and_one_who_was_is_dismissed(
    receive: Receive, start: Start
) -> None:
    with TemporaryDirectory() as made:
        door = UnixAddress(str(Path(made) / "proxy.sock"))
        here, elsewhere = (
            GuardSettings(allowed_uids=frozenset({uid})) for uid in (os.getuid(), os.getuid() + 1)
        )
        proxied = await start(await receive(answering(ok())), listen=(door, *LOCAL), guard=here)
        server = proxied.server

        async def dial() -> Wire:
            _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, door.path)
            proxied.clients.append(wire)
            return wire

        listed = await dial()
        listed.send(get("/"))
        assert (await listed.response()).status == 200
        await server.reload(replace(server.settings, guard=elsewhere))
        assert await listed.to_end() == b""
        answer = await (await dial()).response()
        assert (answer.status, f"user {os.getuid()}" in str(problem(answer)["detail"])) == (403, True)
        assert (await proxied.ask(get("/"))).status == 200  # a port does not tell who calls


async def test_who_is_still_listed_is_not_dismissed_nor_who_comes_by_a_port(
    receive: Receive, start: Start
) -> None:
    with TemporaryDirectory() as made:
        door = UnixAddress(str(Path(made) / "proxy.sock"))
        proxied = await start(await receive(answering(ok())), listen=(door, *LOCAL))
        server = proxied.server
        _, listed = await asyncio.get_running_loop().create_unix_connection(Wire, door.path)
        proxied.clients.append(listed)
        by_port = await proxied.connect()
        here = GuardSettings(allowed_uids=frozenset({os.getuid()}))
        for app in (listed, by_port):
            app.send(get("/"))
            assert (await app.response()).status == 200
        await server.reload(replace(server.settings, guard=here))
        for app in (listed, by_port):
            app.send(get("/"))
            assert (await app.response()).status == 200


async def test_without_an_access_log_nobody_is_told(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    proxied.server.context.access_log = None
    assert (await proxied.ask(get("/"))).status == 200
    assert (await proxied.ask(get("/", "Origin: null"))).status == 403
