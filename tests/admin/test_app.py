"""The admin listener: probes, status, and who may ask."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from blockbuster import BlockBuster

from idtoken_proxy import __version__
from idtoken_proxy.admin.app import Admin, _comes_from_here, _is_loopback
from idtoken_proxy.admin.place import Place
from idtoken_proxy.admin.status import KeysObserved
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.logs import configure
from idtoken_proxy.settings.model import (
    Address,
    GuardSettings,
    LogSettings,
    Route,
    Settings,
    TcpAddress,
    Timeouts,
    UnixAddress,
)
from idtoken_proxy.turns import at_once
from tests.blocking import none_by
from tests.cases import for_each


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    with none_by("idtoken_proxy.admin") as buster:
        yield buster


class FakeServer:
    started = False
    ready = False
    asked_to_quit = 0
    slots: ClassVar[dict[str, TokenSlot]] = {}

    def __init__(self) -> None:
        self.settings = Settings(routes=(), guard=GuardSettings(allowed_hosts=("Proxy.example",)))
        router = at_once(Router.made(self.settings, {}, no_pool, None, Stats()))
        self.context = ServerContext(router, Sweeper(60.0), access_log=None, stats=Stats())

    def quit(self, **why: str) -> None:
        self.asked_to_quit += 1

    def metadata_requests(self) -> dict[tuple[str, str], int]:
        return {}

    def status(self) -> dict[str, Any]:
        return {"state": "starting", "ready": self.ready}

    def route_statuses(self) -> Iterator[dict[str, Any]]:
        yield {"name": "users"}

    def key_sets(self) -> tuple[KeysObserved, ...]:
        return ()


def no_pool(route: Route) -> Pool:
    raise AssertionError(route)


async def opened(server: FakeServer, address: Address) -> Admin:
    place = Place(address)
    await place.bind()
    admin = Admin(server, place)
    await admin.start()
    return admin


@pytest.fixture
async def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def url(server: FakeServer) -> AsyncIterator[str]:
    admin = await opened(server, TcpAddress("localhost", 0))
    first = admin.addresses[0]
    assert isinstance(first, TcpAddress)
    yield f"http://127.0.0.1:{first.port}"
    await admin.stop()
    assert not admin.addresses


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_readiness_follows_the_server(
    client: aiohttp.ClientSession, url: str, server: FakeServer
) -> None:
    for path, fact in (("/startup", "started"), ("/readiness", "ready")):
        async with client.get(url + path) as answer:
            assert answer.status == 503
            assert await answer.text() == f"not {fact}: see /api/status\n"
        setattr(server, fact, True)
        async with client.get(url + path) as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_only_a_post_ends_it(client: aiohttp.ClientSession, url: str, server: FakeServer) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        async with client.request(method, url + "/quitquitquit") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
        async with client.post(url + "/quitquitquit", headers=headers) as answer:
            assert answer.status == 403
    assert server.asked_to_quit == 0
    async with client.post(url + "/quitquitquit") as answer:
        assert (answer.status, await answer.text()) == (200, "draining\n")
    assert server.asked_to_quit == 1


def own_address() -> str:
    """One by which others would reach this machine. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has loopback alone")
        return str(asked.getsockname()[0])


async def test_from_elsewhere_it_may_be_read_and_not_ended(
    client: aiohttp.ClientSession, server: FakeServer
) -> None:
    host = own_address()
    admin = await opened(server, TcpAddress("0.0.0.0", 0))
    try:
        (bound,) = admin.addresses
        assert isinstance(bound, TcpAddress)
        for claim in (
            {},
            {"Host": "localhost"},
            {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
        ):
            async with client.post(f"http://{host}:{bound.port}/quitquitquit", headers=claim) as answer:
                assert answer.status == 403
                assert "SIGTERM" in await answer.text()
        assert server.asked_to_quit == 0
        async with client.get(f"http://{host}:{bound.port}/liveness") as answer:
            assert answer.status == 200
        async with client.post(f"http://127.0.0.1:{bound.port}/quitquitquit") as answer:
            assert answer.status == 200
        assert server.asked_to_quit == 1
    finally:
        await admin.stop()


@for_each(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
    ],
)
def test_which_peers_are_this_machine(host: str, *, here: bool) -> None:
    assert _is_loopback(host) is here


def test_whoever_is_gone_already_ends_nothing() -> None:
    assert not _comes_from_here(None)


