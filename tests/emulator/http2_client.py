"""A client of HTTP/2 whose frames are a test's own: h2's, on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import h2.config
import h2.connection
import h2.events


@dataclass
class Came:
    """What came on one stream so far."""

    interim: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    head_ended_it: bool = False
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers[":status"])

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    """`goaways`: (code, last stream's id). `gives_credit`: for DATA, as it comes."""

    def __init__(self, authority: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.authority = authority
        self.streams: dict[int, Came] = {}
        self.goaways: list[tuple[int, int]] = []
        self.gives_credit = True
        self.closed = False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._reader = reader
        self._writer = writer
        self._news = asyncio.Condition()
        self.h2.initiate_connection()
        self.flush()
        self._reading = asyncio.ensure_future(self._read())

    @property
    def agreed(self) -> str | None:
        """The protocol, over TLS."""
        agreed: str | None = self._writer.get_extra_info("ssl_object").selected_alpn_protocol()
        return agreed

    def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())

    def request(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET", body: bytes | None = b""
    ) -> int:
        """The stream's id. `body`: None leaves it open."""
        stream_id = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", self.authority), (":path", path)]
        self.streams[stream_id] = Came()
        self.h2.send_headers(stream_id, [*head, *fields], end_stream=body == b"")
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        self.flush()
        return stream_id

    async def send(self, stream_id: int, body: bytes, patience: float = 10) -> int:
        """How much of it the windows let out, each within `patience` seconds."""
        at = 0
        while at < len(body):
            try:
                async with asyncio.timeout(patience):
                    await self.until(lambda: self.h2.local_flow_control_window(stream_id) > 0)
            except TimeoutError:
                break
            size = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream_id, body[at : at + size])
            self.flush()
            at = min(at + size, len(body))
        return at

    async def answer(self, stream_id: int) -> Came:
        """Once it is over."""
        await self.until(lambda: self.streams[stream_id].is_over)
        return self.streams[stream_id]

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: holds() or self.closed)
        assert holds()

    async def _read(self) -> None:
        while frame := await self._frame():
            for event in self.h2.receive_data(frame):
                self._take(event)
            self.flush()
            await self._tell()
        self.closed = True
        await self._tell()

    async def _frame(self) -> bytes:
        try:
            head = await self._reader.readexactly(9)
            return head + await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except (ConnectionError, asyncio.IncompleteReadError):
            return b""

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.InformationalResponseReceived():
                self.streams[_id(event.stream_id)].interim.append(int(dict(_pairs(event.headers))[":status"]))
            case h2.events.ResponseReceived():
                came = self.streams[_id(event.stream_id)]
                came.headers = dict(_pairs(event.headers))
                came.head_ended_it = event.stream_ended is not None
            case h2.events.TrailersReceived():
                self.streams[_id(event.stream_id)].trailers = dict(_pairs(event.headers))
            case h2.events.DataReceived():
                self.streams[_id(event.stream_id)].body += event.data or b""
                if self.gives_credit and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, _id(event.stream_id))
            case h2.events.StreamEnded():
                self.streams[_id(event.stream_id)].ended = True
            case h2.events.StreamReset():
                self.streams[_id(event.stream_id)].reset = int(event.error_code or 0)
            case h2.events.ConnectionTerminated():
                self.goaways.append((int(event.error_code or 0), event.last_stream_id or 0))
                # h2 takes it for the end; its sender still has streams to bring to theirs.
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


def _id(stream_id: int | None) -> int:
    assert stream_id is not None
    return stream_id


def _pairs(headers: Iterable[Any] | None) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in headers or ()]


@asynccontextmanager
async def connected(url: str, tls: SSLContext | None = None) -> AsyncIterator[Http2Client]:
    authority = url.partition("://")[2].partition("/")[0]
    host, _, port = authority.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
    client = Http2Client(authority, reader, writer)
    try:
        yield client
    finally:
        await client.close()
