"""Who is sampled, whose a token's fetch is, and what opens and closes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.settings.model import Scopes, TracingSettings
from idtoken_proxy.tracing.pipeline import Pipeline, collector_doubts, pipeline_for
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import settings_for
from tests.engine.wire import answering, eventually, get, ok
from tests.tracing.collector import Collector
from tests.tracing.conftest import Kept, Trace

EVENT = FetchEvent(
    source="metadata", described="", wanted="https://receiver.example", seconds=0.5, changed=True
)


def test_a_fetch_that_nobody_waits_for_is_a_trace_of_its_own() -> None:
    kept = Kept()
    Pipeline(TracingSettings(), kept, wall=lambda: 10_000_000_000).fetched(EVENT)
    (span,) = kept.spans
    assert (span.name, span.kind, span.parent_id, span.failed) == ("token metadata", "internal", 0, False)
    assert (span.started, span.ended) == (9_500_000_000, 10_000_000_000)
    assert span.attributes == {
        "idtoken_proxy.identity": "metadata",
        "idtoken_proxy.audience": "https://receiver.example",
        "idtoken_proxy.token_changed": True,
    }


def test_a_fetch_that_fails_says_why() -> None:
    kept = Kept()
    error = TokenError("no", cause="metadata_unreachable", fault=Fault.OPERATOR)
    Pipeline(TracingSettings(), kept).fetched(replace(EVENT, wanted=Scopes(("a", "b")), error=error))
    (span,) = kept.spans
    assert span.failed
    assert span.attributes == {
        "idtoken_proxy.identity": "metadata",
        "idtoken_proxy.scopes": "a b",
        "error.type": "metadata_unreachable",
    }


def test_fetches_are_sampled_as_requests_are() -> None:
    kept = Kept()
    Pipeline(TracingSettings(sample=0.0), kept).fetched(EVENT)
    assert kept.spans == []


async def test_a_fetch_is_part_of_the_request_that_waits_for_it_and_linked_to_the_others(
    receive: Receive, start: Start, trace: Trace, token: str, token_file: Path
) -> None:
    token_file.unlink()
    proxied = await start(await receive(answering(ok())))
    slot = proxied.server.context.router.entries[0].slot
    assert slot is not None
    await eventually(lambda: slot.status().error is not None, "a fetch that failed")
    slot._boot_due = slot._wall_due = 0.0  # its back-off is over
    token_file.write_text(token)
    kept = trace(proxied)
    answers = await asyncio.gather(*(proxied.ask(get(f"/{number}")) for number in range(3)))
    assert [answer.status for answer in answers] == [200] * 3
    (fetch,) = [span for span in kept.spans if span.kind == "internal"]
    servers = [span for span in kept.spans if span.kind == "server"]
    (parent,) = [span for span in servers if span.span_id == fetch.parent_id]
    assert fetch.trace_id == parent.trace_id
    waited = {(link.trace_id, link.span_id) for link in fetch.links}
    assert waited <= {(span.trace_id, span.span_id) for span in servers} - {(parent.trace_id, parent.span_id)}
    assert token not in repr(kept.spans)


async def test_what_is_not_wanted_is_not_opened_and_what_is_open_stays() -> None:
    assert await pipeline_for(settings_for()) is None
    kept = Kept()
    before = Pipeline(TracingSettings(), kept)
    assert await pipeline_for(settings_for(tracing=TracingSettings()), before) is before
    await before.close()
    assert kept.closed


async def test_doctor_hears_whether_the_collector_takes_spans() -> None:
    assert await collector_doubts(settings_for()) == ()
    async with Collector() as collector:
        settings = settings_for(tracing=TracingSettings(collector.endpoint + "/v1/traces"))
        assert await collector_doubts(settings) == ()
        assert collector.spans == []
        collector.status = "404 Not Found"
        (doubt,) = await collector_doubts(settings)
    assert (doubt.key, collector.endpoint in doubt.message) == ("tracing", True)
    assert "404" in doubt.message


async def test_a_bug_costs_a_span_and_no_connection(receive: Receive, start: Start) -> None:
    class Broken(Kept):
        def send(self, span: object) -> None:
            raise RuntimeError("a bug")

    proxied = await start(await receive(answering(ok())))
    proxied.server._spans.use(Pipeline(TracingSettings(), Broken()), [proxied.server.context])
    app = await proxied.connect()
    with capture_logs() as lines:
        for _ in range(2):
            app.send(get("/"))
            assert (await app.response()).status == 200
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["span lost"] * 2


async def test_the_end_waits_no_longer_than_a_moment() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Stuck(Kept):
        def close(self) -> None:
            asyncio.run_coroutine_threadsafe(ended.wait(), loop).result()

    await Pipeline(TracingSettings(), Stuck()).close(limit=0.01)
    assert not ended.is_set()
    ended.set()


async def test_the_server_closes_what_it_has_and_counts_nothing_twice(
    receive: Receive, start: Start, trace: Trace
) -> None:
    proxied = await start(await receive(answering(ok())))
    first = trace(proxied)
    await proxied.ask(get("/"))
    second = trace(proxied)
    await proxied.ask(get("/"))
    assert (len(first.exchanges), len(second.exchanges)) == (2, 2)
    assert proxied.server.context.stats.routes["receiver"].classes[2] == 2
    await proxied.server.stop(drain=0.05)
    assert second.closed


async def test_what_is_under_way_at_a_reload_ends_where_spans_go_by_then(
    receive: Receive, start: Start, trace: Trace
) -> None:
    proxied = await start(await receive(answering(ok())))
    before = trace(proxied)
    app = await proxied.connect()
    app.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n")
    await eventually(lambda: bool(proxied.server.context.active_exchanges()), "a request that is under way")
    trace(proxied)
    after = trace(proxied, sample=0.0)
    app.send(b"x")
    await app.response()
    assert {span.kind for span in after.spans} == {"server", "client"}
    assert before.exchanges == []
