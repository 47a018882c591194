"""Connections of HTTP/2 whose streams all stall, in both directions: what they hold together is limited, and by whose loss."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path
from typing import Any, Final

import pytest

from idtoken_proxy.build import BUILD
from idtoken_proxy.engine.http2.frames import build_headers
from idtoken_proxy.engine.http2_transport import READ_A_TURN
from idtoken_proxy.engine.memory_budget import DOWNWARDS
from idtoken_proxy.settings.model import Limits, UpstreamProtocol
from tests.deploy.test_memory import CONNECTION, PROXY
from tests.engine.http2.peer import GET, POST, block, data, headers
from tests.engine.wire import Receiver, Wire, connect, eventually
from tests.hostile.process import serving
from tests.hostile.raw_http2 import (
    ACKNOWLEDGED,
    CALL,
    LARGEST,
    OK,
    PREFACE,
    Attacked,
    Raw,
    attacked,
    settings,
    window,
)

MIB: Final = 1024 * 1024
STREAMS: Final = 250
WINDOW: Final = 256 * 1024
EXHAUSTED: Final = 8  # RESOURCE_EXHAUSTED
_FRAME: Final = bytes(16 * 1024)
_LONG: Final = block([*GET, (b"cookie", b"y" * 12_000)])


async def pours(wire: Wire) -> None:
    """A receiver that takes no body and answers with as much as it may."""
    raw = await Raw.receiver(wire, settings(streams=100, window=0) + ACKNOWLEDGED)
    told = set[int]()
    while not wire.ended:
        raw.look()
        for one in [one for one, seen in raw.streams.items() if one not in told and not seen.over]:
            told.add(one)
            raw.send(headers(one, OK), *[data(one, _FRAME)] * (WINDOW // len(_FRAME)))
        wire._news.clear()
        await wire._news.wait()


async def comes(port: int, *calls: bytes) -> Raw:
    """An app that reads nothing of any answer's body."""
    app = Raw(await connect(port))
    app.send(PREFACE, settings(window=0), ACKNOWLEDGED, *calls)
    return app


def calls(streams: int = STREAMS) -> bytes:
    return b"".join(headers(2 * one + 1, CALL) for one in range(streams))


async def uploads(app: Raw) -> None:
    """On each stream as much as its window allows."""
    credit = 65535
    for number in range(STREAMS):
        for _ in range(WINDOW // len(_FRAME)):
            credit -= len(_FRAME)
            await app.until(lambda app: credit + app.windows.get(0, 0) >= 0)  # noqa: B023
            app.send(data(2 * number + 1, _FRAME))


async def test_a_proxy_full_of_stalled_streams_keeps_to_the_formula(tmp_path: Path) -> None:
    long_heads = b"".join(build_headers(2 * one + 1, _LONG, 16384, end_stream=True) for one in range(STREAMS))
    limits: dict[str, Any] = {
        "limits": {"connections": 6},
        "timeouts": {"drain": "100ms"},
        "log": {"level": "info", "format": "json", "access": "off"},
    }
    most = 0
    async with Receiver(pours) as receiver, serving(tmp_path, receiver.port, **limits) as process:
        before = process.memory()
        assert before < PROXY * MIB

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, process.memory())
                await asyncio.sleep(0.01)

        watching = asyncio.ensure_future(watch())
        apps = [await comes(process.port, one) for one in [*[calls()] * 4, *[long_heads] * 2]]
        await asyncio.gather(*map(uploads, apps[:2]))
        watching.cancel()
        for app in apps:
            app.close()
    assert before + 6 * MIB // 2 < most  # they were at their worst
    assert most < (PROXY + 6 * CONNECTION) * MIB


async def test_who_holds_most_gives_way_and_nobody_else(tmp_path: Path) -> None:
    async with attacked(tmp_path, pours, limits=Limits(connections=2)) as world:
        small = await comes(world.port, calls(1))
        await small.until(lambda app: app.stream(1).heads)
        large = await comes(world.port, calls(STREAMS))
        await large.until(lambda app: any(seen.over for seen in app.streams.values()))
        await eventually(lambda: world.proxied.server.context.memory.octets < 2 * MIB, "it keeps more")
        small.look()
        assert not small.stream(1).over
        assert any(not seen.over for seen in large.streams.values())
        assert world.proxied.server.context.stats.limits["memory"] > 0
        small.send(window(0, WINDOW), window(1, WINDOW))
        await small.until(lambda app: len(app.stream(1).body) == WINDOW)
        small.close()
        large.close()


