"""HTTP/1.1 heads, off the wire and strictly (RFC 9112). Bytes in, Request and Response out; no I/O.

Where two readers of one message could disagree, this one refuses: a bare CR or LF, a folded line, a space before
the colon, two lengths, a length beside a transfer coding, a coding that is not exactly `chunked`. Framing is written
afresh on the other side, so that nothing ambiguous can pass even if it were read wrongly here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from idtoken_proxy.engine.known_fields import apply_request_field, apply_response_field
from idtoken_proxy.engine.line_table import REQUEST_LINES, RESPONSE_LINES, TOKEN
from idtoken_proxy.errors import HeadTooLarge, MalformedRequest, MalformedResponse
from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import Field
from idtoken_proxy.policy.request import Request, Response

MAX_FIELDS: Final = (
    256  # nginx and Envoy stop at 100; apps with long cookie jars and tracing came close to that
)

# RFC 9112 section 3. Visible ASCII less the four that no URL serializer leaves bare; browsers do send {|}^` so.
TARGET_OCTETS: Final = rb"[!$-;=?-~]"
REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") (" + TARGET_OCTETS + rb"+) HTTP/1\.([01])").fullmatch
# The usual ones, which are told without the pattern.
_METHODS: Final = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})
# Makes other octets of what no target holds, and nothing else.
_ODD: Final = bytes(octet if re.match(TARGET_OCTETS, bytes((octet,))) else 0x20 for octet in range(0x100))
_HTTP11: Final = b"HTTP/1.1"
# RFC 9112 section 4; an empty reason with or without its space.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?").fullmatch
_MOST_DIGITS: Final = 18
_ABSOLUTE: Final = re.compile(rb"((?:http|ws)s?)://([^/?]*)(.*)", re.IGNORECASE).fullmatch

_HTTP11_PREFIX: Final = b"HTTP/1.1 "


def parse_request(block: bytes) -> Request:
    """A head without the empty line that ends it. Raises MalformedRequest, HeadTooLarge for too many fields."""
    split = block.split(b"\r\n")
    if len(split) - 1 > MAX_FIELDS:
        raise HeadTooLarge(f"more than {MAX_FIELDS} header fields", limit="header_fields")
    request = Request()
    words = split[0].split(b" ")
    if (
        len(words) == 3
        and words[2] == _HTTP11
        and words[0] in _METHODS
        and words[1].translate(_ODD) == words[1] != b""
    ):
        request.method, request.target = words[0], words[1]  # what the pattern says of the usual line
    else:
        match = REQUEST_LINE(split[0])
        if match is None:
            raise bad_request_line(block)
        request.method, request.target, minor = match.groups()
        if minor == b"0":
            request.http10 = True
            request.keep_alive = False
    passing: list[bytes] = []
    special: list[Field] = []
    known = REQUEST_LINES.known
    del split[0]
    for line in split:
        field = known.get(line)
        if field is None:
            wire = REQUEST_LINES.passing(line)
            if wire is not None:
                passing.append(wire)
                continue
            field = REQUEST_LINES.parse(line)
            if field is None:
                raise MalformedRequest("a header field line is malformed")
        if field.kind:
            special.append(field)
        else:
            passing.append(field.wire)
    request.passing = passing
    _apply_request_fields(request, special)
    if not request.target.startswith(b"/"):
        _settle_target(request)
    return request


def _apply_request_fields(request: Request, special: list[Field]) -> None:
    connection: list[bytes] | None = None
    upgrade: bytes | None = None
    for field in special:
        kind = field.kind
        value = field.value
        if kind == fields.DROP:
            continue
        if kind == fields.HOST:
            if request.host is not None:
                raise MalformedRequest("two Host headers")
            request.host = value
        elif kind == fields.CONNECTION:
            if value == b"keep-alive" and not request.http10:
                continue  # it says what is so anyway, and nearly all say it
            connection = connection or []
            connection += _list_members(value)
        elif kind == fields.CONTENT_LENGTH:
            if request.content_length is not None:
                raise MalformedRequest("two Content-Length headers")
            if not value.isdigit() or len(value) > _MOST_DIGITS:
                raise MalformedRequest("Content-Length is not a number")
            request.content_length = int(value)
        elif kind == fields.TRANSFER_ENCODING:
            # RFC 9112 section 6.1; `chunked` said twice or in a list is how readers come to disagree.
            if request.chunked or value.lower() != b"chunked":
                raise MalformedRequest("a Transfer-Encoding other than chunked, once, is not understood")
            request.chunked = True
        elif kind == fields.UPGRADE:
            upgrade = value.lower() if upgrade is None else b""
        elif kind == fields.TE:
            request.te_trailers = b"trailers" in _list_members(value)
        else:
            apply_request_field(request, field)
    if request.chunked and (request.content_length is not None or request.http10):
        # RFC 9112 section 6.3 rule 3: "ought to be handled as an error"; chunked does not exist in HTTP/1.0.
        raise MalformedRequest("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    if request.host is None and not request.http10:
        raise MalformedRequest("no Host header")  # RFC 9112 section 3.2
    if connection is not None:
        _apply_request_connection(request, connection, upgrade)
    if request.http10:
        request.expect_continue = False  # RFC 9110 section 10.1.1


def _apply_request_connection(request: Request, connection: list[bytes], upgrade: bytes | None) -> None:
    if b"close" in connection:
        request.keep_alive = False
    elif request.http10:
        request.keep_alive = b"keep-alive" in connection
    # Anything but websocket (h2c, TLS) is ignored and answered as HTTP/1.1 (RFC 9110 section 7.8).
    if upgrade == b"websocket" and b"upgrade" in connection and not request.http10:
        if request.has_body:
            raise MalformedRequest("an upgrade to websocket has no body")
        if request.method != b"GET":
            raise MalformedRequest("an upgrade to websocket is a GET")  # RFC 6455 section 4.1
        request.websocket = True
    nominated = frozenset(connection) - _PLAIN_OPTIONS
    if nominated:
        # RFC 9110 section 7.6.1: what Connection names is for this hop.
        request.passing = _without(request.passing, nominated)
        if b"authorization" in nominated:
            request.authorization = ()
        if b"x-serverless-authorization" in nominated:
            request.serverless = ()
        if request.asserted:
            request.asserted = tuple(one for one in request.asserted if one.name not in nominated)
        if b"x-forwarded-for" in nominated:
            request.forwarded_for = ()
        if b"x-forwarded-proto" in nominated:
            request.forwarded_proto = ()
        if b"via" in nominated:
            request.via = ()


_PLAIN_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b""})


def _without(lines: Iterable[bytes], names: frozenset[bytes]) -> list[bytes]:
    return [line for line in lines if line[: line.index(b":")].lower() not in names]


def _list_members(value: bytes) -> list[bytes]:
    """RFC 9110 section 5.6.1, lower case; empty members are allowed."""
    return [member.strip(b" \t").lower() for member in value.split(b",")]


def _settle_target(request: Request) -> None:
    """Absolute form becomes origin form; its authority must be the Host's, which alone is judged and routed. Only a
    request in absolute form may name a receiver in it (policy/guard.py): browsers send one to a configured proxy alone.

    RFC 9112 section 3.2.2 lets the target win over Host; two names for one request are how a request gets to a
    receiver that nobody checked, so here they must agree.
    """
    target = request.target
    if target == b"*" and request.method == b"OPTIONS":
        return
    match = _ABSOLUTE(target)
    if match is None:
        if request.method.upper() == b"CONNECT":  # its own form
            return
        raise MalformedRequest("the request target is neither a path nor an http:// URL")
    scheme, authority, rest = match.groups()
    if request.host is not None and authority.lower() != request.host.lower():
        raise MalformedRequest("the request target names another host than the Host header")
    if request.host is None:
        request.host = authority
    request.absolute = True
    if len(scheme) != 4:
        request.scheme = scheme.lower()
    if rest.startswith(b"/"):
        request.target = rest
    elif not rest and request.method == b"OPTIONS":
        request.target = b"*"  # RFC 9112 section 3.2.4
    else:
        request.target = b"/" + rest


def bad_request_line(block: bytes) -> MalformedRequest:
    """`block`: a head, or the beginning of one, whose first line is none."""
    line = block.split(b"\r\n", 1)[0]
    if b"#" in line or b'"' in line or b"<" in line or b">" in line:
        return MalformedRequest(
            'the request target holds one of # " < >, which a URL cannot', remedy="percent-encode it"
        )
    if any(octet >= 0x80 for octet in line):
        return MalformedRequest("the request target holds octets outside ASCII", remedy="percent-encode them")
    return MalformedRequest(
        "the request line is malformed",
        remedy="begin each request with a line such as GET /path HTTP/1.1: three parts, one blank between two of them, "
        "HTTP in capitals (RFC 9112 section 3); a blank within the path is %20",
    )


# -- responses ----------------------------------------------------------------

_status_lines: Final[dict[bytes, tuple[int, bytes, bool]]] = {}


def _parse_status_line(line: bytes) -> tuple[int, bytes, bool]:
    match = _STATUS_LINE(line)
    if match is None:
        raise MalformedResponse("the receiver's status line is malformed")
    minor, code, reason = match.groups()
    parsed = (int(code), _HTTP11_PREFIX + code + b" " + (reason or b"") + b"\r\n", minor == b"0")
    if len(_status_lines) < 256 and len(line) <= 64:
        _status_lines[line] = parsed
    return parsed


def parse_response(block: bytes) -> Response:
    """A head without the empty line that ends it. Raises MalformedResponse."""
    split = block.split(b"\r\n")
    if len(split) - 1 > MAX_FIELDS:
        raise MalformedResponse(
            f"the receiver's answer has more than {MAX_FIELDS} header fields", limit="response_header_fields"
        )
    first = split[0]
    response = Response()
    response.status, response.status_line, http10 = _status_lines.get(first) or _parse_status_line(first)
    if http10:
        response.http10 = True
        response.keep_alive = False
    passing: list[bytes] = []
    special: list[Field] = []
    known = RESPONSE_LINES.known
    del split[0]
    for line in split:
        field = known.get(line)
        if field is None:
            wire = RESPONSE_LINES.passing(line)
            if wire is not None:
                passing.append(wire)
                continue
            field = RESPONSE_LINES.parse(line)
            if field is None:
                raise MalformedResponse("a header field line of the receiver's answer is malformed")
        if field.kind:
            special.append(field)
        else:
            passing.append(field.wire)
    response.passing = passing
    _apply_response_fields(response, special)
    return response


def _apply_response_fields(response: Response, special: list[Field]) -> None:
    connection: list[bytes] | None = None
    for field in special:
        kind = field.kind
        value = field.value
        if kind == fields.CONTENT_LENGTH:
            if response.content_length is not None:
                raise MalformedResponse("the receiver's answer has two Content-Length headers")
            if not value.isdigit() or len(value) > _MOST_DIGITS:
                raise MalformedResponse("the receiver's Content-Length is not a number")
            response.content_length = int(value)
            # Noughts before it are legal and read as octal by some.
            response.length_line = (
                field.wire if value[:1] != b"0" or value == b"0" else b"Content-Length: %d\r\n" % int(value)
            )
        elif kind == fields.TRANSFER_ENCODING:
            if response.chunked or value.lower() != b"chunked" or response.http10:
                raise MalformedResponse("the receiver's Transfer-Encoding is not understood")
            response.chunked = True
        elif kind == fields.CONNECTION:
            if value == b"keep-alive" and not response.http10:
                continue
            connection = connection or []
            connection += _list_members(value)
        elif kind == fields.UPGRADE:
            response.upgrade = value.lower() if response.upgrade is None else b""
        elif kind != fields.DROP:
            apply_response_field(response, field)
    if response.chunked and response.content_length is not None:
        raise MalformedResponse("the receiver's answer has both Transfer-Encoding and Content-Length")
    if connection is not None:
        if b"close" in connection:
            response.keep_alive = False
        elif response.http10:
            response.keep_alive = b"keep-alive" in connection
        response.connection_upgrade = b"upgrade" in connection
        nominated = frozenset(connection) - _PLAIN_OPTIONS
        if nominated:
            response.passing = _without(response.passing, nominated)
            response.addressed = tuple(field for field in response.addressed if field.name not in nominated)


def parse_status(block: bytes) -> int:
    """The status of an answer to CONNECT, from a head without the empty line that ends it. Nothing else in it counts:
    "A client MUST ignore any Content-Length or Transfer-Encoding header fields received in a successful response to
    CONNECT" (RFC 9110 section 9.3.6). Raises ValueError.
    """
    first, *lines = block.split(b"\r\n")
    match = _STATUS_LINE(first)
    if match is None or any(RESPONSE_LINES.parse(line) is None for line in lines):
        raise ValueError("a line of the head is malformed")
    return int(match[2])


def parse_trailers(lines: Iterable[bytes]) -> list[bytes]:
    """Trailer field lines that may be passed on, written afresh. Raises ValueError for a malformed one."""
    passing = []
    for line in lines:
        field = RESPONSE_LINES.known.get(line) or RESPONSE_LINES.parse(line)
        if field is None:
            raise ValueError("a trailer field line is malformed")
        if field.name not in fields.TRAILER_FORBIDDEN:
            passing.append(field.wire)
    return passing
