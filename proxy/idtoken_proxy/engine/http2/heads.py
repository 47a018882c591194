"""The rules for a message's fields together (RFC 9113 sections 8.2.3 and 8.3), and what becomes of them.

What comes out is not changed any more: a head is remembered by its block's octets and then belongs to many streams.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from idtoken_proxy.engine.http1 import TARGET_OCTETS
from idtoken_proxy.engine.http2.fields import (
    AUTHORITY,
    CONTENT_LENGTH,
    COOKIE,
    HOST,
    MALFORMED,
    METHOD,
    PATH,
    PLAIN,
    SCHEME,
    SPECIAL,
    STATUS,
    HeaderField,
)
from idtoken_proxy.engine.line_table import METHOD_OCTETS
from idtoken_proxy.policy import fields as kinds
from idtoken_proxy.policy.fields import TRAILER_FORBIDDEN

_METHOD: Final = re.compile(METHOD_OCTETS + rb"+").fullmatch
# Origin form, by the octets that HTTP/1.1's request line may have.
_PATH: Final = re.compile(rb"/" + TARGET_OCTETS + rb"*").fullmatch
# Section 8.3.1 leaves other schemes to gateways; nothing behind this proxy speaks one.
_SCHEMES: Final = frozenset({b"http", b"https"})
# What an authority cannot hold, a user among it: "MUST NOT include the deprecated userinfo subcomponent" (section 8.3.1).
_AUTHORITY: Final = re.compile(rb"[!$-.0-;=A-~]+").fullmatch


def is_path(octets: bytes) -> bool:
    """Whether it may be a :path; `*` is another form."""
    return _PATH(octets) is not None


class MalformedMessage(ValueError):
    """Section 8.1.1. `reason` holds no octet of the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RequestHead:
    """`passing`: fields to pass on; `special`: those whose `kind` says what they are to the proxy, in their order. Host,
    Content-Length, TE and the pseudo-fields are in neither. `made`: whatever its user made of it (a route, a guard's
    verdict, an outbound block), to be found again with the next stream whose block is the same, where it is `kept`. `shape`: what it has in
    common with others (head_shapes.py), and `varying`, of `passing`, what it has not; None where nothing is known of it.
    """

    __slots__ = (
        "authority", "content_length", "kept", "made", "method", "octets", "passing", "path", "scheme", "shape", "special",
        "te_trailers", "varying",
    )  # fmt: skip

    method: bytes
    scheme: bytes
    authority: bytes
    path: bytes

    def __init__(self) -> None:
        self.passing: list[HeaderField] = []
        self.special: list[HeaderField] = []
        self.content_length: int | None = None
        self.te_trailers = False
        self.octets = 0  # as the decoder reckons
        self.kept = False
        self.made: Any = None
        self.shape: Any = None
        self.varying: Sequence[HeaderField] = ()

    @property
    def fields(self) -> int:
        """How many there are, pseudo-fields and what is dropped aside."""
        return len(self.passing) + len(self.special)


class ResponseHead:
    """As RequestHead."""

    __slots__ = ("content_length", "kept", "made", "octets", "passing", "special", "status")

    status: int

    def __init__(self) -> None:
        self.passing: list[HeaderField] = []
        self.special: list[HeaderField] = []
        self.content_length: int | None = None
        self.octets = 0
        self.kept = False
        self.made: Any = None


def request_head(fields: Sequence[HeaderField]) -> RequestHead:
    """Raises MalformedMessage."""
    head = RequestHead()
    method = scheme = authority = path = None
    at = 0
    for field in fields:
        rule = field.rule
        if rule == METHOD and method is None:
            method = field.value
        elif rule == SCHEME and scheme is None:
            scheme = field.value
        elif rule == AUTHORITY and authority is None:
            authority = field.value
        elif rule == PATH and path is None:
            path = field.value
        else:
            break
        at += 1
    if at < len(fields):
        if MALFORMED < fields[at].rule <= STATUS:
            raise MalformedMessage("a pseudo-field twice")
        host = _regular_request_fields(head, fields[at:])
        if host is not None:
            # Section 8.3.1: "SHOULD treat a request as malformed if it contains a Host header field that identifies an
            # entity that differs". Two names for one request are how it gets to a receiver that nobody checked.
            if authority is None:
                authority = host
            elif authority.lower() != host.lower():
                raise MalformedMessage("Host differs from :authority")
    if method is None or _METHOD(method) is None:
        raise MalformedMessage("no :method, or none that is a token")
    if method == b"CONNECT":
        # Section 8.5: it has neither, and names in :authority what HTTP/1.1 has for a target. RFC 8441's has both.
        if scheme is not None or path is not None:
            raise MalformedMessage("a CONNECT with a :scheme or a :path")
        scheme, path = b"http", authority
    elif path is None or (_PATH(path) is None and not (path == b"*" and method == b"OPTIONS")):
        raise MalformedMessage("no :path, or none that a request may have")
    if scheme not in _SCHEMES:
        raise MalformedMessage("no :scheme, or another than http and https")
    if authority is None or path is None or _AUTHORITY(authority) is None:
        raise MalformedMessage("no authority, or none that a host may have")
    head.method = method
    head.scheme = scheme
    head.authority = authority
    head.path = path
    return head


