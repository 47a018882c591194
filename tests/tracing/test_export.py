"""Spans at a collector, end to end: the SDK's own batches, read by OpenTelemetry's own messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from structlog.testing import capture_logs

from idtoken_proxy import __version__
from idtoken_proxy.settings.model import EgressProxy, TracingSettings
from idtoken_proxy.tracing.export import OtlpExport, _resource, _Way, try_export
from idtoken_proxy.tracing.spans import Link, Span
from tests.engine.conftest import Receive, Start
from tests.engine.http2_peers import echo, http2_app, http2_receiver
from tests.engine.wire import answering, get, ok
from tests.tracing.collector import Collector, values

ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SPAN = Span("GET receiver", "server", 1, 2, 0, False, "", 10, 20, {"http.route": "receiver"}, failed=False)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The SDK's logger is the whole process's."""
    said = logging.getLogger("opentelemetry")
    handlers, propagate = said.handlers, said.propagate
    yield
    said.handlers, said.propagate = handlers, propagate


def hexed(span: Proto) -> tuple[str, str, str]:
    return span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()


async def test_an_exchange_s_spans_reach_the_collector_with_the_app_s_trace(
    receive: Receive, start: Start, collector: Collector
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver, tracing=TracingSettings(collector.endpoint + "/v1/traces"))
    await proxied.ask(get("/a?q=secret", f"traceparent: 00-{ID}-{PARENT}-01", "tracestate: vendor=1"))
    await proxied.server.stop(drain=0.05)  # which sends what is left
    spans = {span.kind: span for span in await collector.has(3)}
    server, client = spans[Proto.SPAN_KIND_SERVER], spans[Proto.SPAN_KIND_CLIENT]
    assert hexed(server)[0::2] == (ID, PARENT)
    assert hexed(client)[0::2] == (ID, hexed(server)[1])
    assert receiver.requests[0].one("traceparent") == f"00-{ID}-{hexed(client)[1]}-01"
    assert (server.trace_state, server.name) == ("vendor=1", "GET receiver")
    assert values(server.attributes)["http.response.status_code"] == 200
    assert server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano
    assert spans[Proto.SPAN_KIND_INTERNAL].name == "token file"
    resource = collector.resource
    assert (resource["service.name"], resource["service.version"]) == ("idtoken-proxy", __version__)
    assert len(str(resource["service.instance.id"])) == 36
    assert b"secret" not in collector.received
    assert proxied.token.encode() not in collector.received


async def test_so_do_those_of_http2(start: Start, collector: Collector) -> None:
    async with http2_receiver(echo) as receiver:
        proxied = await start(receiver.port, tracing=TracingSettings(collector.endpoint + "/v1/traces"))
        app = await http2_app(proxied.port)
        traceparent = f"00-{ID}-{PARENT}-01".encode()
        assert (await app.call((b"traceparent", traceparent), body=b"x").done()).grpc == (0, "")
        await proxied.server.stop(drain=0.05)
        app.transport.abort()
    spans = {span.kind: span for span in await collector.has(3)}
    server, client = spans[Proto.SPAN_KIND_SERVER], spans[Proto.SPAN_KIND_CLIENT]
    assert hexed(server)[0::2] == (ID, PARENT)
    assert hexed(client)[0::2] == (ID, hexed(server)[1])
    (asked,) = receiver.streams
    assert asked.one("traceparent") == f"00-{ID}-{hexed(client)[1]}-01"
    assert values(client.attributes)["rpc.grpc.status_code"] == 0


async def test_a_reload_sends_them_elsewhere(receive: Receive, start: Start, collector: Collector) -> None:
    async with Collector() as other:
        first = TracingSettings(other.endpoint + "/v1/traces")
        proxied = await start(await receive(answering(ok())), tracing=first)
        settings = proxied.server.settings
        await proxied.ask(get("/a"))
        second = replace(first, endpoint=collector.endpoint + "/v1/traces")
        await proxied.server.reload(replace(settings, tracing=second))
        assert len(await other.has(2)) >= 2  # none is lost
        await proxied.ask(get("/b"))
        await proxied.server.reload(replace(settings, tracing=None))
        assert proxied.server.context.tracer is None
        await proxied.ask(get("/c"))
        paths = {values(span.attributes).get("url.path") for span in await collector.has(2)}
    assert paths == {"/b", None}


