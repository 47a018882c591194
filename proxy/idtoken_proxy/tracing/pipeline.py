"""Who is sampled, and where spans go: what the composition root opens, and closes at the end or for other settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from time import monotonic, time_ns
from typing import Final, Protocol

import structlog

from idtoken_proxy.engine.sampler import Sampler
from idtoken_proxy.engine.traced_exchange import TracedExchange, Tracer, span_id_of, trace_id_of
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.settings.model import Settings, TracingSettings
from idtoken_proxy.terminal import printable
from idtoken_proxy.tracing.spans import Clocks, Link, Span, span_of_fetch, spans_of

# Seconds. OpenTelemetry's SDK takes 0.1 s to import; the last spans are worth a moment of an end that others wait for.
_OPENING: Final = 10.0
_FLUSH: Final = 1.0
_TRYING: Final = 3.0
_MOST_LINKS: Final = 32

log = structlog.get_logger("idtoken_proxy.tracing")


class Export(Protocol):
    """What takes spans (export.py)."""

    def send(self, span: Span) -> None:
        """Must neither block nor raise."""

    def close(self) -> None:
        """Blocks until what has been sent is out."""


class Pipeline:
    """`wanted`: what it was opened for."""

    def __init__(
        self,
        wanted: TracingSettings,
        export: Export,
        wall: Callable[[], int] = time_ns,
    ) -> None:
        self.wanted = wanted
        self.tracer = Tracer(Sampler(wanted.sample, follows=wanted.follows), self._record)
        self._export = export
        self._wall = wall

    def _record(self, exchange: TracedExchange) -> None:
        try:
            for span in spans_of(exchange, Clocks(monotonic(), self._wall())):
                self._export.send(span)
        except Exception:
            # A bug of ours must cost a span, and not the connection that tells of its exchange's end.
            log.exception("span lost")

    def hand_over(self, to: Pipeline) -> None:
        """What is still under way ends there, as this one's export is closed."""

        def record(exchange: TracedExchange) -> None:
            to.tracer.record(exchange)  # which may be another's by then

        self.tracer.record = record

    def fetched(self, event: FetchEvent) -> None:
        """A token, or none. The fetch belongs to the first exchange that waits for it, and is linked to the others; one that nobody
        waits for, ahead of the last one's end, is a trace of its own.
        """
        waiting: Sequence[TracedExchange] = self.tracer.waiting_for(event.slot)
        links = tuple(Link(one.trace_id, one.span_id) for one in waiting[1 : 1 + _MOST_LINKS])
        if waiting:
            trace_id, parent_id = waiting[0].trace_id, waiting[0].span_id
        else:
            trace_id, parent_id = trace_id_of(), 0
            if not self.tracer.takes_root(trace_id):
                return
        self._export.send(span_of_fetch(event, self._wall(), trace_id, span_id_of(), parent_id, links))

    async def close(self, limit: float = _FLUSH) -> None:
        """The last spans are out, or it has taken too long."""
        try:
            await Threads("tracing").run(self._export.close, limit)
        except TimeoutError:
            log.warning("the last spans are lost", endpoint=self.wanted.endpoint, waited=f"{limit:g} s")


async def pipeline_for(settings: Settings, before: Pipeline | None = None) -> Pipeline | None:
    """None where no spans are wanted; `before`, where that is it already. ConfigError."""
    wanted = settings.tracing
    if wanted is None:
        return None
    if before is not None and before.wanted == wanted:
        return before
    try:
        export = await Threads("tracing").run(functools.partial(_open, wanted), _OPENING)
    except TimeoutError:
        raise _refused(f"OpenTelemetry's SDK could not be read within {_OPENING:g} s") from None
    return Pipeline(wanted, export)


async def collector_doubts(settings: Settings) -> tuple[Problem, ...]:
    """For `doctor`: a collector that takes no spans. ConfigError."""
    wanted = settings.tracing
    if wanted is None:
        return ()
    try:
        said = await Threads("tracing").run(functools.partial(_try, wanted), _OPENING)
    except TimeoutError:
        said = "it does not answer"
    if said is None:
        return ()
    return (Problem("settings", 0, "tracing", f"{wanted.endpoint} takes no spans: {printable(said)}"),)


def _try(wanted: TracingSettings) -> str | None:
    from idtoken_proxy.tracing.export import try_export  # noqa: PLC0415

    try:
        return try_export(wanted.endpoint, wanted.egress_proxy, _TRYING)
    except ValueError as error:
        raise _refused(str(error)) from None


def _open(wanted: TracingSettings) -> Export:
    try:
        from idtoken_proxy.tracing.export import OtlpExport  # noqa: PLC0415 -- where nobody wants it, it is not imported
    except ImportError as error:
        raise _refused(f"OpenTelemetry's SDK cannot be imported: {error.msg}") from None
    try:
        return OtlpExport(wanted.endpoint, wanted.egress_proxy)
    except ValueError as error:  # what its own variables say
        raise _refused(str(error)) from None


def _refused(message: str) -> ConfigError:
    return ConfigError((Problem("settings", 0, "tracing", message),))
