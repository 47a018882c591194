"""An egress proxy in a test: it takes CONNECT, and relays to a port of this machine whatever name it was given."""

from __future__ import annotations

import asyncio

from tests.engine.wire import Receiver, Script, Wire, connect, turns

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def relaying(receiver: Receiver, answer: bytes = ESTABLISHED, *, drip: bool = False) -> Script:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        onward = await connect(receiver.port)
        try:
            if drip:
                await wire.drip(answer)
            else:
                wire.send(answer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(wire, onward))
                both.create_task(_pump(onward, wire))
        finally:
            onward.transport.abort()

    return script


async def _pump(one: Wire, other: Wire) -> None:
    while not (one.ended and not one.unread):
        await one.wait_on(lambda: bool(one.unread) or one.ended)
        data = await one.exactly(len(one.unread))
        if data and not other.lost:
            other.send(data)
    await turns()
    other.close()


def saying(answer: bytes, *, drip: bool = False, close: bool = False) -> Script:
    """What it answers to CONNECT, whatever that comes to."""

    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        if drip:
            await wire.drip(answer)
        else:
            wire.send(answer)
        if close:
            wire.close()
        await wire.gone()

    return script
