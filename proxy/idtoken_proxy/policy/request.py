"""The head of a request and of a response, as the wire told them; syntax is settled, nothing else is.

Plain classes whose defaults stand on the class: of a dozen facts a usual head has two or three.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from idtoken_proxy.policy.fields import Field


class Request:
    """`target` is the raw request-target in origin form (or `*`); `passing` the field lines to write on."""

    method: bytes
    target: bytes
    passing: list[bytes]
    http10: bool = False
    http2: bool = False
    grpc: bool = False  # its refusals are read as gRPC statuses alone
    grpc_timeout: float | None = None  # seconds
    absolute: bool = False  # the target came as a URL, as it does to a forward proxy, or through a CONNECT
    scheme: bytes = b"http"  # that URL's: http, https, ws or wss
    host: bytes | None = None
    keep_alive: bool = True
    content_length: int | None = None
    chunked: bool = False
    websocket: bool = False
    expect_continue: bool = False
    te_trailers: bool = False
    authorization: tuple[bytes, ...] = ()  # the field lines of the app's own
    origin: bytes | None = None
    fetch_site: bytes | None = None
    fetch_mode: bytes | None = None
    fetch_dest: bytes | None = None
    forwarded_for: tuple[bytes, ...] = ()
    forwarded_proto: tuple[bytes, ...] = ()  # as anybody may say it
    over_tls: bool = False  # to a proxy in front that guard.trusted_proxies lists, as that says
    via: tuple[bytes, ...] = ()
    referers: tuple[Field, ...] = ()  # in `passing` too
    head_octets: int = 0  # of HTTP/2, as section 6.5.2 of RFC 9113 reckons
    to_google: tuple[Field, ...] = ()  # likewise: the app's API key, and the project that it has charged
    asserted: tuple[Field, ...] = ()  # likewise: who the caller is, as he or a front end says
    serverless: tuple[bytes, ...] = ()  # the values of X-Serverless-Authorization
    listed: bool = False  # by a page of one of guard.allowed_origins, and not of the proxy's own
    preflight: bool = False  # such a page's, which the proxy answers
    # Of a head whose octets came before on the same connection of HTTP/2 what was made of it then: who uses it says whether
    # it still holds. A head with a credential in it is never remembered.
    verdict: Any = None
    shape: Any = None  # and what it has in common with others, and what it has not
    varying: Any = ()
    outbound: Any = None
    encoded: Any = None

    def copy(self) -> Request:
        mine = Request()
        for name, value in self.__dict__.items():  # one by one: a dict of its own would take 300 octets more
            setattr(mine, name, value)
        return mine

    def unexpecting(self) -> Request:
        """The same, of an app that has had its 100."""
        mine = self.copy()
        mine.expect_continue = False
        mine.outbound = mine.encoded = None
        mine.shape = None  # which has it in common that the others still wait for their 100
        return mine

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


class Response:
    """`status_line` is written afresh as HTTP/1.1, CRLF included; `length_line` the Content-Length as it came."""

    status: int
    status_line: bytes
    passing: list[bytes]
    http10: bool = False
    keep_alive: bool = True
    content_length: int | None = None
    length_line: bytes = b""
    chunked: bool = False
    upgrade: bytes | None = None
    connection_upgrade: bool = False
    www_authenticate: tuple[bytes, ...] = ()
    addressed: tuple[Field, ...] = ()  # in `passing` too: what speaks of addresses or origins
    head_octets: int = 0  # as a request's
    encoded: dict[int, tuple[int, bytes]] | None = (
        None  # many exchanges': by the number of the app's connection
    )

    def own(self) -> Response:
        """One that may be changed."""
        if self.encoded is None:
            return self
        mine = copy(self)
        mine.passing = list(self.passing)
        mine.encoded = None
        return mine
