"""A proxy in front of a recording receiver, on real sockets: one route for everything, one that is bounded by a prefix
and a base path, each with a token of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import LogSettings, Upstream
from tests.engine.proxied import AUDIENCE, Proxied, make_token, route_to, settings_for
from tests.engine.wire import Receiver, Script, Wire, answering, ok, turns
from tests.hostile.judge import Record, Tokens, check, read

BOUNDED_AUDIENCE = "https://bounded.example"


class World:
    def __init__(self, proxied: Proxied, receiver: Receiver, tokens: Tokens) -> None:
        self.proxied = proxied
        self.receiver = receiver
        self.tokens = tokens
        self.host = f"127.0.0.1:{receiver.port}".encode()
        self._read: dict[int, int] = {}

    async def say(self, wire: bytes, *, at: Iterable[int] = ()) -> bytes:
        """On a connection of its own, in pieces cut at these places; all that came back until the proxy closed it."""
        app = await self.proxied.connect()
        try:
            begin = 0
            for place in (*at, len(wire)):
                app.send(wire[begin:place])
                begin = place
                if begin < len(wire):
                    await turns()
                if app.lost:
                    break
            return await app.to_end()
        finally:
            app.close()
            self.proxied.clients.remove(app)

    async def seen(self) -> list[Record]:
        """What came upstream since it was last asked, judged, by connection."""
        await turns(5)
        records = []
        for number, wire in enumerate(self.receiver.connections):
            before = self._read.get(number, 0)
            if len(wire.received) == before:
                continue
            record = read(bytes(wire.received[before:]))
            if record.begun is not None or record.torn:
                await wire.gone()  # what is never whole must at least have ended
                record = read(bytes(wire.received[before:]))
            assert not record.torn, record  # a head is one write
            self._read[number] = len(wire.received)
            for head in (*record.requests, *([record.begun] if record.begun else [])):
                check(head, self.tokens, self.host)
            records.append(record)
        return records


@contextlib.asynccontextmanager
async def world(directory: Path, script: Script | None = None) -> AsyncIterator[World]:
    tokens = Tokens(make_token(AUDIENCE), make_token(BOUNDED_AUDIENCE))
    for name, token in (("open", tokens.open), ("bounded", tokens.bounded)):
        (directory / name).write_text(token)
    async with Receiver(script or answering(ok())) as receiver:
        settings = settings_for(
            route_to(receiver, directory / "open"),
            route_to(
                receiver,
                directory / "bounded",
                name="bounded",
                path="/bounded",
                strip_prefix=True,
                upstream=Upstream("http", "127.0.0.1", receiver.port, "/base"),
                audience=BOUNDED_AUDIENCE,
                identity=FileIdentity(str(directory / "bounded")),
            ),
            log=LogSettings(access="off"),
        )
        server = Server(settings, {})
        await server.start()
        while not server.ready:
            await asyncio.sleep(0.001)
        proxied = Proxied(server, tokens.open)
        try:
            yield World(proxied, receiver, tokens)
        finally:
            await proxied.end()


async def close(wire: Wire) -> None:
    wire.close()
    await wire.gone()
