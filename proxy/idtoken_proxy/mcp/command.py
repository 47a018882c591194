"""`idtoken-proxy mcp URL` as a process: until its client closes its input, or reads no more."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

from idtoken_proxy import leaving
from idtoken_proxy.mcp.bridge import Bridge
from idtoken_proxy.mcp.listener import Target, connected
from idtoken_proxy.mcp.standard_streams import StandardStreams, claimed
from idtoken_proxy.terminal import say

# Clients wait two seconds, and then kill: these, and half a second for the session's end, have to be over by then.
_DRAIN: Final = 1.0
_CLOSING: Final = 0.3  # of the loop, where a look-up does not come back


def run(target: Target, environ: Mapping[str, str] = os.environ) -> NoReturn:
    """To the end of the process."""
    if sys.stdin.isatty():
        say(
            "An MCP client starts this, and says JSON-RPC on its standard input. To see whether it works: --tools; what to paste "
            "into a client: --print-config. Ctrl-D ends it.",
            err=True,
        )
    source, sink = claimed()
    leaving.at_once(leaving.run(_serve(target, environ, source, sink), _CLOSING))


async def _serve(target: Target, environ: Mapping[str, str], source: int, sink: int) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    streams = StandardStreams(source, sink)
    async with connected(target, environ) as remote:
        bridge = Bridge(remote, streams.write)
        reading = asyncio.ensure_future(_read(streams, bridge))
        ends = {reading, *map(asyncio.ensure_future, (told.wait(), streams.gone.wait()))}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await bridge.drain(_DRAIN)
        finally:
            for end in ends:
                end.cancel()
            await bridge.close()
    return 0


async def _read(streams: StandardStreams, bridge: Bridge) -> None:
    async for line in streams.lines():
        await bridge.take(line)