async def test_liveness_does_not(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(url + "/liveness") as answer:
        assert answer.status == 200


async def test_status(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(url + "/api/status") as answer:
        assert answer.status == 200
        told = await answer.json()
    assert told["version"] == __version__
    assert [route["name"] for route in told["routes"]] == ["users"]


@for_each(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:9090", 200),
        ("[::1]:9090", 200),
        ("[::1]", 200),
        ("proxy.example", 200),
        ("PROXY.example:9090", 200),
        ("sub.proxy.example", 403),
        ("evil.example", 403),
        ("evil.example:9090", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.", 403),
        ("0.0.0.0", 403),
        ("", 403),
    ],
)
@for_each("path", ["/api/status", "/liveness"])
async def test_a_rebound_name_reads_nothing(
    client: aiohttp.ClientSession, url: str, path: str, host: str, status: int
) -> None:
    async with client.get(url + path, headers={"Host": host}) as answer:
        assert answer.status == status


@for_each(
    ("origin", "status"),
    [
        ("http://localhost:9090", 200),
        ("http://localhost:8080", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("https://localhost:9090", 403),
        ("chrome-extension://abc", 403),
    ],
)
async def test_pages_of_other_origins_read_nothing(
    client: aiohttp.ClientSession, url: str, origin: str, status: int
) -> None:
    headers = {"Host": "localhost:9090", "Origin": origin}
    async with client.get(url + "/api/status", headers=headers) as answer:
        assert answer.status == status
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_name_that_is_not_its_own_is_told_what_makes_it_so(
    client: aiohttp.ClientSession, url: str
) -> None:
    async with client.get(url + "/metrics", headers={"Host": "idtoken-proxy:9090"}) as answer:
        assert await answer.text() == (
            'host "idtoken-proxy" is not a name of this proxy: add it to guard.allowed_hosts, or ask by an address\n'
        )


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Secret-Key: hunter2\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Secret-Key hunter2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Secret-Key: " + b"hunter2" * 9999 + b"\r\n\r\n",
    ],
    ids=["control character", "no colon", "too long"],
)
async def test_a_request_that_cannot_be_read_is_its_senders_affair(url: str, request_: bytes) -> None:
    out = io.StringIO()
    configure(LogSettings("json", "info"), out)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(request_)
    async with asyncio.timeout(10):
        assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    assert out.getvalue() == ""


async def test_an_unknown_path(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(url + "/nothing") as answer:
        assert answer.status == 404


async def test_a_unix_socket_takes_any_name_since_no_page_reaches_it(
    server: FakeServer, tmp_path: Path
) -> None:
    admin = await opened(server, UnixAddress(str(tmp_path / "own" / "admin.sock")))
    try:
        connector = aiohttp.UnixConnector(str(tmp_path / "own" / "admin.sock"))
        async with aiohttp.ClientSession(connector=connector) as session:
            assert (await session.get("http://anything/liveness")).status == 200
            assert (await session.post("http://anything/quitquitquit")).status == 200
        assert server.asked_to_quit == 1
    finally:
        await admin.stop()
    assert not (tmp_path / "own" / "admin.sock").exists()


async def test_an_empty_name_will_do_on_a_unix_socket_and_a_page_s_origin_will_not(
    server: FakeServer, tmp_path: Path
) -> None:
    """A port may be forwarded to it."""
    path = str(tmp_path / "own" / "admin.sock")
    admin = await opened(server, UnixAddress(path))
    try:
        for fields, status in (
            (b"Host:", b"200"),
            (b"Host: docker\r\nSec-Fetch-Site: same-origin", b"200"),
            (b"Host: localhost:9090\r\nOrigin: http://localhost:9090", b"200"),
            (b"Host: localhost:9090\r\nOrigin: http://evil.example", b"403"),
            (b"Host: docker\r\nSec-Fetch-Site: cross-site", b"403"),
        ):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /liveness HTTP/1.1\r\n" + fields + b"\r\n\r\n")
            assert (await reader.readuntil(b"\r\n")).split()[1] == status, fields
            writer.close()
            await writer.wait_closed()
    finally:
        await admin.stop()


async def test_no_page_elsewhere_gets_anything_into_its_process(
    client: aiohttp.ClientSession, url: str
) -> None:
    for path in ("/", "/metrics", "/api/status", "/liveness", "/nowhere", "/quitquitquit"):
        async with client.get(url + path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_nothing_tells_what_it_is_made_of_nor_repeats_what_it_was_sent(
    client: aiohttp.ClientSession, url: str
) -> None:
    strange: list[dict[str, str]] = [
        {"Expect": "hunter2"},
        {"Host": "hunter2:x"},
        {"Host": "[::1]hunter2"},
        {"Host": "\xffhunter2"},
        {},
    ]
    for path in ("/", "/metrics", "/liveness", "/nowhere", "/quitquitquit"):
        for headers in strange:
            async with client.get(url + path, headers=headers) as answer:
                assert "hunter2" not in await answer.text()
                assert answer.headers["Server"] == "idtoken-proxy"
                assert answer.status < 500


async def test_an_expectation_is_met_or_refused(client: aiohttp.ClientSession, url: str) -> None:
    async with client.post(url + "/quitquitquit", data=b"x", expect100=True) as answer:
        assert answer.status == 200
    for path in ("/liveness", "/metrics", "/quitquitquit"):
        method = "POST" if path == "/quitquitquit" else "GET"
        async with client.request(method, url + path, headers={"Expect": "99-bottles"}) as answer:
            assert (answer.status, await answer.text()) == (417, "this expectation is not met here\n")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


@for_each("site", ["cross-site", "same-site", "nonsense"])
@for_each("path", ["/metrics", "/api/status", "/readiness", "/"])
async def test_a_browser_s_request_for_a_page_of_another_site_is_refused(
    client: aiohttp.ClientSession, url: str, site: str, path: str
) -> None:
    for mode, dest in (
        ("no-cors", "script"),
        ("no-cors", "image"),
        ("cors", "empty"),
        ("navigate", "iframe"),
    ):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        async with client.get(url + path, headers=headers) as answer:
            assert answer.status == 403
    for own in ("same-origin", "none"):
        async with client.get(url + path, headers={"Sec-Fetch-Site": own}) as answer:
            assert answer.status != 403


async def test_a_link_from_elsewhere_opens_the_status_page(client: aiohttp.ClientSession, url: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with client.get(url + "/", headers=headers) as answer:
        assert answer.status == 200
    async with client.get(url + "/api/status", headers=headers) as answer:
        assert answer.status == 403


async def test_a_head_that_does_not_end_is_cut_off(server: FakeServer) -> None:
    server.settings = replace(server.settings, timeouts=Timeouts(header=0.05))
    admin = await opened(server, TcpAddress("127.0.0.1", 0))
    (bound,) = admin.addresses
    assert isinstance(bound, TcpAddress)
    reader, writer = await asyncio.open_connection(bound.host, bound.port)
    writer.write(b"GET /liveness HTTP/1.1\r\nHost: localhost\r\nX: ")
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await admin.stop()
