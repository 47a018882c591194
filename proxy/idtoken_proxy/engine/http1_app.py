"""What an HTTP/1.1 app is sent: heads, framing, Connection lines and chunks, and whether another request may follow.

The exchange says what the app is to be told (streams.py); how HTTP/1.1 says it is decided here alone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from idtoken_proxy.engine import local_responses
from idtoken_proxy.engine.body import LAST_CHUNK, chunk
from idtoken_proxy.engine.framing import answer_framing
from idtoken_proxy.engine.send_queue import unsent
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.policy import cors
from idtoken_proxy.policy.headers import inbound_head
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.policy.tunnelled import Tunnelled
from idtoken_proxy.settings.model import Route

_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
_UPGRADED: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
_RESET: Final = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: on, 0 seconds


class Drains(Protocol):
    """The front. `draining`: no request is begun any more."""

    draining: bool


class Http1App(asyncio.Protocol):
    """The writing half of a connection from an app; downstream.py has the reading half. Each `send_*` returns the octets
    that it wrote.

    `request`: the current one; None where its head could not be read. `request_complete`: its body, if any, has been read
    whole. `keep`: another request may follow.
    """

    transport: asyncio.Transport

    def __init__(self, drains: Drains) -> None:
        self._drains = drains
        self.request: Request | None = None
        self.request_complete = True
        self.keep = True
        self.tunnelled: Tunnelled | None = None  # since a CONNECT
        self._until_close = False  # the connection's end is the answer's
        self._unsent: int | None = None  # when it was last looked at
        self._chunked = False  # the answer's body goes out in chunks

    # -- the receiver's answer -------------------------------------------------

    def send_interim(self, response: Response) -> int:
        request = self.request
        assert request is not None
        if request.http10:  # which knows no 1xx (RFC 9110 section 15.2)
            return 0
        return self._write(inbound_head(response, b"", b""))

    def send_head(self, response: Response, body: bytes | None) -> int:
        """`body`: the whole of it, which ends the answer; None where it follows."""
        request = self.request
        assert request is not None
        framing, length, self._chunked, bounded = answer_framing(request, response)
        if length is None and body is not None:  # a head of HTTP/2 that is its own end, and tells no length
            framing, self._chunked, bounded = b"Content-Length: %d\r\n" % len(body), False, True
        # What an app sent behind an upgrade that was refused is not HTTP, so nothing more is read from it.
        self.keep = keep = (
            bounded
            and request.keep_alive
            and self.request_complete
            and not self._drains.draining
            and not request.websocket
        )
        self._until_close = not bounded
        connection = _CLOSE if not keep else _KEEP_ALIVE if request.http10 else b""
        return self._write(inbound_head(response, framing, connection, body or b""))

    def send_data(self, payload: bytes, *, end: bool = False) -> int:
        """`payload` is not empty."""
        if self._chunked:
            payload = chunk(payload) + LAST_CHUNK if end else chunk(payload)
        self.transport.write(payload)
        return len(payload)

    def send_end(self, trailers: Sequence[bytes]) -> int:
        """`trailers`: field lines, which go out where the body goes in chunks."""
        if not self._chunked:
            return 0
        return self._write(b"0\r\n" + b"".join(trailers) + b"\r\n" if trailers else LAST_CHUNK)

    def send_switch(self, response: Response) -> int:
        """The 101, behind which there are no messages."""
        return self._write(inbound_head(response, b"", _UPGRADED))

    # -- the proxy's own answers -----------------------------------------------

    def send_problem(self, error: ProxyError, route: Route | None) -> int:
        """`route`: where there is one."""
        request = self.request
        self.keep = (
            request is not None
            and request.keep_alive
            and not error.closes
            and self.request_complete
            and not self._drains.draining
        )
        return self._write(
            local_responses.problem(
                error,
                route,
                head_only=request is not None and request.method == b"HEAD",
                closes=not self.keep,
                http10=request is not None and request.http10,
                readable_by=cors.problem_lines(request),
            )
        )

    def send_preflight(self, lines: bytes) -> int:
        """A browser's question, answered with `lines` (cors.py)."""
        request = self.request
        assert request is not None
        self.keep = request.keep_alive and self.request_complete and not self._drains.draining
        return self._write(local_responses.preflight(lines, closes=not self.keep))

    def send_established(self, tunnelled: Tunnelled) -> int:
        """A CONNECT, answered. `Connection: close`, which some send with it, is not the tunnel's."""
        self.keep = not self._drains.draining
        self.tunnelled = tunnelled
        return self._write(local_responses.ESTABLISHED)

    def _write(self, wire: bytes) -> int:
        self.transport.write(wire)
        return len(wire)

    # -- the end ---------------------------------------------------------------

    def cut(self) -> None:
        """Ends the connection with what is unsent. Where its end would be the end of an answer's body, in HTTP/1.0, only a
        reset is none; a unix socket knows no reset.
        """
        if self._until_close:
            kernel = self.transport.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def hung_up(self) -> None:
        """The app has gone while its reading was held back."""
        self.transport.abort()

    def takes_what_is_unsent(self) -> bool:
        """Whether the app, though no octet has entered the buffer for so long, reads: then one leaves it."""
        if not self.transport.get_write_buffer_size():
            return False
        before, self._unsent = self._unsent, unsent(self.transport)
        return before is None or self._unsent < before
