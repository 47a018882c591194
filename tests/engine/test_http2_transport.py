"""When a connection of HTTP/2 is read, whoever of both sides is slow. What is written is seen in test_http2_downstream.py."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from idtoken_proxy.engine.http2.dispatcher import MAX_UNWRITTEN_ANSWERS
from idtoken_proxy.engine.http2.frames import PREFACE, build_ping, build_settings, frame
from idtoken_proxy.engine.http2.server_connection import ServerConnection
from idtoken_proxy.engine.http2.settings import Limits
from idtoken_proxy.engine.http2_transport import Http2Transport
from tests.engine.http2.peer import Recorder
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


def flood() -> bytes:
    """What makes a core answer with more than may be unwritten."""
    return build_ping(bytes(8)) * (MAX_UNWRITTEN_ANSWERS // len(build_ping(bytes(8))) + 1)


@pytest.mark.parametrize("more", [b"", frame(0xFA, 0, 0, bytes(16 * 1024)) * 128], ids=["", "2 MiB"])
async def test_it_is_read_again_once_the_peer_has_read(more: bytes) -> None:
    """Also where as much came at once as stops reading by itself, for the turn."""
    connection, transport = Http2Transport[ServerConnection](), Stub()
    hours = count(step=3600)  # so that no budget for such frames runs out
    connection.core = ServerConnection(Recorder(), Limits(), lambda: float(next(hours)))
    connection.connection_made(transport)
    connection.data_received(PREFACE + build_settings({}) + flood() + more)
    assert connection.core.failure is None
    await eventually(lambda: transport.left > 0, "nothing was written")
    assert not transport.reading
    transport.left = 0
    await eventually(lambda: transport.reading, "it is never read again")
