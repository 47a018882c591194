"""TLS towards a receiver, between a TCP transport and the connection's protocol.

Ours and not the event loop's for three reasons: a loop's layer finds the end of what arrived by running into an
exception at each read, and copies bodies twice (measured: a third of an upload's CPU); it hides whether the
receiver ended the stream or someone cut it (RFC 9112 section 9.8), which for an answer without a length is the
difference between whole and truncated; and its read buffer is 256 KiB for each connection. OpenSSL does the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final, cast

from idtoken_proxy.engine.tls_endings import HandshakeBroken, TruncatedError

# One for the process: what a read leaves in it is copied out before anything else runs. A record holds 16 KiB at most,
# and a read of the loop's 250 KiB.
_BUFFER: Final = bytearray(288 * 1024)
_VIEW: Final = memoryview(_BUFFER)
_RECORD: Final = 16 * 1024
# OpenSSL's buffers grow to what is put into them, by a third more, and stay so: both are fed in slices.
_FED: Final = 32 * 1024
_SLICE: Final = 64 * 1024
_NOTHING: Final = memoryview(b"")
_NOBODY: Final = asyncio.Protocol()
# What may be spoken, by ALPN: OpenSSL takes what was never offered. Without an answer to it, it is HTTP/1.1.
HTTP1: Final = (None, "http/1.1")
HTTP2: Final = ("h2",)


class TlsTransport(asyncio.Protocol):
    """The protocol of the TCP transport, and the transport of `inner`; it has the methods that a connection and a
    tunnel use. `ready` tells of the handshake, or raises ssl.SSLError or ConnectionError; `inner` hears of the
    connection only once it is there. `server_hostname`: None for the side that was called (accepted_tls.py).
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None,
        inner: asyncio.Protocol,
        alpn: tuple[str | None, ...] = HTTP1,
    ) -> None:
        self._alpn = alpn
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self._read = cast("Callable[[int, memoryview], int]", self._tls.read)  # the form that fills a buffer
        self._inner = inner
        self._established = False
        self._lost = False
        self._ended: BaseException | None = None
        self._end_read = False  # the receiver's close_notify
        self._end_written = False  # ours
        self.transport: asyncio.Transport
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- the TCP transport's protocol --------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._handshake()

    def data_received(self, data: bytes) -> None:
        if self._end_read:  # OpenSSL reads nothing behind close_notify, and would keep it
            return
        incoming = self._incoming
        rest = _NOTHING
        if len(data) <= _FED:
            incoming.write(data)
        else:
            rest = memoryview(data)
            incoming.write(rest[:_FED])
            rest = rest[_FED:]
        while not self._established:
            if self._handshake():
                if incoming.pending or rest:
                    break
                return
            if not rest or self._ended:
                return
            incoming.write(rest[:_FED])
            rest = rest[_FED:]
        read, pending = self._read, self._tls.pending
        filled = 0
        full: list[bytes] = []
        try:
            while True:
                try:
                    count = read(_RECORD, _VIEW[filled:])
                except ssl.SSLWantReadError:  # the rest of a record is still to come
                    if not rest:
                        if self._outgoing.pending:  # such as the answer to one who wants to renegotiate: no
                            self._flush()
                        break
                    incoming.write(rest[:_FED])
                    rest = rest[_FED:]
                    continue
                filled += count
                if not count:  # close_notify
                    self._deliver(full, filled)
                    self._on_close_notify()
                    return
                if not incoming.pending and not pending():
                    if not rest:
                        break
                    incoming.write(rest[:_FED])
                    rest = rest[_FED:]
                if filled > len(_BUFFER) - _RECORD:
                    full.append(bytes(_VIEW[:filled]))
                    filled = 0
        except ssl.SSLZeroReturnError:  # close_notify, behind our own
            self._deliver(full, filled)
            self._on_close_notify()
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._deliver(full, filled)

    def _deliver(self, full: list[bytes], filled: int) -> None:
        """All at once: what stands behind the end of an answer has to be seen together with it."""
        data = bytes(_VIEW[:filled])
        if full:
            data = b"".join((*full, data))
        if data and not self._lost:
            self._inner.data_received(data)

    def _on_close_notify(self) -> None:
        """It ends the receiver's direction alone (RFC 8446 section 6.1; TLS 1.2 asked for an answer at once, which no
        receiver waits for); whether ours goes on is for the inner protocol to say.
        """
        if self._end_read or self._lost:
            return
        self._end_read = True
        if not self._inner.eof_received():
            self.transport.close()

    def eof_received(self) -> bool:
        if self._end_read:
            return not self.transport.is_closing()  # TCP's end behind TLS's says nothing new
        self._incoming.write_eof()
        try:
            if self._tls.read(_RECORD):
                self._ended = TruncatedError("data behind the end of the stream")
        except ssl.SSLError:
            self._ended = TruncatedError("the connection ended without close_notify")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        error = self._ended or exc  # what TLS said, before what TCP made of it
        if self._established:
            self._inner.connection_lost(error if isinstance(error, Exception) else None)
        self._inner = _NOBODY  # the two held each other, and through OpenSSL the trust store
        if not self.ready.done():
            self.ready.set_exception(HandshakeBroken("closed in the TLS handshake"))

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    # -- the inner protocol's transport -------------------------------------------

    def write(self, data: bytes) -> None:
        tls, outgoing, tcp = self._tls, self._outgoing, self.transport
        try:
            if len(data) <= _SLICE:
                tls.write(data)
                tcp.write(outgoing.read())
                return
            with memoryview(data) as view:
                for at in range(0, len(data), _SLICE):
                    tls.write(view[at : at + _SLICE])
                    tcp.write(outgoing.read())
        except ssl.SSLError as error:  # the receiver ended the stream, or wants to renegotiate
            self._fail(error)

    def can_write_eof(self) -> bool:
        """TLS 1.3 reads on behind its own close_notify; in 1.2 whoever gets one has to end the connection (RFC 5246
        section 7.2.1), so that a half-close would cut off what is still to come.
        """
        return self._tls.version() == "TLSv1.3"

    def write_eof(self) -> None:
        """Our close_notify, and no FIN: peers that take TCP's end for the connection's would go."""
        if not self.transport.is_closing():
            self._close_notify()

    def close(self) -> None:
        if not self.transport.is_closing():
            self._close_notify()
            self.transport.close()

    def _close_notify(self) -> None:
        if self._end_written:
            return
        self._end_written = True
        # It puts our close_notify in `outgoing`, and then wants the receiver's, which nobody waits for.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def abort(self) -> None:
        self.transport.abort()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self.transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.transport.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self._inner = protocol

    # -- TLS -----------------------------------------------------------------------

    def _handshake(self) -> bool:
        """One step; whether it was the last."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            # By the alert of RFC 7301 section 3.2, for which Python has a name or OpenSSL's text.
            if self._alpn == HTTP2 and "no application protocol" in str(error).lower().replace("_", " "):
                error.reason = "NO_HTTP2_BY_ALPN"
            self._fail(error)
            return False
        chosen = self._tls.selected_alpn_protocol()
        if chosen not in self._alpn:
            unoffered = ssl.SSLError(ssl.SSL_ERROR_SSL, "another protocol than was offered")
            unoffered.reason = "UNOFFERED_ALPN" if chosen else "NO_HTTP2_BY_ALPN"
            self._fail(unoffered)
            return False
        self._flush()
        self._established = True
        self._inner.connection_made(cast("asyncio.Transport", self))
        if not self.ready.done():
            self.ready.set_result(None)
        return True

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self.transport.write(data)

    def _fail(self, error: ssl.SSLError) -> None:
        self._ended = error
        self._flush()  # the alert that tells the receiver why
        if not self.ready.done():
            self.ready.set_exception(error)
        self.transport.close()
