"""What a peer has yet to take, wherever on this side it waits."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from idtoken_proxy.engine.send_queue import unsent
from tests.engine.conftest import Receive
from tests.engine.wire import Wire, connect, eventually

MUCH = 20_000_000


async def test_it_goes_down_as_the_peer_reads_and_not_before(receive: Receive) -> None:
    async def reads_nothing(wire: Wire) -> None:
        wire.stall()

    receiver = await receive(reads_nothing)
    near = await connect(receiver.port)
    far = await receiver.connection()
    assert unsent(near.transport) == 0
    near.send(bytes(MUCH))
    before = -1
    while before != (before := unsent(near.transport)):  # what the kernels take, they take soon
        await asyncio.sleep(0.2)
    assert near.transport.get_write_buffer_size() < before < MUCH
    far.go_on()
    await eventually(lambda: unsent(near.transport) < before, "nothing has gone")
    await far.wait(lambda: len(far.received) == MUCH)
    await eventually(lambda: unsent(near.transport) == 0, "something is left")
    near.close()


class Bare:
    """A transport that is closed, or that never had a socket."""

    def __init__(self, connected: Bare | None = None) -> None:
        self._connected = connected

    def get_write_buffer_size(self) -> int:
        return 5

    def get_extra_info(self, _name: str) -> Bare | None:
        return self._connected

    def fileno(self) -> int:
        return -1


def test_without_a_socket_it_is_what_the_transport_holds() -> None:
    for bare in (Bare(), Bare(Bare())):
        assert unsent(cast("asyncio.Transport", bare)) == 5


class OfMacOs(Bare):
    """macOS' kernel answers getsockopt(2) and no ioctl(2): bsd/sys/socket.h of XNU."""

    def fileno(self) -> int:
        return 0

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, 0x1024)
        return 7


def test_macos_is_asked_in_its_own_way() -> None:
    bare = Bare(OfMacOs())
    assert unsent(cast("asyncio.Transport", bare), "darwin") == 12
