"""Heads of HTTP/2 as the Request and the Response that an exchange and the policy know, and their field lines as HTTP/2's pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from idtoken_proxy.engine.http2.heads import RequestHead, ResponseHead
from idtoken_proxy.engine.http2.hpack_encoder import NEVER_INSERTED
from idtoken_proxy.engine.http2.pair import NeverIndexed, Pair
from idtoken_proxy.engine.known_fields import apply_request_field, apply_response_field
from idtoken_proxy.engine.line_table import holds_secret
from idtoken_proxy.policy.headers import EXPECTS_CONTENT, Outbound, outbound_lines
from idtoken_proxy.policy.request import Request, Response

_MOST_LINES: Final = 4096
_LONGEST_LINE: Final = 512
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: at most eight digits and a unit.
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_GRPC: Final = b"application/grpc"
_GRPC_WEB: Final = b"application/grpc-web"

_known: dict[bytes, tuple[Pair, ...]] = {}
_status_lines: dict[int, bytes] = {}


def request_of(head: RequestHead, *, end_stream: bool) -> Request:
    """Without the fields that the proxy looks at (settle_request). `head` is not changed, nor are its lists."""
    request = Request()
    request.http2 = True
    request.method = head.method
    request.target = head.path
    request.host = head.authority
    request.content_length = head.content_length
    request.chunked = not end_stream and head.content_length is None
    request.te_trailers = head.te_trailers
    if head.shape is not None:
        request.shape = head.shape
        request.varying = head.varying
    request.head_octets = head.octets
    passing = request.passing = []
    for field in head.passing:
        passing.append(field.wire)
        if field.name == b"content-type":
            request.grpc = _is_grpc(field.value)
        elif field.name == b"grpc-timeout":
            request.grpc_timeout = _seconds(field.value)
    return request


def request_like(others: Request, head: RequestHead, *, end_stream: bool) -> Request:
    """As `request_of`, settled. `others`: what heads of this shape have in common, as `in_common` gave it."""
    request = others.copy()
    request.target = head.path
    request.content_length = head.content_length
    request.chunked = not end_stream and head.content_length is None
    request.head_octets = head.octets
    varying = request.varying = head.varying
    request.passing = others.passing + [field.wire for field in varying] if varying else others.passing
    for field in varying:
        if field.name == b"grpc-timeout":
            request.grpc_timeout = _seconds(field.value)
        elif field.name == b"content-type":
            request.grpc = _is_grpc(field.value)
    return request


def in_common(request: Request) -> Request:
    """What `request`, settled and nothing else, has in common with others of its shape."""
    others = request.copy()
    varying = {field.wire for field in request.varying}
    others.passing = [line for line in request.passing if line not in varying]
    return others


def settle_request(request: Request, head: RequestHead) -> None:
    """Raises MalformedRequest."""
    for field in head.special:
        apply_request_field(request, field)


def _is_grpc(kind: bytes) -> bool:
    begins = kind[: len(_GRPC_WEB)].lower()
    return begins.startswith(_GRPC) and begins != _GRPC_WEB


def _seconds(value: bytes) -> float | None:
    match = _TIMEOUT(value)
    return None if match is None else int(match[1]) * _UNITS[match[2]]


def response_of(head: ResponseHead) -> Response:
    """Likewise."""
    response = Response()
    status = response.status = head.status
    response.head_octets = head.octets
    response.status_line = _status_lines.get(status) or _status_line(status)
    response.passing = [field.wire for field in head.passing]
    for field in head.special:
        apply_response_field(response, field)
    if head.content_length is not None:
        response.content_length = head.content_length
        response.length_line = b"Content-Length: %d\r\n" % head.content_length
    return response


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    line = _status_lines[status] = f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
    return line


def outbound_pairs(outbound: Outbound, scheme: bytes) -> list[Pair]:
    """What goes upstream, less the token's lines: those are the last of `outbound_lines`, and stand in no table."""
    request = outbound.request
    pairs: list[Pair] = [(b":method", request.method), (b":scheme", scheme)]
    first, *lines = outbound_lines(outbound)
    lines.pop()
    (_, host), *prefix = pairs_of((first,))
    pairs += ((b":authority", host), (b":path", outbound.target), *prefix)
    pairs += pairs_of(lines)
    length = length_of(request)
    if length is not None:
        pairs.append((b"content-length", b"%d" % length))
    return pairs


def length_of(request: Request) -> int | None:
    """What content-length goes upstream: 0, too, where the method expects content and the request ends with its head. RFC 9110
    section 8.6 asks for it in every version, and a receiver may pass the request on by HTTP/1.1.
    """
    length = request.content_length
    if length is None and not request.chunked and request.method in EXPECTS_CONTENT:
        return 0
    return length


def shared_pairs(outbound: Outbound, scheme: bytes) -> tuple[list[Pair], list[Pair]]:
    """(before the path, behind it), of `outbound_pairs` without what the request does not share with others of its shape:
    its path, its length and what is `varying`.
    """
    varying = {field.wire for field in outbound.request.varying}
    first, *lines = outbound_lines(outbound)
    lines.pop()
    (_, host), *prefix = pairs_of((first,))
    before: list[Pair] = [(b":method", outbound.request.method), (b":scheme", scheme), (b":authority", host)]
    return before, prefix + pairs_of(line for line in lines if line not in varying)


def response_pairs(response: Response) -> list[Pair]:
    pairs: list[Pair] = [(b":status", b"%d" % response.status)]
    pairs += pairs_of(response.passing)
    if response.content_length is not None and response.status != 204:
        pairs.append((b"content-length", b"%d" % response.content_length))
    return pairs


def pairs_of(lines: Iterable[bytes]) -> list[Pair]:
    """Each of `lines` is one field line of HTTP/1.1 or several; names become lower case (RFC 9113 section 8.2)."""
    pairs: list[Pair] = []
    known = _known.get
    for line in lines:
        made = known(line)
        pairs += _parsed(line) if made is None else made
    return pairs


def _parsed(line: bytes) -> tuple[Pair, ...]:
    pairs: list[Pair] = []
    lasting = len(line) <= _LONGEST_LINE
    for one in line.split(b"\r\n"):
        if not one:
            continue
        name, _, value = one.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if holds_secret(name):
            pairs.append(NeverIndexed((name, value)))
            lasting = False
        else:
            pairs.append((name, value))
            lasting = lasting and name not in NEVER_INSERTED
    made = tuple(pairs)
    if lasting:
        if len(_known) >= _MOST_LINES:
            _known.clear()
        _known[line] = made
    return made
