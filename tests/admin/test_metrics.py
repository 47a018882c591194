"""/metrics: what it tells, in the form that Prometheus reads, and with no label that a caller could choose."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from idtoken_proxy import __version__
from idtoken_proxy.admin.exposition import Exposition
from idtoken_proxy.admin.metrics import ProxyCollector
from idtoken_proxy.engine.stats import BOUNDS, LIMITS, REFUSALS
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.identities import FileIdentity, NoIdentity
from idtoken_proxy.settings.model import TcpAddress
from tests.engine.conftest import Receive, Start, receive, start, token, token_file
from tests.engine.proxied import AUDIENCE, Proxied
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Script, Wire, answering, eventually, get, ok

__all__ = ["receive", "start", "token", "token_file"]  # fixtures

Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]
NAME = re.compile(r"idtoken_proxy_[a-z]+(_[a-z0-9]+)*")


async def scraped(proxied: Proxied, accept: str = "") -> dict[str, Metric]:
    body, _ = await Exposition(proxied.server).render(accept)
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def values(families: dict[str, Metric]) -> Values:
    return {
        (sample.name.removeprefix("idtoken_proxy_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }


def at(found: Values, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


async def ended(proxied: Proxied, requests: int) -> None:
    stats = proxied.server.context.stats
    counts = [*stats.routes.values(), stats.unrouted]
    await eventually(lambda: sum(sum(one.classes) for one in counts) == requests, f"{requests} requests")


async def test_before_anything_happened_what_is_known_is_zero(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    await eventually(lambda: proxied.server.ready, "a token")
    found = values(await scraped(proxied))
    for route in ("receiver", "-"):
        for status in ("2xx", "3xx", "4xx", "5xx"):
            assert at(found, "requests_total", route=route, status=status) == 0
        assert at(found, "requests_in_flight", route=route) == 0
        assert at(found, "received_bytes_total", route=route) == 0
        assert at(found, "sent_bytes_total", route=route) == 0
    for limit in LIMITS:
        assert at(found, "limit_hits_total", limit=limit) == 0
    for reason in REFUSALS:
        assert at(found, "guard_refusals_total", reason=reason) == 0
    for state in ("idle", "in_use", "connecting"):
        assert at(found, "upstream_connections", upstream=proxied.pool.upstream.origin, state=state) == 0
    assert at(found, "ready") == 1
    assert at(found, "draining") == 0
    assert at(found, "connections_max") == 1024
    assert at(found, "last_reload_successful") == 1
    assert at(found, "token_valid", route="receiver", audience=AUDIENCE) == 1
    assert 3500 < at(found, "token_expires_in_seconds", route="receiver", audience=AUDIENCE) <= 3600
    assert at(found, "token_fetches_total", source="file", outcome="fresh") == 1
    assert at(found, "token_fetch_duration_seconds_count", source="file") == 1
    version = ".".join(map(str, sys.version_info[:3]))
    assert at(found, "build_info", version=__version__, python=version) == 1
    assert not any(name.startswith("request_duration") for name, _ in found)


async def test_requests_and_their_latency(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok(), ok().replace(b"200 OK", b"503 No"))))
    for target in ("/a", "/b"):
        await proxied.ask(get(target))
    await ended(proxied, 2)
    found = values(await scraped(proxied))
    assert at(found, "requests_total", route="receiver", status="2xx") == 1
    assert at(found, "requests_total", route="receiver", status="5xx") == 1
    assert at(found, "received_bytes_total", route="receiver") == len(get("/a") + get("/b"))
    assert at(found, "sent_bytes_total", route="receiver") > len(ok())
    buckets = [at(found, "request_duration_seconds_bucket", route="receiver", le=str(le)) for le in BOUNDS]
    assert buckets == sorted(buckets)
    assert at(found, "request_duration_seconds_bucket", route="receiver", le="+Inf") == 2
    assert at(found, "request_duration_seconds_count", route="receiver") == 2
    assert 0 < at(found, "request_duration_seconds_sum", route="receiver") < 10
    upstream = proxied.pool.upstream.origin
    assert at(found, "upstream_connections", upstream=upstream, state="idle") == 1
    assert at(found, "upstream_connections_opened_total", upstream=upstream) == 1
    assert at(found, "upstream_connections_reused_total", upstream=upstream) == 1
    assert at(found, "connections_accepted_total") == 2


def halfway(go_on: asyncio.Event) -> Script:
    """A receiver that has said half of its answer, and says the other when it may."""

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await go_on.wait()
        wire.send(b"world")

    return script


async def test_octets_are_counted_once_while_their_exchange_ends(receive: Receive, start: Start) -> None:
    """However late the thread is that writes it down: the loop has looked."""
    go_on = asyncio.Event()
    proxied = await start(await receive(halfway(go_on)))
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"hello")
    collector = ProxyCollector(proxied.server, time.time)

    async def collected() -> Values:
        families = await asyncio.to_thread(list, collector.collect())
        return values({family.name: family for family in families})

    collector.look()
    go_on.set()
    await app.until(b"world")
    await ended(proxied, 1)
    first = await collected()
    collector.look()
    second = await collected()
    assert at(first, "requests_in_flight", route="receiver") == 1
    assert at(second, "requests_in_flight", route="receiver") == 0
    assert at(first, "received_bytes_total", route="receiver") == len(get("/"))
    assert at(second, "received_bytes_total", route="receiver") == len(get("/"))
    sent = [at(found, "sent_bytes_total", route="receiver") for found in (first, second)]
    assert sent == [len(app.received) - len(b"world"), len(app.received)]


async def test_what_is_under_way(receive: Receive, start: Start) -> None:
    go_on = asyncio.Event()
    proxied = await start(await receive(halfway(go_on)))
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"hello")
    found = values(await scraped(proxied))
    assert at(found, "requests_in_flight", route="receiver") == 1
    assert at(found, "sent_bytes_total", route="receiver") == len(app.received)
    assert at(found, "received_bytes_total", route="receiver") == len(get("/"))
    assert at(found, "upstream_connections", upstream=proxied.pool.upstream.origin, state="in_use") == 1
    assert at(found, "connections") == 1
    go_on.set()
    await app.until(b"world")
    await ended(proxied, 1)
    after = values(await scraped(proxied))
    assert at(after, "requests_in_flight", route="receiver") == 0
    assert at(after, "sent_bytes_total", route="receiver") == len(app.received)


async def test_an_exchange_of_a_route_that_a_reload_took_away(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: bool(receiver.requests), "the request")
    proxied.server.context.stats.retain((), (), ())
    found = values(await scraped(proxied))
    assert ("requests_in_flight", (("route", "receiver"),)) not in found
    app.close()


async def test_a_websocket(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(HANDSHAKE)
    await app.response()
    await ended(proxied, 1)
    found = values(await scraped(proxied))
    assert at(found, "tunnels", route="receiver") == 1
    assert at(found, "requests_total", route="receiver", status="1xx") == 1


async def test_failures_of_a_receiver_and_of_a_token_source(
    receive: Receive, start: Start, tmp_path: Path
) -> None:
    unreachable = await start(1)
    tokenless = await start(
        await receive(answering(ok())), route={"identity": FileIdentity(str(tmp_path / "none"))}
    )
    for proxied in (unreachable, tokenless):
        await proxied.ask(get("/"))
        await ended(proxied, 1)
    found = values(await scraped(unreachable))
    labels = {"route": "receiver", "kind": "connect_failed", "cause": "connection_refused"}
    assert at(found, "errors_total", **labels) == 1
    found = values(await scraped(tokenless))
    labels = {"route": "receiver", "kind": "token_error", "cause": "file_missing"}
    assert at(found, "errors_total", **labels) == 1
    assert at(found, "ready") == 0
    assert at(found, "token_valid", route="receiver", audience=AUDIENCE) == 0
    assert at(found, "token_expires_in_seconds", route="receiver", audience=AUDIENCE) == 0
    assert at(found, "token_fetches_total", source="file", outcome="failed") >= 1
    labels = {"source": "file", "audience": AUDIENCE, "cause": "file_missing"}
    assert at(found, "token_refresh_failures_total", **labels) >= 1


async def test_reloads(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    proxied.server.reloaded(None)
    proxied.server.reloaded(ConfigError(()))
    found = values(await scraped(proxied))
    assert at(found, "reloads_total", outcome="taken") == 1
    assert at(found, "reloads_total", outcome="refused") == 1
    assert at(found, "last_reload_successful") == 0
    proxied.server.reloaded(None)
    found = values(await scraped(proxied))
    assert at(found, "last_reload_successful") == 1
    assert at(found, "settings_timestamp_seconds") == proxied.server.context.stats.reloaded_at


async def test_expiry_is_told_by_the_clock(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    await eventually(lambda: proxied.server.ready, "a token")
    expires_at = proxied.server.slots["receiver"].status().expires_at
    assert expires_at is not None
    body, _ = await Exposition(proxied.server, wall=lambda: expires_at + 5).render("")
    found = values({family.name: family for family in text_string_to_metric_families(body.decode())})
    assert at(found, "token_expires_in_seconds", route="receiver", audience=AUDIENCE) == -5


async def test_nothing_that_a_caller_says_becomes_a_label(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok().replace(b"200 OK", b"299 S3NT1NEL"))))
    said = "s3nt1nel"
    requests = [
        get(f"/{said}?{said}", f"User-Agent: {said}", f"Authorization: {said}", f"X-{said}: {said}"),
        get("/", method=said.upper()),
        get("/", f"Origin: http://{said}.example"),
        get("/").replace(b"localhost", said.encode() + b".example"),
        get("/").replace(b"localhost", said.encode() + b".localhost"),
        f"{said}\r\n\r\n".encode(),
        get("/", f"Transfer-Encoding: {said}"),
    ]
    for request in requests:
        await proxied.ask(request)
    await ended(proxied, len(requests))
    body, _ = await Exposition(proxied.server).render("")
    assert said not in body.decode().lower()
    assert proxied.token not in body.decode()


async def test_names_and_helps_keep_to_the_conventions(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    await proxied.ask(get("/"))
    await ended(proxied, 1)
    families = await scraped(proxied)
    ours = [family for family in families.values() if family.name.startswith("idtoken_proxy")]
    assert len(ours) > 20
    for family in ours:
        assert NAME.fullmatch(family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_milliseconds", "_ms", "_kb", "_count", "_sum"))
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"} <= families.keys()


async def test_over_http_in_either_form(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), admin=TcpAddress("127.0.0.1", 0))
    url = f"http://{admin_of(proxied)}/metrics"
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(url) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                assert "idtoken_proxy_requests_total" in await answer.text()
        async with session.get(
            url, headers={"Accept": "application/openmetrics-text;version=1.0.0"}
        ) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await answer.text()).endswith("# EOF\n")
        async with session.get(url, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403


def admin_of(proxied: Proxied) -> Any:
    return proxied.server.admin[0]


async def test_the_library_is_not_loaded_before_the_first_scrape() -> None:
    code = "import sys, idtoken_proxy.admin.app, idtoken_proxy.server; sys.exit('prometheus_client' in sys.modules)"
    assert (
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=False)
    ).returncode == 0


@pytest.mark.parametrize("identity", [None, NoIdentity()])
async def test_a_scrape_while_draining(receive: Receive, start: Start, identity: NoIdentity | None) -> None:
    route: dict[str, Any] = {} if identity is None else {"identity": identity, "audience": None}
    proxied = await start(await receive(answering(ok())), route=route)
    proxied.server.context.drain()
    found = values(await scraped(proxied))
    assert at(found, "draining") == 1
    assert any(name == "token_valid" for name, _ in found) is (identity is None)


# -- many routes -----------------------------------------------------------------
