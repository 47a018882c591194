"""`serve` with OpenTelemetry's own variables, as a Pod has them: what a collector has of it when the process has ended."""

from __future__ import annotations

import json
import signal

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from tests.end_to_end.conftest import ServeProcess, config_for
from tests.tracing.collector import Collector, values


@pytest.mark.thorough
async def test_the_last_spans_are_out_before_the_process_has_ended(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, seen: list[Seen]
) -> None:
    async with Collector() as collector:
        process = await serve_process(
            config_for(emulator),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
            HTTP_PROXY="http://127.0.0.1:9",
        )
        url = await process.url()
        async with client.get(f"{url}/user-profiles/42?q=secret") as answer:
            assert answer.status == 200
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        spans = collector.spans
        resource = collector.resource
    servers = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    (client_span,) = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert [span.name for span in servers] == ["GET user-profiles"]
    assert client_span.parent_span_id == servers[0].span_id
    assert {span.name for span in spans if span.kind == Span.SPAN_KIND_INTERNAL} == {"token metadata"}
    fetched = [span for span in spans if span.name == "token metadata"]
    assert {values(span.attributes)["idtoken_proxy.audience"] for span in fetched} == set(
        emulator.urls.values()
    )
    assert resource["deployment.environment.name"] == "test"
    (request,) = [one for one in seen if one.target.startswith("/42")]
    assert client_span.span_id.hex() in json.dumps(dict(request.headers))
    assert "secret" not in repr(spans)


@pytest.mark.thorough
async def test_a_collector_that_never_answers_holds_up_no_end(
    emulator: Emulator, serve_process: ServeProcess, client: aiohttp.ClientSession, dead_port: int
) -> None:
    process = await serve_process(
        config_for(emulator), OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{dead_port}"
    )
    url = await process.url()
    async with client.get(f"{url}/user-profiles/") as answer:
        assert answer.status == 200
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert f":{dead_port}/v1/traces" in (await process.said("the last spans are lost"))["endpoint"]
    assert "Traceback" not in process.output