async def test_it_is_told_why(tmp_path: Path) -> None:
    """Where its answer has not begun: a receiver that takes no body."""

    async def takes_nothing(wire: Wire) -> None:
        await Raw.receiver(wire, settings(streams=100, window=0) + ACKNOWLEDGED)
        await wire.gone()

    async with attacked(tmp_path, takes_nothing, limits=Limits(connections=1)) as world:
        app = await comes(world.port, calls())
        await uploads(app)
        await app.until(lambda app: any(seen.over for seen in app.streams.values()))
        ended = [seen for seen in app.streams.values() if seen.over]
        assert {seen.grpc for seen in ended} == {EXHAUSTED}
        assert b"limits: {connections: ...}" in ended[0].all(b"grpc-message")[0]
        app.close()


async def test_an_app_that_reads_nothing_at_all_loses_its_connection(tmp_path: Path) -> None:
    """Whose windows hold nothing back: what is with the transport cannot be taken from it again."""
    async with attacked(tmp_path, pours, limits=Limits(connections=2)) as world:
        app = Raw(await connect(world.port))
        app.wire.stall()
        app.send(PREFACE, settings(window=LARGEST), window(0, 1 << 30), ACKNOWLEDGED, calls())
        await eventually(lambda: len(world.receiver.connections) == 3, "not all have come through")
        most = 0
        try:
            while world.attackers:
                most = max(most, *map(Attacked.weight, world.attackers))
                await asyncio.sleep(0.001)
        finally:
            app.close()
        # Before anybody looks, each connection to the receiver may have read its share of one turn.
        assert most < 2 * MIB + 3 * READ_A_TURN + MIB
        assert world.proxied.server.context.memory.octets == 0


async def test_connections_of_http1_that_its_streams_would_need_are_counted(tmp_path: Path) -> None:
    async def silent(wire: Wire) -> None:
        await wire.gone()

    limits, protocol = Limits(connections=4), UpstreamProtocol.HTTP1
    async with attacked(tmp_path, silent, limits=limits, protocol=protocol) as world:
        app = await comes(world.port, *(headers(2 * one + 1, POST) for one in range(40)))
        refused = 40 - 4 * MIB // DOWNWARDS
        await app.until(lambda app: sum(seen.status == 503 for seen in app.streams.values()) > refused)
        assert len(world.receiver.connections) <= 4 * MIB // DOWNWARDS
        for one in range(40):
            app.send(b"".join((b"\0\0\4\3\0", (2 * one + 1).to_bytes(4), b"\0\0\0\x08")))
        await eventually(lambda: world.proxied.server.context.memory.octets == 0, "it is not given back")
        app.close()


@pytest.mark.skipif(
    BUILD == "compiled",
    reason="what compiled code allocates is no file's; end_to_end/test_soak.py asks the kernel",
)
async def test_what_a_hundred_idle_streams_take(tmp_path: Path) -> None:
    """Of the app's connection and the receiver's, with all that is made for a stream; in octets that Python allocated. `whole`:
    both connections too.
    """
    streams = whole = 0

    async def silent(wire: Wire) -> None:
        await Raw.receiver(wire, settings(streams=100) + ACKNOWLEDGED)
        await wire.gone()

    async with attacked(tmp_path, silent) as world:
        apps = [await comes(world.port, calls(100))]
        await eventually(lambda: len(world.receiver.connections) == 1, "it does not come through")
        tracemalloc.start()
        try:
            for count in range(1, 5):
                before = _allocated()
                apps.append(await comes(world.port, calls(1)))
                await eventually(
                    lambda: world.upstream_streams == 100 * count + 1,  # noqa: B023
                    "it does not come through",
                )
                with_one = _allocated()
                apps[-1].send(*(headers(2 * one + 1, CALL) for one in range(1, 100)))
                await eventually(lambda: world.upstream_streams == 100 * count + 100, "not all come through")  # noqa: B023
                after = _allocated()
                assert len(world.receiver.connections) == count + 1
                streams += after - with_one
                whole += after - before
        finally:
            tracemalloc.stop()
        for app in apps:
            app.close()
    assert streams / 4 < 64 * 1024
    assert whole / 4 < 92 * 1024


def _allocated() -> int:
    gc.collect()
    ours = tracemalloc.Filter(inclusive=True, filename_pattern="*/idtoken_proxy/*")
    return sum(one.size for one in tracemalloc.take_snapshot().filter_traces((ours,)).statistics("filename"))
