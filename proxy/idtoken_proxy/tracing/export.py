"""OpenTelemetry's SDK: spans wait in its queue, and its thread posts them in batches (OTLP, http/protobuf).

The only module that imports it. Its own words about failures hold times and addresses and come for each batch; the log has
one line when it begins to fail, and one when it works again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Attributes, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from idtoken_proxy import __version__
from idtoken_proxy.settings.model import EgressProxy
from idtoken_proxy.tracing.spans import Span

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NO_STATE: Final = TraceState()
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)
_KINDS: Final = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_SCOPE: Final = InstrumentationScope("idtoken_proxy", __version__)
_LONGEST_ANSWER: Final = 64 * 1024  # octets
_LONGEST_REASON: Final = 200  # characters of a status line
_INSTANCE: Final = str(uuid4())  # this process's, over reloads

log = structlog.get_logger("idtoken_proxy.tracing")


class OtlpExport:
    """To `endpoint`, whole, by way of `egress`. Raises ValueError for what the exporter's own variables
    (OTEL_EXPORTER_OTLP_HEADERS, ..._COMPRESSION, ..._TIMEOUT, ..._CERTIFICATE) say wrong.
    """

    def __init__(self, endpoint: str, egress: EgressProxy | None = None) -> None:
        self._resource = _resource()
        _hear()
        way = _Way(egress)
        exporter = OTLPSpanExporter(endpoint=endpoint, session=way)
        self._processor = BatchSpanProcessor(_Watched(exporter, endpoint, way))

    def send(self, span: Span) -> None:
        self._processor.on_end(self._readable(span))

    def close(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        """As the SDK's own Span is at its end. That one is for code that is told of its time and its attributes as they come, and
        locks for it; here all of them are known.
        """
        state = TraceState.from_header([span.state]) if span.state else _NO_STATE
        return ReadableSpan(
            name=span.name,
            context=SpanContext(span.trace_id, span.span_id, False, _SAMPLED, state),
            parent=SpanContext(span.trace_id, span.parent_id, span.remote, _SAMPLED)
            if span.parent_id
            else None,
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(SpanContext(one.trace_id, one.span_id, False, _SAMPLED)) for one in span.links],
            kind=_KINDS[span.kind],
            status=_ERROR if span.failed else _UNSET,
            start_time=span.started,
            end_time=span.ended,
            instrumentation_scope=_SCOPE,
        )


def try_export(endpoint: str, egress: EgressProxy | None, patience: float) -> str | None:
    """An export of no span at all: what is wrong with the collector, None where it takes them. Blocks for `patience` seconds at most.
    ValueError as above.
    """
    _hear()
    way = _Way(egress)
    exporter = OTLPSpanExporter(endpoint=endpoint, session=way, timeout=patience)
    taken = exporter.export(()) is SpanExportResult.SUCCESS
    exporter.shutdown()  # type: ignore[no-untyped-call]
    return None if taken else way.failure or "it does not answer as a collector does"


def _resource() -> Resource:
    """$OTEL_SERVICE_NAME and $OTEL_RESOURCE_ATTRIBUTES count before what the proxy says of itself."""
    mine: dict[str, str] = {"service.version": __version__, "service.instance.id": _INSTANCE}
    said = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = {one.partition("=")[0].strip() for one in said.split(",")}
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name" not in named:
        mine["service.name"] = "idtoken-proxy"
    found = Resource.create({key: value for key, value in mine.items() if key not in named})
    return _HashedOnce(dict(found.attributes), found.schema_url)


class _HashedOnce(Resource):
    """The encoder asks it for each span, and a Resource writes itself down as JSON for that: an eighth of the encoding."""

    def __init__(self, attributes: Attributes, schema_url: str | None = None) -> None:
        super().__init__(attributes, schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


class _Way(requests.Session):
    """To the collector. Neither HTTP_PROXY and its like nor .netrc counts: they may be the app's, and the proxy that they name this
    one. Where the exporter is redirected to it does not go. `failure`: of the last request; the SDK says of most only that it
    is given up.
    """

    def __init__(self, egress: EgressProxy | None) -> None:
        super().__init__()
        self.failure: str | None = None
        self.trust_env = False
        self.max_redirects = 0
        if egress is not None:
            user, _, password = (egress.credentials or b"").partition(b":")
            credentials = (
                f"{quote(user, '')}:{quote(password, '')}@" if egress.credentials is not None else ""
            )
            self.proxies = {"https": f"http://{credentials}{egress}"}

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            response = super().request(*args, **{**options, "stream": True})
            _read(response)
        except Exception as error:
            self.failure = str(error) or type(error).__name__
            raise
        self.failure = None if response.ok else f"{response.status_code} {response.reason}"[:_LONGEST_REASON]
        return response


def _read(response: requests.Response) -> None:
    """In place of requests' own reading, which has no bound: a collector's answer is a few octets, and what is no collector may
    answer without end. It is not decompressed, as nobody looks at it. ConnectionError.
    """
    raw, answer = response.raw, b""
    while block := raw.read(_LONGEST_ANSWER + 1 - len(answer), decode_content=False):
        answer += block
        if len(answer) > _LONGEST_ANSWER:
            raw.close()
            raise requests.ConnectionError(f"its answer is larger than {_LONGEST_ANSWER} octets")
    response.raw = BytesIO(answer)


class _Heard(logging.Handler):
    """What the SDK has to say, in place of the log: all but this is told by _Watched, with the reason."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Queue full"):
            log.warning(
                "spans are dropped",
                reason="they come faster than they are exported",
                remedy="sample fewer: tracing: {sample: 0.1}; or raise OTEL_BSP_MAX_QUEUE_SIZE",
            )


def _hear() -> None:
    said = logging.getLogger("opentelemetry")
    said.handlers = [_Heard(logging.WARNING)]
    said.propagate = False


class _Watched(SpanExporter):
    """Tells when exports begin to fail, and when they work again; on the SDK's thread."""

    def __init__(self, exporter: SpanExporter, endpoint: str, way: _Way) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._way = way
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                log.warning(
                    "spans are not exported",
                    endpoint=self._endpoint,
                    detail=self._way.failure,
                    remedy="see that the collector takes OTLP by http/protobuf there, most often on port 4318; it is said once",
                )
            self._lost += len(spans)
        elif self._lost:
            log.info("spans are exported again", endpoint=self._endpoint, lost=self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
