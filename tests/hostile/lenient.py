"""Readers as there are out there, none of them strict: what one of them reads in a stream, a receiver may read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

_START = re.compile(rb"[A-Za-z]+ +(\S+) +HTTP/1\.[01]\s*").fullmatch


@dataclass(frozen=True)
class Read:
    target: bytes
    block: bytes

    def __contains__(self, octets: bytes) -> bool:
        return octets in self.block


@dataclass(frozen=True)
class Habits:
    """`bare_lf` ends lines; a coding that merely `contains` chunked is chunked; a `length_first` of two; a length that is
    there wins over a coding (`length_wins`).
    """

    bare_lf: bool
    contains: bool
    length_first: bool
    length_wins: bool


ALL = tuple(Habits(*habits) for habits in itertools.product((False, True), repeat=4))


def requests(stream: bytes, habits: Habits) -> Iterator[Read]:
    """As far as this reader comes; a head whose body is still to come is told, too."""
    at = 0
    while True:
        while stream.startswith((b"\r\n", b"\n"), at):
            at += 2 if stream.startswith(b"\r\n", at) else 1
        end = re.compile(rb"\r?\n\r?\n" if habits.bare_lf else rb"\r\n\r\n").search(stream, at)
        if end is None:
            return
        block = stream[at : end.start()]
        first, *lines = re.split(rb"\r?\n" if habits.bare_lf else rb"\r\n", block)
        start = _START(first)
        if start is None:
            return
        yield Read(start[1], block)
        behind = _body(stream, end.end(), lines, habits)
        if behind is None:
            return
        at = behind


def _body(stream: bytes, at: int, lines: list[bytes], habits: Habits) -> int | None:
    """Where the next message begins; None where this one has no end."""
    fields = [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
    ]
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    lengths = [value for name, value in fields if name == b"content-length"]
    chunked = any(b"chunked" in coding if habits.contains else coding == b"chunked" for coding in codings)
    number = re.match(rb"\+?0*(\d{1,15})", lengths[0 if habits.length_first else -1]) if lengths else None
    if chunked and not (number and habits.length_wins):
        return _chunks(stream, at, bare_lf=habits.bare_lf)
    if number:
        end = at + int(number[1])
        return end if end <= len(stream) else None
    return at


def _chunks(stream: bytes, at: int, *, bare_lf: bool) -> int | None:
    line_end = re.compile(rb"\r?\n" if bare_lf else rb"\r\n")
    while True:
        size = re.compile(rb"\s*(?:0x)?([0-9A-Fa-f]+)").match(stream, at)
        end = line_end.search(stream, at)
        if size is None or end is None:
            return None
        at = end.end()
        if not int(size[1], 16):
            while (end := line_end.search(stream, at)) and end.start() > at:
                at = end.end()
            return None if end is None else end.end()
        at += int(size[1], 16)
        behind = line_end.match(stream, at)
        if behind is None:
            return None
        at = behind.end()
