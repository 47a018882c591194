"""CONNECT: a tunnel through an egress proxy to a receiver (RFC 9110 section 9.3.6), before a byte of TLS is said in it.

The egress proxy learns the receiver's name, its port and our credentials for itself. Nothing else is said until TLS is
up between the receiver and here, so it never sees a request or an ID token; and whatever it answers is taken as
strictly as a receiver's answer, within a bound.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import Final

from idtoken_proxy.engine.connect_errors import egress_hop
from idtoken_proxy.engine.http1 import parse_status
from idtoken_proxy.errors import ConnectFailed
from idtoken_proxy.settings.model import EgressProxy, TcpAddress, Upstream

MAX_ANSWER: Final = 16 * 1024  # octets of its heads, interim ones included
_BEGINNING: Final = b"HTTP/1."
_HEAD_END: Final = b"\r\n\r\n"
_READ: Final = 4096


def request_head(egress: EgressProxy, upstream: Upstream) -> bytes:
    """The port always stands in the target, which is also the Host (RFC 9112 section 3.2.3)."""
    target = _target(upstream).encode("ascii")
    head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (target, target)
    if egress.credentials is not None:
        # RFC 7617 section 2. Unasked, for there is no other scheme to choose.
        head += b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(egress.credentials)
    return head + b"\r\n"


def _target(upstream: Upstream) -> str:
    return str(TcpAddress(upstream.host, upstream.port))


class Answer:
    """What comes back, in whatever pieces. `status`: of the final head, once it is there."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._received = b""
        self._skipped = 0  # octets of interim answers

    def feed(self, data: bytes) -> None:
        """ValueError says what the egress proxy does instead of answering."""
        received = self._received + data
        while self.status is None:
            # Who speaks SSH or TLS there may wait for us, and so would we.
            if received[: len(_BEGINNING)] != _BEGINNING[: len(received)]:
                raise ValueError("does not speak HTTP/1.1")
            end = received.find(_HEAD_END)
            size = end + len(_HEAD_END) if end >= 0 else len(received)
            if self._skipped + size > MAX_ANSWER:
                raise ValueError(f"answers with a head of more than {MAX_ANSWER // 1024} KiB")
            if end < 0:
                self._received = received
                return
            self._take(received[:end], received[size:])
            received = received[size:]
            self._skipped += size

    def _take(self, head: bytes, rest: bytes) -> None:
        try:
            status = parse_status(head)
        except ValueError:
            raise ValueError("answers with a malformed head") from None
        if status == 101:
            raise ValueError("switches to a protocol that nobody asked for")
        if 200 <= status < 300 and rest:
            # In TLS the client speaks first, so they are not the receiver's. (Where they come later, they are in the
            # place of its ServerHello, and end the handshake.)
            raise ValueError("sends octets behind its answer, before anything was said to the receiver")
        if status >= 200:
            self.status = status


async def open_tunnel(sock: socket.socket, egress: EgressProxy, upstream: Upstream) -> None:
    """`sock` is connected to the egress proxy; afterwards, to the receiver. It stays the caller's to close.

    Raises ConnectFailed, and OSError where the connection breaks.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, request_head(egress, upstream))
    answer = Answer()
    while answer.status is None:
        data = await loop.sock_recv(sock, _READ)
        if not data:
            raise _failed(
                egress, upstream, "closed the connection before its answer", "connection_terminated"
            )
        try:
            answer.feed(data)
        except ValueError as error:
            raise _failed(egress, upstream, str(error), "http_protocol_error") from None
    if answer.status >= 300:
        raise _refused(egress, upstream, answer.status)


def _refused(egress: EgressProxy, upstream: Upstream, status: int) -> ConnectFailed:
    receiver = _target(upstream)
    if status == 407:
        has = egress.credentials is not None
        why = "it does not take the user name and password" if has else "it wants a user name and a password"
        remedy = (
            f"{'correct' if has else 'add'} them in egress_proxy: http://${{USER}}:${{PASSWORD}}@{egress}, each "
            "percent-encoded (Basic is the one scheme that is spoken)"
        )
        return _failed(egress, upstream, f"answered 407: {why}", "proxy_configuration_error", remedy)
    if status in (401, 403):
        why, remedy = "it does not let this machine through", f"have CONNECT to {receiver} allowed there"
    elif status in (502, 503, 504):
        why, remedy = (
            f"it cannot reach {receiver}",
            f"see in its log why, and that it can resolve {upstream.host}",
        )
    else:
        why = "it opens no tunnel"
        remedy = (
            f"see that egress_proxy names an HTTP proxy, and that it takes CONNECT to port {upstream.port}"
        )
    return _failed(egress, upstream, f"answered {status}: {why}", "destination_unavailable", remedy)


def _failed(
    egress: EgressProxy, upstream: Upstream, what: str, proxy_status: str, remedy: str | None = None
) -> ConnectFailed:
    hop = egress_hop(egress, upstream)
    return hop.unreachable(f"{hop.name} {what}", proxy_status, remedy)