def _regular_request_fields(head: RequestHead, fields: Iterable[HeaderField]) -> bytes | None:
    """What follows the pseudo-fields. The Host's value, where there is one."""
    host = None
    crumbs: list[HeaderField] | None = None
    passing = head.passing
    for field in fields:
        rule = field.rule
        if rule == PLAIN:
            passing.append(field)
        elif rule >= SPECIAL:
            if rule == COOKIE:
                if crumbs is None:
                    crumbs = []
                crumbs.append(field)
            elif field.kind == kinds.PASS:
                passing.append(field)
            elif field.kind != kinds.DROP:
                head.special.append(field)
        elif rule == HOST:
            if host is not None:
                raise MalformedMessage("two Host fields")
            host = field.value
        elif rule == CONTENT_LENGTH:
            if head.content_length is not None:
                raise MalformedMessage("two Content-Length fields")
            head.content_length = int(field.value)
        elif rule <= STATUS:
            raise _misplaced(field)
        else:
            head.te_trailers = True
    if crumbs is not None:
        passing.append(crumbs[0] if len(crumbs) == 1 else _joined(crumbs))
    return host


def _misplaced(field: HeaderField) -> MalformedMessage:
    if field.rule == MALFORMED:
        return MalformedMessage(field.value.decode("ascii"))
    return MalformedMessage("a pseudo-field behind a field")  # section 8.3


def _joined(crumbs: Iterable[HeaderField]) -> HeaderField:
    """Section 8.2.3: "MUST be concatenated into a single octet string using the two-octet delimiter of 0x3b, 0x20" before
    they go where another version may be spoken. In one piece they go into no table either, which is where crumbs save.
    """
    value = b"; ".join(field.value for field in crumbs)
    return HeaderField((b"cookie", value), b"cookie: " + value + b"\r\n", kinds.PASS, COOKIE)


def response_head(fields: Sequence[HeaderField]) -> ResponseHead:
    """Raises MalformedMessage."""
    head = ResponseHead()
    if not fields or fields[0].rule != STATUS:
        first = fields[0] if fields else None
        raise _misplaced(first) if first and first.rule == MALFORMED else MalformedMessage("no :status")
    head.status = status = int(fields[0].value)
    passing = head.passing
    for field in fields[1:]:
        rule = field.rule
        if rule == PLAIN:
            passing.append(field)
        elif rule >= SPECIAL:
            if field.kind == kinds.PASS:
                passing.append(field)
            elif field.kind != kinds.DROP:
                head.special.append(field)
        elif rule == CONTENT_LENGTH:
            if head.content_length is not None:
                raise MalformedMessage("two Content-Length fields")
            head.content_length = int(field.value)
        elif rule == STATUS and passing == head.special == []:
            raise MalformedMessage("a pseudo-field twice")
        else:
            raise _misplaced(field)
    if status < 200:
        if status == 101:
            # Section 8.6: "HTTP/2 removes support for the 101 (Switching Protocols) informational status code".
            raise MalformedMessage("a 101, which HTTP/2 does not have")
        if head.content_length is not None:
            raise MalformedMessage("an interim answer with a body")  # RFC 9110 section 8.6
    return head


def trailer_fields(fields: Iterable[HeaderField]) -> tuple[HeaderField, ...]:
    """Those that may be passed on: framing, routing and credentials may not, in any spelling. Raises MalformedMessage."""
    passing = []
    for field in fields:
        if field.rule <= STATUS and field.rule != PLAIN:
            if field.rule == MALFORMED:
                raise _misplaced(field)
            raise MalformedMessage("a pseudo-field among trailers")  # section 8.1
        if field.kind != kinds.DROP and field.name not in TRAILER_FORBIDDEN:
            passing.append(field)
    return tuple(passing)
