"""What comes where a request's head should, and can be none: seen at the first octet that shows it, and called by its name.

Nobody who speaks TLS, SSH or SOCKS to this port will ever send the empty line that ends a head: waiting for it, until
timeouts.header, is a silence that tells nobody anything. What may still become a head is waited for as ever.

The answer is a plain 400, to a TLS hello too, as Go's and nginx's servers answer in the reverse case: a client of TLS
then says `wrong version number` or `server gave HTTP response to HTTPS client`, where an alert would have it say that
the certificate or the version of TLS is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.engine.http1 import REQUEST_LINE, TARGET_OCTETS, bad_request_line
from idtoken_proxy.engine.line_table import METHOD_OCTETS
from idtoken_proxy.errors import MalformedRequest, NotHttp

_METHOD: Final = re.compile(METHOD_OCTETS + rb"*").match
_TARGET: Final = re.compile(TARGET_OCTETS + rb"*").match
_VERSIONS: Final = (b"HTTP/1.1\r\n", b"HTTP/1.0\r\n")
# RFC 9112 section 2.2 and RFC 9110 section 5.5: no bare CR or LF, no control character but HTAB.
_NEVER: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
_BARE_LF: Final = re.compile(rb"(?<!\r)\n").search

_IN_METHOD: Final = 0
_IN_TARGET: Final = 1
_IN_VERSION: Final = 2
_IN_FIELDS: Final = 3


class HeadScan:
    """Follows one head that comes in pieces; each octet is looked at once."""

    __slots__ = ("_at", "_begun", "_part", "after_empty_lines")

    def __init__(self) -> None:
        self.after_empty_lines = False
        self._part = _IN_METHOD
        self._at = 0  # what stands before is settled
        self._begun = 0  # where the part began

    def empty_lines(self) -> None:
        """There were some, and they are taken off: the head begins anew."""
        self.after_empty_lines = True
        self._part, self._at = _IN_METHOD, 0

    def fits(self, head: bytes) -> bool:
        """Whether `head`, all that there is of it, can be the beginning of one."""
        part, at, end = self._part, self._at, len(head)
        if part == _IN_METHOD:
            at = _end(_METHOD, head, at)
            if at == end:
                self._at = at
                return True
            if not at or head[at] != 0x20:
                return head == b"\r"  # an empty line's
            part, self._begun = _IN_TARGET, at + 1
            at += 1
        if part == _IN_TARGET:
            at = _end(_TARGET, head, at)
            if at < end:
                if at == self._begun or head[at] != 0x20:
                    return False
                part = _IN_VERSION
                at += 1
        if part == _IN_VERSION:
            said = head[at : at + 10]
            if not any(version.startswith(said) for version in _VERSIONS):
                return False
            if len(said) == 10:
                part = _IN_FIELDS
                at += 10
        if part == _IN_FIELDS:
            if _NEVER(head, at):
                return False
            at = end - head.endswith(b"\r")  # which may be a bare one
        self._part, self._at = part, at
        return True


def _end(octets: Callable[[bytes, int], re.Match[bytes] | None], head: bytes, at: int) -> int:
    match = octets(head, at)
    assert match is not None
    return match.end()


@dataclass(frozen=True, slots=True)
class _Kind:
    """`slug`: for metrics. `remedy`: {url} is the proxy's own address. `inside`: where a CONNECT came before."""

    slug: str
    begins: re.Pattern[bytes]
    words: str
    remedy: str
    inside: str | None = None


def _kind(slug: str, begins: bytes, words: str, remedy: str, inside: str | None = None) -> _Kind:
    return _Kind(slug, re.compile(begins, re.DOTALL), words, remedy, inside)


