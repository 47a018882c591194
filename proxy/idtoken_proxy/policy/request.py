"""The head of a request and of a response, as the wire told them; syntax is settled, nothing else is.

Plain classes whose defaults stand on the class: of a dozen facts a usual head has two or three.
"""

from __future__ import annotations

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
    repeats: bool = False  # its octets came before, and it will be found when they come again
    verdict: Any = None
    shape: Any = None  # and what it has in common with others, and what it has not
    varying: Any = ()
    outbound: Any = None
    encoded: Any = None

    def copy(self) -> Request:
        """Each fact by its name, and only where it is not the usual one: all of them would take a dict of a kilobyte, and
        compiled, there is no dict.
        """
        mine = Request()
        mine.method = self.method
        mine.target = self.target
        mine.passing = self.passing
        if self.http10:
            mine.http10 = self.http10
        if self.http2:
            mine.http2 = self.http2
        if self.grpc:
            mine.grpc = self.grpc
        if self.grpc_timeout is not None:
            mine.grpc_timeout = self.grpc_timeout
        if self.absolute:
            mine.absolute = self.absolute
        if self.scheme != b"http":
            mine.scheme = self.scheme
        if self.host is not None:
            mine.host = self.host
        if not self.keep_alive:
            mine.keep_alive = self.keep_alive
        if self.content_length is not None:
            mine.content_length = self.content_length
        if self.chunked:
            mine.chunked = self.chunked
        if self.websocket:
            mine.websocket = self.websocket
        if self.expect_continue:
            mine.expect_continue = self.expect_continue
        if self.te_trailers:
            mine.te_trailers = self.te_trailers
        if self.authorization:
            mine.authorization = self.authorization
        if self.origin is not None:
            mine.origin = self.origin
        if self.fetch_site is not None:
            mine.fetch_site = self.fetch_site
        if self.fetch_mode is not None:
            mine.fetch_mode = self.fetch_mode
        if self.fetch_dest is not None:
            mine.fetch_dest = self.fetch_dest
        if self.forwarded_for:
            mine.forwarded_for = self.forwarded_for
        if self.forwarded_proto:
            mine.forwarded_proto = self.forwarded_proto
        if self.over_tls:
            mine.over_tls = self.over_tls
        if self.via:
            mine.via = self.via
        if self.referers:
            mine.referers = self.referers
        if self.head_octets:
            mine.head_octets = self.head_octets
        if self.to_google:
            mine.to_google = self.to_google
        if self.asserted:
            mine.asserted = self.asserted
        if self.serverless:
            mine.serverless = self.serverless
        if self.listed:
            mine.listed = self.listed
        if self.preflight:
            mine.preflight = self.preflight
        if self.repeats:
            mine.repeats = self.repeats
        if self.verdict is not None:
            mine.verdict = self.verdict
        if self.shape is not None:
            mine.shape = self.shape
        if self.varying:
            mine.varying = self.varying
        if self.outbound is not None:
            mine.outbound = self.outbound
        if self.encoded is not None:
            mine.encoded = self.encoded
        return mine

    def unexpecting(self) -> Request:
        """The same, of an app that has had its 100."""
        mine = self.copy()
        mine.expect_continue = mine.repeats = False
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
        mine = Response()
        mine.status = self.status
        mine.status_line = self.status_line
        mine.passing = list(self.passing)
        mine.http10 = self.http10
        mine.keep_alive = self.keep_alive
        mine.content_length = self.content_length
        mine.length_line = self.length_line
        mine.chunked = self.chunked
        mine.upgrade = self.upgrade
        mine.connection_upgrade = self.connection_upgrade
        mine.www_authenticate = self.www_authenticate
        mine.addressed = self.addressed
        mine.head_octets = self.head_octets
        return mine
