"""The admin listener's limits, with real sockets and short times."""

from __future__ import annotations

import asyncio
from typing import Any, Self, cast

import pytest
import structlog

from idtoken_proxy.admin.connections import Connections
from idtoken_proxy.engine.listeners import Listeners
from idtoken_proxy.settings.model import TcpAddress

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answering(asyncio.Protocol):
    """As aiohttp's: says when a head has come, and answers."""

    def __init__(self, made: Connections, body: bytes = b"ok") -> None:
        self._made = made
        self._body = body
        self._head = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's have another base class

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            self._head = b""
            connection = self._made.of(self.transport)
            assert connection is not None
            connection.begin()
            self.transport.write(self._body)
            connection.answer()


class World:
    def __init__(self, head_timeout: float, body: bytes = b"ok", **limits: Any) -> None:
        self.made = Connections(lambda: Answering(self.made, body), lambda: head_timeout, **limits)
        self._listeners = Listeners(lambda _: self.made())
        self._wires: list[Wire] = []

    async def __aenter__(self) -> Self:
        await self._listeners.listen([TcpAddress("127.0.0.1", 0)])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listeners.close()
        self.made.close()
        for _reader, writer in self._wires:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def connect(self) -> Wire:
        (address,) = self._listeners.bound
        assert isinstance(address, TcpAddress)
        self._wires.append(await asyncio.open_connection(address.host, address.port))
        return self._wires[-1]


async def answered(wire: Wire, size: int = 2) -> bytes:
    wire[1].write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(5):
        return await wire[0].readexactly(size)


async def gone(wire: Wire) -> bool:
    try:
        async with asyncio.timeout(5):
            return not await wire[0].read(1)
    except ConnectionResetError:
        return True


async def test_up_to_the_limit_and_no_further() -> None:
    async with World(60, most=3) as world:
        inside = [await world.connect() for _ in range(3)]
        with structlog.testing.capture_logs() as logged:
            assert await gone(await world.connect())
        assert world.made.refused == 1
        assert [line["event"] for line in logged] == ["too many connections to the admin listener"]
        for wire in inside:
            assert await answered(wire) == b"ok"


async def test_one_that_rests_makes_room() -> None:
    async with World(60, most=2) as world:
        resting, silent = await world.connect(), await world.connect()
        assert await answered(resting) == b"ok"
        late = await world.connect()
        assert await gone(resting)
        assert await answered(late) == b"ok"
        assert await answered(silent) == b"ok"


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: "])
async def test_who_finishes_no_head_is_cut_off(said: bytes) -> None:
    async with World(0.05) as world:
        wire = await world.connect()
        wire[1].write(said)
        assert await gone(wire)


async def test_nor_does_a_head_that_comes_octet_by_octet_last() -> None:
    async with World(0.1) as world:
        wire = await world.connect()
        assert await answered(wire) == b"ok"
        ended = asyncio.ensure_future(gone(wire))
        while not ended.done():
            wire[1].write(b"x")
            await asyncio.sleep(0.01)
        assert await ended


async def test_a_scraper_s_connection_rests_for_longer_than_a_head_may_take() -> None:
    async with World(0.02, keepalive=60.0) as world:
        wire = await world.connect()
        assert await answered(wire) == b"ok"
        await asyncio.sleep(0.1)
        assert await answered(wire) == b"ok"
    async with World(0.02, keepalive=0.05) as world:
        wire = await world.connect()
        assert await answered(wire) == b"ok"
        assert await gone(wire)


async def test_an_answer_that_nobody_takes_is_not_kept() -> None:
    """More than the kernel's buffers hold."""
    size = 64 * 1024 * 1024
    async with World(0.02, b"x" * size, taking=0.1) as world:
        reader, writer = await world.connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")  # and reads nothing: a StreamReader stops at its limit
        async with asyncio.timeout(5):
            while world.made.busy:
                await asyncio.sleep(0.02)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(size)