# The first that fits. One octet is enough for most: what is sent octet by octet is answered at the first, too.
_KINDS: Final = (
    _kind(
        "tls",
        # RFC 8446 section 5.1: a handshake record; and the hello of SSL 2.0 (RFC 5246 appendix E.2).
        rb"\x16|[\x80-\xff].\x01(?:\x03|\x00\x02)",
        "TLS on a plain-HTTP port",
        "use {url} (http, not https)",
        "use http:// URLs, so that the proxy can attach the token; it speaks TLS to the receiver itself",
    ),
    _kind(
        "http2",
        rb"PRI \* H",  # RFC 9113 section 3.4
        "HTTP/2 where HTTP/1.1 was spoken before, or not quite HTTP/2",
        "HTTP/2 begins with its preface on a connection of its own (prior knowledge): curl --http2-prior-knowledge {url}",
        "within a CONNECT tunnel HTTP/1.1 alone is spoken; have the client connect to the proxy itself",
    ),
    _kind(
        "ssh",
        rb"SSH-[0-9]",  # RFC 4253 section 4.2
        "SSH on an HTTP port",
        "connect to the port of an SSH server; this is {url}",
    ),
    _kind(
        "proxy_protocol",
        # https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2: versions 1 and 2.
        rb"PROXY (?:TCP[46]|UNKNOWN)|\x00\r\nQUIT\n|\r\n\r\n\x00",
        "the PROXY protocol, which is not spoken here",
        "turn it off at the load balancer in front: send-proxy in HAProxy, proxy_protocol in nginx",
    ),
    _kind(
        "socks",
        rb"[\x04\x05]",  # RFC 1928 section 3
        "SOCKS on the port of an HTTP proxy",
        "name it as an HTTP proxy: HTTP_PROXY={url}, not ALL_PROXY=socks5://",
    ),
    _kind(
        "postgresql",
        # https://www.postgresql.org/docs/current/protocol-message-formats.html: SSLRequest, GSSENCRequest, CancelRequest,
        # StartupMessage.
        rb"\x00\x00\x00.\x04\xd2\x16[\x2e-\x30]|\x00\x00..\x00\x03\x00.",
        "PostgreSQL on an HTTP port",
        "connect to the database's own port (5432); this is {url}",
    ),
    _kind(
        "redis",
        rb"\*[0-9]+\r",  # https://redis.io/docs/latest/develop/reference/protocol-spec/: an array
        "Redis on an HTTP port",
        "connect to Redis's own port (6379); this is {url}",
    ),
    _kind(
        "smtp",
        rb"(?i:EHLO |HELO |MAIL FROM:|STARTTLS\r|QUIT\r)",  # RFC 5321 section 4.1.1
        "SMTP on an HTTP port",
        "connect to the mail server's own port (25, 465, 587); this is {url}",
    ),
    _kind(
        "response",
        rb"HTTP/",  # RFC 9112 section 4; no method holds a slash
        "a response where a request belongs",
        "what sent it is a server itself; connect a client to {url}",
    ),
    _kind(
        "json",
        rb"[{\[]",  # no method begins so
        "JSON without HTTP around it",
        "send it as the body of a POST: curl --json '{{}}' {url}",
    ),
    _kind(
        "text",
        METHOD_OCTETS + rb"+(?: " + TARGET_OCTETS + rb"+)?\r",
        "a command of another protocol of lines, such as FTP's, or HTTP/0.9",
        "send HTTP/1.1 requests, which begin with a line such as GET /path HTTP/1.1: {url}",
    ),
    _kind(
        "http_version",
        METHOD_OCTETS + rb"+ " + TARGET_OCTETS + rb"+ HTTP/(?!\Z|1\Z|1\.\Z|1\.[01])",
        "another version of HTTP than 1.1 and 1.0",
        "have the client speak HTTP/1.1",
    ),
    _kind(
        "binary",
        rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]",
        "octets that no HTTP request begins with",
        "send HTTP/1.1 requests: {url}",
    ),
)
_LF_KIND: Final = _kind(
    "bare_lf",
    b"",
    "lines that end in LF alone",
    "end each line of a head in CRLF (RFC 9112 section 2.2): printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n', nc -C",
)


def unreadable(
    head: bytes, url: str, *, after_empty_lines: bool = False, inside: bool = False
) -> MalformedRequest:
    """What is told of a head that cannot be one. `url`: the proxy's own. `inside`: of a tunnel that a CONNECT opened."""
    begins = b"\r\n\r\n" + head if after_empty_lines and head[:1] == b"\0" else head
    kind = next((kind for kind in _KINDS if kind.begins.match(begins)), None)
    if kind is None and _BARE_LF(head):
        kind = _LF_KIND
    if kind is not None:
        remedy = kind.inside if inside and kind.inside else kind.remedy.format(url=url)
        return NotHttp(f"this looks like {kind.words}", looks_like=kind.slug, remedy=remedy)
    line, ended, _ = head.partition(b"\r\n")
    return (
        MalformedRequest("a header field line is malformed")
        if ended and REQUEST_LINE(line)
        else bad_request_line(head)
    )
