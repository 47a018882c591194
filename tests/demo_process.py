"""A demo in a process of its own, as somebody sees it in a terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp


@dataclass
class Demo:
    """`said`: all that it printed until it was ready."""

    process: asyncio.subprocess.Process
    said: str
    client: aiohttp.ClientSession

    def commands(self, *programs: str) -> list[str]:
        """The lines that begin with one of them."""
        return [line for line in self.said.splitlines() if line.partition(" ")[0] in programs]

    async def ended_by(self, number: signal.Signals) -> str:
        """What it wrote to its standard error. It has ended cleanly."""
        self.process.send_signal(number)
        _, errors = await self.process.communicate()
        assert self.process.returncode == 0, errors
        return errors.decode()


@asynccontextmanager
async def demo(module: str, arguments: str = "") -> AsyncIterator[Demo]:
    """`module`: whose `run` it is. Half a minute is all that it has."""
    code = f"import sys; from {module} import run; sys.exit(run({arguments}))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-u", "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as client:
            said = ""
            while "Ctrl-C" not in said:
                line = await process.stdout.readline()
                assert line, await process.communicate()
                said += line.decode()
            yield Demo(process, said, client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
