"""The connections to an origin: which are used again, and receivers that cannot be reached."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohappyeyeballs
import pytest

from idtoken_proxy.engine.dialer import MAX_CONNECTING, Dialer
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import ConnectFailed
from idtoken_proxy.settings.model import EgressProxy, Timeouts, Upstream
from tests.engine.conftest import Receive, Start
from tests.engine.test_downstream import problem
from tests.engine.wire import Receiver, Wire, answering, eventually, get, ok, post, turns


async def test_connections_are_used_again_the_warmest_first(receive: Receive, start: Start) -> None:
    gate = asyncio.Event()

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await gate.wait()
            wire.send(ok())

    receiver = await receive(script)
    proxied = await start(receiver)
    apps = [await proxied.connect() for _ in range(5)]
    for app in apps:
        app.send(get("/"))
    await eventually(lambda: len(receiver.requests) == 5, "five requests at once")
    gate.set()
    for app in apps:
        await app.response()
    assert (proxied.pool.live, proxied.pool.idle, len(receiver.connections)) == (5, 5, 5)
    for _ in range(10):
        apps[0].send(get("/again"))
        await apps[0].response()
    assert len(receiver.connections) == 5
    again = [sum(r.target == "/again" for r in wire.requests) for wire in receiver.connections]
    assert sorted(again) == [0, 0, 0, 0, 10]


async def test_a_connection_without_work_ends_at_its_deadline(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, timeouts=Timeouts(keepalive=30))
    await proxied.ask(get("/"))
    await proxied.settled(idle=1)
    await proxied.elapse(29)
    assert proxied.pool.idle == 1
    await proxied.elapse(2)
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)


async def test_a_connection_that_was_idle_through_a_freeze_is_not_used_again(
    receive: Receive, start: Start
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, timeouts=Timeouts(keepalive=60))
    await proxied.ask(get("/"))
    await proxied.settled(idle=1)
    (connection,) = proxied.pool.connections
    connection.idle_since -= 50
    await proxied.ask(get("/"))
    await proxied.settled(idle=1)
    assert len(receiver.connections) == 1
    connection.idle_since -= 61  # by the clock that runs on while the sweeper's stands still
    assert (await proxied.ask(post(b"once"))).status == 200
    assert connection.lost
    assert [len(wire.requests) for wire in receiver.connections] == [2, 1]
    await proxied.settled(idle=1)


# -- receivers that are not there --------------------------------------------------


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Bound by nobody who listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_receiver_that_refuses(start: Start, unused_port: int) -> None:
    proxied = await start(unused_port)
    app = await proxied.connect()
    for request in (get("/"), post(b""), get("/")):
        app.send(request)
        answer = await app.response()
        assert answer.status == 502
        assert "connection_refused" in (answer.one("proxy-status") or "")
        assert problem(answer)["route"] == "receiver"
    assert proxied.pool.live == 0


async def test_a_receiver_whose_name_is_unknown(start: Start) -> None:
    proxied = await start(1, route={"upstream": Upstream("http", "receiver.invalid", 80)})
    answer = await proxied.ask(get("/"))
    assert answer.status == 502
    assert "dns_error" in (answer.one("proxy-status") or "")
    assert "receiver.invalid" in str(problem(answer)["detail"])


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A listener whose backlog is full: the kernel answers no SYN any more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
                waiting.append(client)
            yield listener.getsockname()[1]
        finally:
            for client in waiting:
                client.close()


async def test_a_receiver_that_does_not_accept(start: Start, blackhole: int) -> None:
    proxied = await start(blackhole, timeouts=Timeouts(connect=0.1))
    app = await proxied.connect()
    app.send(post(b"hello"))
    answer = await app.response()
    assert answer.status == 504
    assert "connection_timeout" in (answer.one("proxy-status") or "")
    problem(answer)
    assert proxied.pool.live == 0


async def test_an_app_that_goes_while_its_receiver_is_being_reached(start: Start, blackhole: int) -> None:
    proxied = await start(blackhole, timeouts=Timeouts(connect=60))
    app = await proxied.connect()
    app.send(get("/"))
    await asyncio.sleep(0.1)
    app.close()
    await eventually(lambda: proxied.server.context.busy == 0, "the connection is still there")
    assert proxied.pool.live == 0


async def test_apps_that_go_at_every_moment_leave_no_connection_without_an_owner(
    receive: Receive, start: Start
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    for number in range(120):
        app = await proxied.connect()
        app.send(get("/"))
        await turns(number % 12)
        app.reset()
    await eventually(lambda: proxied.server.context.busy == 0, "connections are left")
    await proxied.settled()
    await eventually(
        lambda: sum(not wire.ended for wire in receiver.connections) == proxied.pool.idle,
        "the receiver has connections that no pool knows",
    )


async def test_all_addresses_of_a_name_are_tried(receive: Receive, start: Start) -> None:
    """`localhost` is ::1 first, where there is one, and nobody listens there."""
    receiver: Receiver = await receive(answering(ok()))
    proxied = await start(receiver, route={"upstream": Upstream("http", "localhost", receiver.port)})
    assert (await proxied.ask(get("/"))).status == 200
    assert receiver.requests[0].one("host") == f"localhost:{receiver.port}"


def syns_to(port: int) -> int:
    """Connections that this machine has begun towards the port and that nobody has accepted (SYN_SENT is 02)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


