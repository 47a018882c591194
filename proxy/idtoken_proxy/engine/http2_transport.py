"""A connection of HTTP/2 on its transport: what is to be written goes out once a turn of the loop, whatever made it.

A turn in which a hundred requests of one connection become requests on another writes once on each.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, Generic, TypeVar, cast

from idtoken_proxy.engine.http2.connection import Connection

WRITE_HIGH_WATER: Final = 64 * 1024
# To hand over each piece by itself costs more than to copy it; what is copied into more than this, the allocator takes from the
# kernel page by page.
_JOINED: Final = 64 * 1024
# The loop reads one socket as often as 32 times in a row: what it could take in before anybody is told to stop is 8 MiB. Who
# keeps to the connection's window sends less than this before our output, and with it more credit, goes out.
READ_A_TURN: Final = 1280 * 1024
_ASK_AGAIN: Final = 0.02  # seconds
# Of a peer's that does not read: beyond what its streams may have under way, it gets nothing more out of us.
_MOST_UNREAD: Final = 1024 * 1024

clock = monotonic
Core = TypeVar("Core", bound=Connection)


class Http2Transport(asyncio.Protocol, Generic[Core]):
    """`core`: set by who derives from this, before anything is received. `paused`: the peer reads slower than it is
    written to.
    """

    core: Core
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.paused = False
        self._reading = True
        self._read = 0  # octets, since the last flush
        self._flushing = False
        self._loop = asyncio.get_running_loop()
        self._call_soon = self._loop.call_soon

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's have another base class
        transport.set_write_buffer_limits(WRITE_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self.core.receive(data)
        self._read += len(data)
        if self._read > READ_A_TURN and self._reading:
            self._stop_reading()
        if not self._flushing and self.unsettled:
            self.soon()

    @property
    def unsettled(self) -> bool:
        """Whether what was read makes a flush needed: a request or an answer that is passed on often gives this side nothing to
        write.
        """
        core = self.core
        return core.output_octets > 0 or core.put_off or self.wants_input != self._reading

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.core.written()
        self.soon()

    @property
    def clogged(self) -> bool:
        return self.paused and self.transport.get_write_buffer_size() > _MOST_UNREAD

    @property
    def wants_input(self) -> bool:
        return self.core.wants_input

    def soon(self) -> None:
        """Something may have to be written."""
        if not self._flushing:
            self._flushing = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._read = 0
        self.flush()

    def flush(self) -> None:
        core, transport = self.core, self.transport
        octets, parts = core.output_octets, core.take_output()
        if transport.is_closing():
            return
        if parts:
            if octets <= _JOINED:
                transport.write(b"".join(parts))
            else:
                _write_some_at_a_time(transport, parts)
        if not transport.get_write_buffer_size():
            core.written()
        if core.put_off and not self.clogged:
            core.go_on()
            self.soon()
        elif core.output_octets:  # of frames that waited for `written`
            self.soon()
        if self.wants_input != self._reading:
            self._settle_reading()

    def _settle_reading(self) -> None:
        """A peer that makes us answer and does not read the answers is not read either (CVE-2019-9512)."""
        if self.core.failure is not None or self.transport.is_closing():
            return
        if self.wants_input:
            self._reading = True
            self.transport.resume_reading()
        else:
            self._stop_reading()

    def _stop_reading(self) -> None:
        """Whatever it is for, some other reason may be there by the time that one is gone, and nobody tells of its end."""
        self._reading = False
        self.transport.pause_reading()
        self._loop.call_later(_ASK_AGAIN, self._ask_again)

    def _ask_again(self) -> None:
        if not self._reading and not self.transport.is_closing():
            if not self.paused and not self.transport.get_write_buffer_size():
                self.core.written()
                self.soon()
            else:
                self._loop.call_later(_ASK_AGAIN, self._ask_again)


def _write_some_at_a_time(transport: asyncio.Transport, parts: list[bytes | memoryview]) -> None:
    some: list[bytes | memoryview] = []
    octets = 0
    for part in parts:
        some.append(part)
        octets += len(part)
        if octets >= _JOINED:
            transport.write(b"".join(some))
            some, octets = [], 0
    if some:
        transport.write(b"".join(some))
