"""Where spans go, over reloads. The exporter's modules are imported only if spans are wanted."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.settings.model import Settings

if TYPE_CHECKING:
    from idtoken_proxy.tracing.pipeline import Pipeline


class SpanExport:
    """Call `prepare`, then `adopt` and `retire`; or `discard`, if a reload is refused."""

    def __init__(self) -> None:
        self._current: Pipeline | None = None
        self._next: Pipeline | None = None
        self._left: Pipeline | None = None

    async def prepare(self, settings: Settings) -> None:
        """Opens what `settings` want, or keeps what is open if that is the same. Raises ConfigError."""
        self._next = None
        if settings.tracing is not None:
            pipeline = await asyncio.to_thread(importlib.import_module, "idtoken_proxy.tracing.pipeline")
            self._next = await pipeline.pipeline_for(settings, self._current)

    def adopt(self, contexts: Iterable[ServerContext]) -> None:
        """From now on the prepared pipeline takes the spans of `contexts`."""
        prepared, self._next = self._next, None
        self.use(prepared, contexts)

    def use(self, pipeline: Pipeline | None, contexts: Iterable[ServerContext]) -> None:
        """As `adopt`, with a pipeline made elsewhere. Spans already begun go to the old one."""
        before, self._current = self._current, pipeline
        if before is not None and before is not self._current:
            self._left = before
            if self._current is not None:
                before.hand_over(self._current)
        self.follow(contexts)

    def follow(self, contexts: Iterable[ServerContext]) -> None:
        """Samples the exchanges of these contexts."""
        tracer = None if self._current is None else self._current.tracer
        for context in contexts:
            context.trace(tracer)

    def fetched(self, event: FetchEvent) -> None:
        if self._current is not None:
            self._current.fetched(event)

    async def retire(self) -> None:
        """Ends the pipeline that was there before `adopt`."""
        left, self._left = self._left, None
        if left is not None:
            await left.close()

    async def discard(self) -> None:
        opened, self._next = self._next, None
        if opened is not None and opened is not self._current:
            await opened.close()

    async def close(self) -> None:
        if self._current is not None:
            await self._current.close()
