"""/metrics as it is written down: in pieces, of one generation, and the same text as in one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from idtoken_proxy.admin.exposition import Exposition
from idtoken_proxy.admin.metrics import ProxyCollector
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Route, Settings, Upstream
from tests.admin.test_metrics import values
from tests.engine.conftest import Start, receive, start, token, token_file
from tests.engine.proxied import Proxied, route_to, settings_for
from tests.steps import longest_hold

__all__ = ["receive", "start", "token", "token_file"]  # fixtures


def many(count: int) -> Settings:
    """Public ones, to receivers that nobody asks."""
    return settings_for(
        *(
            Route(f"r{one}", Upstream("http", "127.0.0.1", 1 + one), None, NoIdentity(), path=f"/r{one}")
            for one in range(count)
        )
    )


async def with_routes(start: Start, count: int) -> Proxied:
    proxied = await start(1)
    await proxied.server.reload(many(count))
    for counts in proxied.server.context.stats.routes.values():
        counts.buckets[3] += 1
    return proxied


async def test_many_routes_do_not_hold_the_loop_and_cost_what_they_are(start: Start) -> None:
    proxied = await with_routes(start, 150)
    exposition = Exposition(proxied.server)
    _, few = await longest_hold(exposition.render(""))
    await proxied.server.reload(many(300))
    for counts in proxied.server.context.stats.routes.values():
        counts.buckets[3] = 1
    longest, all_of_it = await longest_hold(exposition.render(""))
    assert 10 * longest < all_of_it < 2.2 * few


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_in_pieces_it_is_the_text_that_it_is_as_a_whole(start: Start, accept: str) -> None:
    """A family's samples stand together under one head, however many they are."""
    proxied = await with_routes(start, 200)
    body, _ = await Exposition(proxied.server).render(accept)
    lines = body.decode().splitlines()
    heads = [line for line in lines if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert (lines[-1], lines.count("# EOF")) == ("# EOF", 1) if accept else "# EOF" not in lines
    collector = ProxyCollector(proxied.server, time.time)
    families: dict[str, Metric] = {}
    for part in collector.collect():
        families.setdefault(
            part.name, Metric(part.name, part.documentation, part.type)
        ).samples += part.samples
    whole = encoded(accept, families.values())
    assert whole.decode().removesuffix("# EOF\n") in body.decode()
    assert len(families["idtoken_proxy_requests"].samples) == 4 * 201


def encoded(accept: str, families: Iterable[Metric]) -> bytes:
    class Whole(Collector):
        def collect(self) -> Iterable[Metric]:
            return families

    encode, _ = choose_encoder(accept)
    return encode(Whole())


async def test_one_that_a_reload_overtakes_tells_of_the_routes_that_were_there(start: Start) -> None:
    proxied = await with_routes(start, 300)
    rendering = asyncio.ensure_future(Exposition(proxied.server).render(""))
    await asyncio.sleep(0)
    await proxied.server.reload(settings_for(route_to(1, None, identity=NoIdentity(), audience=None)))
    assert not rendering.done()
    body, _ = await rendering
    found = values({family.name: family for family in text_string_to_metric_families(body.decode())})
    for name in ("requests_in_flight", "tunnels", "sent_bytes_total"):
        routes = {dict(labels)["route"] for told, labels in found if told == name}
        assert routes == {"-", *(f"r{one}" for one in range(300))}
    upstreams = {dict(labels)["upstream"] for told, labels in found if told == "upstream_connections"}
    assert upstreams == {route.upstream.origin for route in many(300).routes}
    assert "receiver" in (await Exposition(proxied.server).render(""))[0].decode()
