"""Other implementations of HTTP/2 behind one shape: h2 (Python) and nghttp2 (by ngh2). Oracles, never a dependency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import h2.config
import h2.connection
import h2.events
import h2.settings
import ngh2

from tests.engine.http2.peer import Pair


@dataclass
class Message:
    """What came on one stream."""

    pairs: list[Pair] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Pair] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None


class Other(Protocol):
    messages: dict[int, Message]

    def receive(self, octets: bytes) -> None: ...
    def output(self) -> bytes: ...
    def send(
        self, stream_id: int, pairs: Sequence[Pair], body: Sequence[bytes], trailers: Sequence[Pair]
    ) -> None: ...
    def settle(self, settings: Mapping[int, int]) -> None: ...


class H2:
    """`client`: whether it plays one."""

    def __init__(self, *, client: bool, settings: Mapping[int, int]) -> None:
        config = h2.config.H2Configuration(
            client_side=client,
            header_encoding=None,
            normalize_outbound_headers=False,
            validate_outbound_headers=False,
        )
        self._connection = h2.connection.H2Connection(config)
        self._client = client
        self._connection.initiate_connection()
        self.settle(settings)  # what it is made with is not all acted upon
        self.messages: dict[int, Message] = {}
        self._waiting: dict[int, tuple[list[bytes], list[Pair]]] = {}

    def settle(self, settings: Mapping[int, int]) -> None:
        # A larger MAX_FRAME_SIZE it forgets for what comes in one read with the acknowledgment.
        settings = {name: value for name, value in settings.items() if name != 5}
        self._connection.update_settings({h2.settings.SettingCodes(k): v for k, v in settings.items()})

    def send(
        self, stream_id: int, pairs: Sequence[Pair], body: Sequence[bytes], trailers: Sequence[Pair]
    ) -> None:
        self._connection.send_headers(stream_id, pairs, end_stream=not body and not trailers)
        if body or trailers:
            self._waiting[stream_id] = list(body), list(trailers)
            self._go_on()

    def _go_on(self) -> None:
        """As far as the windows allow."""
        for stream_id, (body, trailers) in list(self._waiting.items()):
            while body:
                room = min(
                    self._connection.local_flow_control_window(stream_id),
                    self._connection.max_outbound_frame_size,
                )
                piece = body[0][: max(0, room)]
                if not piece and body[0]:
                    break
                body[0] = body[0][len(piece) :]
                if not body[0]:
                    del body[0]
                self._connection.send_data(stream_id, piece, end_stream=not body and not trailers)
            if not body:
                del self._waiting[stream_id]
                if trailers:
                    self._connection.send_headers(stream_id, trailers, end_stream=True)

    def receive(self, octets: bytes) -> None:
        for event in self._connection.receive_data(octets):
            self._on(event)
        self._go_on()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            self._at(event.stream_id).pairs = _pairs(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            self._at(event.stream_id).trailers = _pairs(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._at(event.stream_id).body += event.data or b""
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._at(event.stream_id).ended = True
        elif isinstance(event, h2.events.StreamReset):
            self._at(event.stream_id).reset = int(event.error_code)
            self._waiting.pop(event.stream_id, None)

    def _at(self, stream_id: int | None) -> Message:
        assert stream_id is not None
        return self.messages.setdefault(stream_id, Message())

    def output(self) -> bytes:
        return self._connection.data_to_send()


class Nghttp2:
    def __init__(self, *, client: bool, settings: Mapping[int, int]) -> None:
        self._connection = ngh2.Connection(ngh2.Role.CLIENT if client else ngh2.Role.SERVER)
        self._client = client
        self._connection.initiate_connection(dict(settings))
        self.messages: dict[int, Message] = {}

    def settle(self, settings: Mapping[int, int]) -> None:
        self._connection.update_settings(dict(settings))

    def send(
        self, stream_id: int, pairs: Sequence[Pair], body: Sequence[bytes], trailers: Sequence[Pair]
    ) -> None:
        end = not body and not trailers
        if self._client:
            assert self._connection.send_request(pairs, end_stream=end) == stream_id
        else:
            self._connection.send_response(stream_id, pairs, end_stream=end)
        for number, piece in enumerate(body, 1):
            self._connection.send_data(stream_id, piece, end_stream=number == len(body) and not trailers)
        if trailers:
            self._connection.send_trailers(stream_id, trailers)

    def receive(self, octets: bytes) -> None:
        self._connection.receive_data(octets)
        for event in self._connection.events():
            self._on(event)

    def _on(self, event: ngh2.Event) -> None:
        if isinstance(event, ngh2.RequestReceived | ngh2.ResponseReceived):
            message = self._at(event.stream_id)
            message.pairs = _pairs(event.headers)
            message.ended = event.end_stream
        elif isinstance(event, ngh2.TrailersReceived):
            message = self._at(event.stream_id)
            message.trailers = _pairs(event.headers)
            message.ended = True
        elif isinstance(event, ngh2.DataReceived):
            message = self._at(event.stream_id)
            message.body += event.data
            message.ended = event.end_stream
        elif isinstance(event, ngh2.StreamReset):
            self._at(event.stream_id).reset = event.error_code

    def _at(self, stream_id: int) -> Message:
        return self.messages.setdefault(stream_id, Message())

    def output(self) -> bytes:
        return self._connection.data_to_send()


def _pairs(headers: object) -> list[Pair]:
    assert isinstance(headers, list | tuple)
    return [(bytes(name), bytes(value)) for name, value in headers]


OTHERS: dict[str, type[H2 | Nghttp2]] = {"h2": H2, "nghttp2": Nghttp2}
