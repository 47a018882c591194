"""The trace that a request belongs to, out of its header lines: for the access log, when a line is really logged, and for
spans.

Nothing but hexadecimal digits comes out of a Trace, whatever a caller wrote.
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

_PARENT: Final = b"traceparent"
_STATE: Final = b"tracestate"
_OLDER: Final = b"x-cloud-trace-context"
_LONGEST_STATE: Final = 512  # https://www.w3.org/TR/trace-context/#tracestate-limits


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


def parent_of(lines: Iterable[bytes]) -> tuple[Trace | None, bool]:
    """(what a span of ours descends from, whether what the lines say of a trace must not go on). W3C Trace Context, sections 3.2.2
    and 4.3: a `traceparent` that cannot be parsed, or comes twice, is as if it were not there, and a `tracestate` goes with it.
    """
    parents: list[bytes] = []
    older = None
    stateful = False
    # By where the colon stands: most requests have none of the three, and are looked at for this alone.
    for line in lines:
        colon = line.find(b":")
        if colon == 11:
            if line[:11].lower() == _PARENT:
                parents.append(line[13:-2])
        elif colon == 10:
            stateful = stateful or line[:10].lower() == _STATE
        elif colon == 21 and line[:21].lower() == _OLDER:
            older = line
    if not (parents or older or stateful):
        return None, False
    if len(parents) == 1:
        match = _TRACEPARENT(parents[0])
        if match is not None and not (match[1] == b"00" and match[5]):
            return Trace(match[2].decode(), match[3].decode(), bool(int(match[4], 16) & 1)), False
    spoilt = stateful or bool(parents)
    if older is not None:
        trace = trace_of((older,))
        if trace is not None and trace.span is not None:
            return trace, spoilt
    return None, spoilt


def without_context(lines: Iterable[bytes]) -> list[bytes]:
    """Without `traceparent` and `tracestate`."""
    return [line for line in lines if line.partition(b": ")[0].lower() not in (_PARENT, _STATE)]


def with_parent(lines: Iterable[bytes], parent: bytes) -> list[bytes]:
    """`parent`, a whole line, in place of the `traceparent` that is there; a `tracestate` stays, which knows the same trace."""
    rest = [line for line in lines if not (line[11:13] == b": " and line[:11].lower() == _PARENT)]
    rest.append(parent)
    return rest


def state_of(lines: Iterable[bytes]) -> str:
    """What `tracestate` says, in one value; "" where it says nothing."""
    values = [line[12:-2] for line in lines if line[10:12] == b": " and line[:10].lower() == _STATE]
    return b",".join(values)[:_LONGEST_STATE].decode("ascii", "replace") if values else ""
