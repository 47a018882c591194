"""The trace that a request belongs to, out of its header lines. Looked for only when a line is really logged.

Nothing but hexadecimal digits comes out of here, whatever a caller wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

# https://www.w3.org/TR/trace-context/#traceparent-header; a version after 00 may have more behind the flags.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
).fullmatch
# https://cloud.google.com/trace/docs/trace-context#legacy-http-header: TRACE_ID/SPAN_ID;o=OPTIONS, the span in decimal.
_CLOUD_TRACE: Final = re.compile(rb"(?!0{32})([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]))?").fullmatch


class Trace(NamedTuple):
    """`id`: 32 digits; `span`: 16, or None."""

    id: str
    span: str | None
    sampled: bool


def trace_of(lines: Iterable[bytes]) -> Trace | None:
    """`lines`: `Name: value` and CRLF, each. `traceparent` comes before `X-Cloud-Trace-Context`."""
    older = None
    for line in lines:
        name, _, value = line.partition(b": ")
        if len(name) == 11 and name.lower() == b"traceparent":
            match = _TRACEPARENT(value[:-2])
            if match is not None and not (match[1] == b"00" and match[5]):
                return Trace(match[2].decode(), match[3].decode(), bool(int(match[4], 16) & 1))
        elif len(name) == 21 and name.lower() == b"x-cloud-trace-context":
            older = _CLOUD_TRACE(value[:-2])
    if older is None:
        return None
    span = int(older[2] or 0)
    return Trace(
        older[1].decode().lower(),
        f"{span:016x}" if 0 < span < 1 << 64 else None,
        older[3] not in (None, b"0"),
    )
