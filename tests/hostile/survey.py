"""What a proxy, ours or another, makes of every case: asked from outside, told by what a recording receiver had."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from tests.hostile import bodies, callers, framings, lenient, lines, oddities, targets, tokens
from tests.hostile.case import CANARY, Case
from tests.hostile.strict import Incomplete, Malformed, Reader

QUIET: Final = 0.25  # seconds without a word, after which a proxy is taken to wait for more

FAMILIES: Final = {
    "request lines": lines.REQUEST_LINES,
    "line ends": lines.LINE_END_CASES,
    "field lines": lines.FIELDS,
    "transfer codings": framings.CODED,
    "lengths": framings.COUNTED,
    "chunks and trailers": bodies.BODIES,
    # What is left out says CONNECT or TRACE, which other proxies may well serve.
    "targets and hosts": {name: case for name, case in targets.ABSOLUTES.items() if case.status == 400},
}
_MARK = re.compile(rb"authorization: bearer [\w-]+\.[\w-]+\.[\w-]+", re.IGNORECASE)
_THEIRS = tokens.THEIRS.encode()


class Recorder:
    """A receiver that keeps every octet, answers what it takes for a request, and has each connection used once."""

    def __init__(self) -> None:
        self.streams: list[bytearray] = []
        self.open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self.open):
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = bytearray()
        self.streams.append(stream)
        self.open.add(writer)
        answered = False
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                stream += data
                if not answered and _complete(bytes(stream)):
                    answered = True
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        self.open.discard(writer)
        writer.close()

    def take(self) -> list[bytes]:
        taken = [bytes(stream) for stream in self.streams if stream]
        self.streams.clear()
        return taken


def _complete(stream: bytes) -> bool:
    try:
        Reader(stream).request()
    except Incomplete:
        return False
    except Malformed:
        return b"\n\r\n" in stream or b"\n\n" in stream
    return True


@dataclass
class Findings:
    """Names of cases, by what became of them."""

    name: str
    forwarded: dict[str, list[str]] = field(default_factory=dict)  # by family: must be refused, and was not
    mended: dict[str, list[str]] = field(default_factory=dict)  # by family: may be mended, and went on
    smuggled: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)  # of a page, or under a rebound name
    lost: list[str] = field(default_factory=list)  # its own token
    beside: list[str] = field(default_factory=list)  # a client's own in a header of ours, or an alias of one
    refused: list[str] = field(default_factory=list)  # though well-formed


async def survey(name: str, port: int, recorder: Recorder) -> Findings:
    found = Findings(name)
    for family, cases in FAMILIES.items():
        found.forwarded[family] = []
        found.mended[family] = []
        for case in cases.values():
            streams = await ask(port, recorder, case.wire)
            if _forwarded(streams, case):
                (found.mended if case.mendable else found.forwarded)[family].append(case.name)
            if any(map(_smuggled, streams)):
                found.smuggled.append(f"{family}: {case.name}")
    for case in callers.CALLERS.values():
        if _heads(await ask(port, recorder, case.wire)):
            found.reached.append(case.name)
    for case in tokens.TOKENS.values():
        for head in _heads(await ask(port, recorder, case.wire)):
            if not _MARK.search(head):
                found.lost.append(case.name)
            elif _accompanied(head):
                found.beside.append(case.name)
    for odd in oddities.ODDITIES.values():
        if not _heads(await ask(port, recorder, odd.wire)):
            found.refused.append(odd.name)
    return found


async def ask(port: int, recorder: Recorder, wire: bytes) -> list[bytes]:
    """The streams of all connections that the receiver had for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(wire + CANARY)
        while await asyncio.wait_for(reader.read(65536), QUIET):
            pass
    writer.transport.abort()
    for _ in range(50):  # what was under way comes to its end
        await asyncio.sleep(0.001)
        if not recorder.open:
            break
    return recorder.take()


def _first(stream: bytes) -> bytes | None:
    head, end, _ = stream.partition(b"\r\n\r\n")
    return head if end and b" /canary " not in head.split(b"\r\n")[0] else None


def _heads(streams: Iterable[bytes]) -> list[bytes]:
    return [head for head in map(_first, streams) if head is not None]


def _forwarded(streams: Iterable[bytes], case: Case) -> bool:
    for stream in streams:
        if _first(stream) is None:
            continue
        if not case.cut:
            return True
        try:
            Reader(stream).request()
        except Incomplete:
            continue  # the head was in order: what counts is that there was no end
        except Malformed:
            pass
        return True
    return False


def _smuggled(stream: bytes) -> bool:
    """Some receiver would read a request that the proxy never took for one: it has not the proxy's mark."""
    return any(
        read.target == b"/canary" and not _MARK.search(read.block)
        for habits in lenient.ALL
        for read in lenient.requests(stream, habits)
    )


def _accompanied(head: bytes) -> bool:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        folded = re.sub(rb"[^0-9a-z]", b"-", name.strip().lower())
        own_and_ours = folded == b"authorization" and b"x-serverless-authorization: bearer" in head.lower()
        if _THEIRS in value and folded in {
            b"authorization",
            b"x-serverless-authorization",
            b"proxy-authorization",
        }:
            if own_and_ours and name.lower() == b"authorization":
                continue  # the app's own passes, and the receiver reads ours
            return True
    return False
