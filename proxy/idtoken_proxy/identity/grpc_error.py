"""What Google says when it says no over gRPC: a status and a sentence in trailers, and google.rpc.Status beside them.

    grpc-status: 7
    grpc-message: Permission%20denied                 UTF-8, percent-encoded
    grpc-status-details-bin: CAcSEFBlcm1pc3Npb24...   google.rpc.Status in Protocol Buffers, base64

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, https://google.aip.dev/193. It is written in the form that the
same API has over HTTP, so that google_error.py reads both. Of the details those that tell why are kept: ErrorInfo and
PreconditionFailure (google/rpc/error_details.proto).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto has the HTTP status of each.
_REFUSALS: Final = {
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    16: (401, "UNAUTHENTICATED"),
}
_LINES: Final = tuple(b"grpc-status: %d" % code for code in _REFUSALS)
_VARINT: Final = 0
_FIXED: Final = {1: 8, 5: 4}  # octets
_BYTES: Final = 2
_LONGEST_VARINT: Final = 10  # octets


def refuses(lines: Iterable[bytes]) -> bool:
    """Whether a gRPC status among these field lines speaks of who calls, or how often."""
    return any(line.startswith(b"grpc-status:") and line.rstrip() in _LINES for line in lines)


def in_http(lines: Iterable[bytes]) -> tuple[int, bytes] | None:
    """(the HTTP status, the JSON body) with which the same API refuses over HTTP; None where these lines do not refuse."""
    said = {}
    for line in lines:
        name, _, value = line.partition(b":")
        said[name.strip().lower()] = value.strip()
    number = said.get(b"grpc-status", b"")
    known = _REFUSALS.get(int(number)) if number.isdigit() and len(number) <= 2 else None
    if known is None:
        return None
    status, code = known
    error = {
        "code": status,
        "message": unquote(said.get(b"grpc-message", b"").decode("latin-1"), errors="replace"),
        "status": code,
        "details": _details(said.get(b"grpc-status-details-bin", b"")),
    }
    return status, json.dumps({"error": error}).encode()


def _details(value: bytes) -> list[dict[str, Any]]:
    """What can be read of them: a refusal that says less is one all the same."""
    try:
        status = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
        return [detail for number, one in _fields(status) if number == 3 for detail in _detail(one)]
    except ValueError:
        return []


def _detail(any_message: bytes) -> Iterator[dict[str, Any]]:
    """google.protobuf.Any: 1 the type's URL, 2 the message."""
    parts = dict(_fields(any_message))
    message = parts.get(2, b"")
    kind = _text(parts.get(1, b"")).rpartition("/")[2]
    if kind == "google.rpc.ErrorInfo":  # 1 reason, 2 domain, 3 metadata
        metadata = [dict(_fields(one)) for number, one in _fields(message) if number == 3]
        yield {
            "reason": _text(dict(_fields(message)).get(1, b"")),
            "metadata": {_text(one.get(1, b"")): _text(one.get(2, b"")) for one in metadata},
        }
    elif kind == "google.rpc.PreconditionFailure":  # 1 violations: 1 type, 2 subject, 3 description
        violations = [dict(_fields(one)) for number, one in _fields(message) if number == 1]
        yield {
            "violations": [
                {"type": _text(one.get(1, b"")), "description": _text(one.get(3, b""))} for one in violations
            ]
        }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, octets) of each field that is a text or a message; the others are passed over. ValueError where it is cut off.
    https://protobuf.dev/programming-guides/encoding
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError("a kind of field that nothing new has")
        if at + length > len(message):
            raise ValueError("cut off")
        if kind == _BYTES:
            yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(its value, where the next thing begins)."""
    value = 0
    for shift, octet in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (octet & 0x7F) << (7 * shift)
        if octet < 0x80:
            return value, at + shift + 1
    raise ValueError("cut off")
