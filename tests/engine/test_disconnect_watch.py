"""Peers that go while nothing is read from them; through a whole proxy in test_downstream.py and test_exchange.py."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from blockbuster import BlockingError

from idtoken_proxy.engine.disconnect_watch import DisconnectWatch
from tests.engine.conftest import Receive
from tests.engine.wire import PATIENCE, Receiver, Wire, connect, eventually

INTERVAL = 0.03  # seconds


class Held:
    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.noticed = asyncio.Event()

    def hung_up(self) -> None:
        assert not self.noticed.is_set()
        self.noticed.set()


async def _silent(wire: Wire) -> None:
    wire.stall()


async def _pair(receiver: Receiver) -> tuple[Wire, Wire]:
    near = await connect(receiver.port)
    return near, await receiver.connection(len(receiver.connections) - 1 if receiver.connections else 0)


@pytest.mark.parametrize("way", [Wire.close, Wire.reset, Wire.half_close])
async def test_whoever_goes_is_noticed_once(receive: Receive, way: Callable[[Wire], None]) -> None:
    near, far = await _pair(await receive(_silent))
    near.send(b"what nobody reads")
    held = Held(far.transport)
    disconnect_watch = DisconnectWatch(INTERVAL)
    disconnect_watch.watch(held)
    await asyncio.sleep(3 * INTERVAL)
    assert not held.noticed.is_set()  # neither by silence nor by what is still to be read
    way(near)
    async with asyncio.timeout(PATIENCE):
        await held.noticed.wait()
    await asyncio.sleep(3 * INTERVAL)
    near.transport.abort()
    disconnect_watch.close()


async def test_who_is_not_watched_any_more_is_not_told(receive: Receive) -> None:
    near, far = await _pair(await receive(_silent))
    held = Held(far.transport)
    disconnect_watch = DisconnectWatch(INTERVAL)
    disconnect_watch.watch(held)
    disconnect_watch.unwatch(held)
    disconnect_watch.unwatch(held)
    near.close()
    await asyncio.sleep(3 * INTERVAL)
    assert not held.noticed.is_set()
    disconnect_watch.close()


async def test_a_closing_connection_is_not_asked(receive: Receive) -> None:
    """Its descriptor may be another's by now."""
    near, far = await _pair(await receive(_silent))
    held = Held(far.transport)
    disconnect_watch = DisconnectWatch(INTERVAL)
    disconnect_watch.watch(held)
    far.transport.abort()
    await near.gone()
    await asyncio.sleep(3 * INTERVAL)
    assert not held.noticed.is_set()
    disconnect_watch.close()
    near.close()


async def test_a_blocking_call_on_the_loop_would_not_go_unseen(
    receive: Receive, unhandled: list[dict[str, Any]]
) -> None:
    """Uvloop's own calls are in C, and the engine's are seen all the same."""

    class Sleepy(Held):
        @property
        def transport(self) -> asyncio.Transport:
            if asyncio.current_task() is None:  # in a callback of the engine's
                time.sleep(0)
            return self.real

        @transport.setter
        def transport(self, real: asyncio.Transport) -> None:
            self.real = real

    near, far = await _pair(await receive(_silent))
    disconnect_watch = DisconnectWatch(INTERVAL)
    disconnect_watch.watch(Sleepy(far.transport))
    await eventually(lambda: bool(unhandled), "it went unseen")
    (context,) = unhandled
    assert isinstance(context["exception"], BlockingError)
    unhandled.clear()
    disconnect_watch.close()
    near.close()


async def test_one_whose_descriptor_is_closed_already_is_not_watched() -> None:
    closed = socket.socket()
    closed.close()
    disconnect_watch = DisconnectWatch(INTERVAL)
    disconnect_watch.watch(Held(asyncio.Transport({"socket": closed})))
    assert disconnect_watch.idle
    disconnect_watch.close()
