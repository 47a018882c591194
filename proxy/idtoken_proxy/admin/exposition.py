"""/metrics: the families of metrics.py written down as Prometheus reads them, in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import time
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from idtoken_proxy.admin.metrics import ProxyCollector
from idtoken_proxy.admin.status import StatusSource

_EOF: Final = b"# EOF\n"  # where OpenMetrics ends


class Exposition:
    """`wall`: Unix seconds."""

    def __init__(self, server: StatusSource, wall: Callable[[], float] = time) -> None:
        self._collector = ProxyCollector(server, wall)
        self._process = ProcessCollector(registry=None)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type. Between two pieces the event loop is somebody else's: ten thousand routes take two seconds.
        In a thread they would hold it up at every turn, and by what they leave to Python's collector.
        """
        encode, content_type = choose_encoder(accept)
        self._collector.look()
        written: list[bytes] = []
        name = ""
        for part in self._collector.parts():
            if part is not None:
                written.append(_written(encode, part, continued=part.name == name))
                name = part.name
            await asyncio.sleep(0)
        process = await asyncio.to_thread(lambda: list(self._process.collect()))  # reads files
        written += [_written(encode, family, continued=False) for family in process]
        if content_type.startswith("application/openmetrics-text"):
            written.append(_EOF)
        return b"".join(written), content_type


class _One(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _written(encode: Callable[[Collector], bytes], part: Metric, *, continued: bool) -> bytes:
    """`continued`: the lines that tell of the whole family stand before it already."""
    text = encode(_One(part)).removesuffix(_EOF)
    while continued and text.startswith(b"# "):  # no sample begins so, and no help has a line end
        text = text[text.index(b"\n") + 1 :]
    return text
