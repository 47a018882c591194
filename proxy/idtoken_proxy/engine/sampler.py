"""Which traces are recorded (https://opentelemetry.io/docs/specs/otel/trace/sdk/#built-in-samplers)."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.trace import Trace

_ALL: Final = 1 << 64


class Sampler:
    """`ratio`: of traces that begin here, from 0 to 1. `follows`: where the app brings a span of its own, that one's flag says."""

    __slots__ = ("_bound", "_follows")

    def __init__(self, ratio: float, *, follows: bool) -> None:
        self._bound = round(ratio * _ALL)
        self._follows = follows

    def takes(self, trace_id: int, parent: Trace | None) -> bool:
        """By the ID's lower half, as TraceIdRatioBased does: who samples at the same ratio takes the same traces."""
        if parent is not None and self._follows:
            return parent.sampled
        return trace_id % _ALL < self._bound