async def test_only_so_many_connections_come_about_at_one_time_and_all_are_answered_in_time(
    start: Start, blackhole: int
) -> None:
    """The rest wait for their turn, which does not come, and no longer than the others."""
    apps = MAX_CONNECTING + 20
    proxied = await start(blackhole, timeouts=Timeouts(connect=1.5))  # for a busy machine to count them in
    before = syns_to(blackhole)
    asked = [await proxied.connect() for _ in range(apps)]
    for app in asked:
        app.send(get("/"))
    await eventually(lambda: proxied.pool.counts.connecting == apps, "not all are waiting")
    await eventually(lambda: syns_to(blackhole) - before == MAX_CONNECTING, "fewer are tried than may be")
    for app in asked:
        assert (await app.response()).status == 504
    assert proxied.pool.counts.connecting == 0


async def test_those_who_wait_for_their_turn_take_what_has_become_idle_meanwhile(
    receive: Receive, start: Start
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    apps = [await proxied.connect() for _ in range(400)]
    for app in apps:
        app.send(get("/"))
    for app in apps:
        assert (await app.response()).status == 200
    assert len(receiver.requests) == 400
    assert len(receiver.connections) < 400


# -- pools and connections at their end ----------------------------------------------


async def test_what_is_in_use_as_its_pool_closes_ends_with_its_exchange(
    receive: Receive, start: Start
) -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await go_on.wait()
        wire.send(ok())

    receiver = await receive(script)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: len(receiver.requests) == 1, "no request")
    proxied.pool.close()
    assert proxied.pool.live == 1
    go_on.set()
    assert (await app.response()).body == b"hello"
    await (await receiver.connection()).gone()
    await proxied.settled(idle=0)


async def test_no_egress_proxy_without_tls_inside() -> None:
    upstream, egress = Upstream("http", "127.0.0.1", 80), EgressProxy("proxy", 3128)
    with pytest.raises(ValueError, match="would see the ID tokens"):
        Pool(upstream, Sweeper(1.0), tls=None, keepalive=1, connect=1, egress=egress)


async def test_a_socket_that_no_connection_comes_of_is_closed(
    receive: Receive, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied = await start(await receive(answering(ok())))
    sock = socket.socket(type=socket.SOCK_DGRAM)  # which no loop takes

    async def connected(*_: object, **__: object) -> socket.socket:
        return sock

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", connected)
    with pytest.raises(ValueError, match=r"(?i)stream"):
        await proxied.pool.connect()
    assert sock.fileno() == -1
    assert proxied.pool.live == 0


async def test_a_name_under_localhost_is_loopback_whatever_dns_says(receive: Receive) -> None:
    receiver = await receive(answering(ok()))
    sweeper = Sweeper(1.0)
    pool = Pool(Upstream("http", "web.localhost", receiver.port), sweeper, tls=None, keepalive=1, connect=5)
    connection = await pool.connect()
    assert connection.transport.get_extra_info("peername")[0] in ("127.0.0.1", "::1")
    connection.abort()
    await eventually(lambda: not pool.live, "it stays")
    sweeper.close()


async def test_in_clear_text_a_name_that_leads_elsewhere_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def misled(_: Dialer, host: str, port: int) -> list[Any]:
        assert host == "localhost"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.9.9.9", port))]

    monkeypatch.setattr(Dialer, "_look_up", misled)
    pool = Pool(Upstream("http", "localhost", 80), Sweeper(1.0), tls=None, keepalive=1, connect=5)
    with pytest.raises(ConnectFailed, match="no loopback address here"):
        await pool.connect()
