from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from idtoken_proxy.settings.model import TracingSettings
from idtoken_proxy.tracing.pipeline import Pipeline
from idtoken_proxy.tracing.spans import Span
from tests.engine.conftest import receive, start, token, token_file
from tests.engine.proxied import Proxied

__all__ = ["receive", "start", "token", "token_file"]


@dataclass
class Kept:
    """An export that goes nowhere."""

    spans: list[Span] = field(default_factory=list)
    closed: bool = False

    def send(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None:
        self.closed = True

    @property
    def exchanges(self) -> list[Span]:
        """Without those of tokens."""
        return [span for span in self.spans if span.kind != "internal"]

    def one(self, kind: str) -> Span:
        (span,) = [span for span in self.spans if span.kind == kind]
        return span


Trace = Callable[..., Kept]


@pytest.fixture
def trace() -> Trace:
    """Where the spans of a running proxy go from now on."""

    def begin(proxied: Proxied, sample: float = 1.0) -> Kept:
        kept = Kept()
        proxied.server._spans.use(Pipeline(TracingSettings(sample=sample), kept), [proxied.server.context])
        return kept

    return begin
