"""Standard input and output as a transport: lines in, lines out, and nothing else's.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio: the server writes nothing to its output that is
no message. So descriptor 1 becomes standard error for everything else in this process, and what it starts: a credential helper
that prints a line would break the protocol. Threads read and write, which files, pipes and terminals all bear; others may share
them, so that they stay blocking.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator
from typing import Final

_AHEAD: Final = 64  # lines that wait to be taken


class StandardStreams:
    """In a running loop. `gone`: nobody reads the output any more."""

    def __init__(self, source: int, sink: int) -> None:
        """Two descriptors, which are this one's from now on."""
        self.gone = asyncio.Event()
        self._source = source
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._out: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        for name, work in (("mcp-reader", self._read), ("mcp-writer", self._write)):
            threading.Thread(target=work, name=name, daemon=True).start()

    async def lines(self) -> AsyncIterator[bytes]:
        """To the end of the input."""
        while (line := await self._lines.get()) is not None:
            self._room.release()
            yield line

    async def write(self, text: str) -> None:
        """A line, whole. Returns when it has been taken."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._out.put((text.encode("utf-8", "backslashreplace") + b"\n", done))
        await done

    def _read(self) -> None:
        with contextlib.suppress(OSError, RuntimeError), open(self._source, "rb") as source:  # noqa: PTH123 -- a descriptor
            for line in source:
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(self._lines.put_nowait, None)

    def _write(self) -> None:
        while True:
            line, done = self._out.get()
            try:
                while line:
                    line = line[os.write(self._sink, line) :]
            except OSError:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self.gone.set)
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_finish, done)


def claimed() -> tuple[int, int]:
    """What descriptors 0 and 1 were: from now on whoever reads 0 finds nothing there, and what is written to 1 is on standard
    error.
    """
    sys.stdout.flush()
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
