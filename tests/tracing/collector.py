"""A collector that takes OTLP by http/protobuf, reads it with OpenTelemetry's own messages, and keeps what it was sent."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.engine.wire import Message, Receiver, Wire, eventually


class Collector(Receiver):
    """`status`: what it answers."""

    def __init__(self, status: str = "200 OK") -> None:
        super().__init__(self._collect)
        self.status = status
        self.exports: list[ExportTraceServiceRequest] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _collect(self, wire: Wire) -> None:
        while True:
            request = await wire.request()
            if self.status.startswith("200"):
                self.exports.append(_read(request))
            body: bytes = ExportTraceServiceResponse().SerializeToString()  # type: ignore[no-untyped-call]
            head = f"HTTP/1.1 {self.status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n"
            wire.send(f"{head}Location: /elsewhere\r\n\r\n".encode() + body)

    @property
    def spans(self) -> list[Span]:
        return list(self._spans())

    def _spans(self) -> Iterator[Span]:
        for export in self.exports:
            for resource in export.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans

    @property
    def resource(self) -> dict[str, str | int | bool]:
        return values(self.exports[0].resource_spans[0].resource.attributes)

    async def has(self, count: int) -> list[Span]:
        await eventually(lambda: len(self.spans) >= count, f"{count} spans, of which there are {self.spans}")
        return self.spans


def _read(request: Message) -> ExportTraceServiceRequest:
    assert (request.method, request.target) == ("POST", "/v1/traces")
    assert request.one("content-type") == "application/x-protobuf"
    body = gzip.decompress(request.body) if request.one("content-encoding") == "gzip" else request.body
    export = ExportTraceServiceRequest()
    export.ParseFromString(body)  # type: ignore[no-untyped-call]
    return export


def values(attributes: Iterable[KeyValue]) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {}
    for one in attributes:
        found[one.key] = _value(one.value)
    return found


def _value(value: AnyValue) -> str | int | bool:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    assert kind == "int_value", kind
    return value.int_value