def close(export: OtlpExport) -> asyncio.Future[None]:
    return asyncio.ensure_future(asyncio.to_thread(export.close))


async def test_what_a_span_holds(collector: Collector) -> None:
    export = OtlpExport(collector.endpoint + "/v1/traces")
    export.send(SPAN._replace(parent_id=3, remote=True, failed=True, links=(Link(4, 5),)))
    await close(export)
    (span,) = await collector.has(1)
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano) == ("GET receiver", 10, 20)
    assert hexed(span) == (f"{1:032x}", f"{2:016x}", f"{3:016x}")
    assert span.status.code == Status.STATUS_CODE_ERROR
    (link,) = span.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (f"{4:032x}", f"{5:016x}")


async def test_neither_proxies_of_the_environment_nor_redirects_lead_elsewhere(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    export = OtlpExport(collector.endpoint + "/v1/traces")
    export.send(SPAN)
    await close(export)
    assert len(await collector.has(1)) == 1
    collector.status = "307 Elsewhere"
    export = OtlpExport(collector.endpoint + "/v1/traces")
    export.send(SPAN)
    await close(export)
    assert {request.target for request in collector.requests} == {"/v1/traces"}


def test_the_way_out_is_the_configuration_s() -> None:
    assert _Way(None).proxies == {}
    session = _Way(EgressProxy("proxy.example", 3128, b"user:p@ss"))
    assert session.proxies == {"https": "http://user:p%40ss@proxy.example:3128"}
    assert not session.trust_env


async def test_a_collector_that_fails_is_told_of_once_and_again_when_it_works(collector: Collector) -> None:
    collector.status = "400 No"
    export = OtlpExport(collector.endpoint + "/v1/traces")
    processor = export._processor
    with capture_logs() as lines:
        for _ in range(3):
            export.send(SPAN)
            await asyncio.to_thread(processor.force_flush)
        collector.status = "200 OK"
        export.send(SPAN)
        await asyncio.to_thread(processor.force_flush)
    failed, again = lines
    assert (failed["event"], failed["log_level"]) == ("spans are not exported", "warning")
    assert "400" in failed["detail"]
    assert (again["event"], again["lost"]) == ("spans are exported again", 3)
    await close(export)


async def test_an_answer_without_end_is_not_waited_for(receive: Receive) -> None:
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + bytes(0x20000)
    receiver = await receive(answering(begun))
    said = await asyncio.to_thread(try_export, f"http://127.0.0.1:{receiver.port}/v1/traces", None, 0.5)
    assert said == "its answer is larger than 65536 octets"


async def test_of_a_collector_that_is_not_there_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not that it was tried until there was no more time, as the SDK says last."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    export = OtlpExport("http://127.0.0.1:9/v1/traces")
    with capture_logs() as lines:
        export.send(SPAN)
        await close(export)
    (failed,) = lines
    assert "Connection refused" in failed["detail"]


async def test_more_than_the_queue_holds_is_dropped_and_said(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    export = OtlpExport(collector.endpoint + "/v1/traces")
    with capture_logs() as lines:
        for _ in range(200):
            export.send(SPAN)
    assert "spans are dropped" in [line["event"] for line in lines]
    await close(export)


def test_the_operator_s_own_words_count_for_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _resource().attributes["service.name"] == "idtoken-proxy"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=7,deployment.environment.name=test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    attributes = _resource().attributes
    assert (attributes["service.name"], attributes["service.version"]) == ("mine", "7")
    assert attributes["deployment.environment.name"] == "test"
