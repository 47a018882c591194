"""When a connection of HTTP/2 is read, whoever of both sides is slow. What is written is seen in test_http2_downstream.py."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from idtoken_proxy.engine.http2.connection import Connection
from idtoken_proxy.engine.http2.dispatcher import MAX_UNWRITTEN_ANSWERS
from idtoken_proxy.engine.http2_transport import Http2Transport
from tests.engine.wire import eventually


class Stub(asyncio.Transport):
    """Of whatever is written, a little stays behind: less than what its owner is told of."""

    def __init__(self) -> None:
        self.left = 0
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.left

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.left = 1000

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Answering:
    """A core that answers whatever comes with more than may be unwritten."""

    failure = None
    put_off = False
    output_octets = 0
    waiting = 0

    @property
    def wants_input(self) -> bool:
        return self.waiting <= MAX_UNWRITTEN_ANSWERS

    def receive(self, _: bytes) -> None:
        self.waiting = self.output_octets = MAX_UNWRITTEN_ANSWERS + 1

    def take_output(self) -> list[bytes]:
        self.output_octets = 0
        return [b"answers"]

    def written(self) -> None:
        self.waiting = 0


@pytest.mark.parametrize("octets", [1000, 2 * 1024 * 1024])
async def test_it_is_read_again_once_the_peer_has_read(octets: int) -> None:
    """Also where as much came at once as stops reading by itself, for the turn."""
    connection, transport = Http2Transport[Connection](), Stub()
    connection.core = cast("Connection", Answering())
    connection.connection_made(transport)
    connection.data_received(bytes(octets))
    await eventually(lambda: transport.left > 0, "nothing was written")
    assert not transport.reading
    transport.left = 0
    await eventually(lambda: transport.reading, "it is never read again")
