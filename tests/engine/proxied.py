"""A proxy in front of a scripted receiver, both on the test's loop, and what is in its pools afterwards."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import Route, Settings, TcpAddress, Timeouts, Upstream
from tests.engine.wire import PATIENCE, Message, Receiver, Wire, connect, eventually, turns

AUDIENCE = "https://receiver.example"
LOCAL = (TcpAddress("127.0.0.1", 0),)


def make_token(audience: str = AUDIENCE, lifetime: float = 3600.0) -> str:
    """In form; nobody here checks a signature."""
    now = int(time.time())

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return ".".join(
        (
            part({"alg": "RS256", "typ": "JWT"}),
            part({"aud": audience, "exp": now + lifetime, "iat": now, "email": "caller@example.com"}),
            "c2lnbmF0dXJlLXNlbnRpbmVs",
        )
    )


@dataclass
class Proxied:
    """A running proxy; its connections from `connect` are ended with it."""

    server: Server
    token: str
    clients: list[Wire] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.addresses[0].port

    @property
    def pools(self) -> list[Pool]:
        return list({id(entry.pool): entry.pool for entry in self.server.context.router.entries}.values())

    @property
    def pool(self) -> Pool:
        (pool,) = self.pools
        return pool

    @property
    def connections(self) -> list[Downstream]:
        return [cast("Downstream", one) for one in self.server.context.connections]

    async def connect(self) -> Wire:
        wire = await connect(self.port)
        self.clients.append(wire)
        return wire

    async def ask(self, request: bytes, *, to: str = "GET") -> Message:
        """On a connection of its own."""
        app = await self.connect()
        app.send(request)
        answer = await app.response(to=to)
        app.close()
        return answer

    async def elapse(self, seconds: float) -> None:
        """So much running time passes for every deadline at once, and a sweep has seen it, whether or not its turn had
        come. What is on its way through the kernel is not waited for: see to it first.
        """
        sweeper = self.server.context.sweeper
        sweeper.now += seconds
        sweeper.sweep()
        await turns()

    async def elapse_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Again and again, as what is between kernels moves by the world's time, and puts off a deadline."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self.elapse(seconds)
                await asyncio.sleep(0.005)

    async def settled(self, *, idle: int | None = None) -> None:
        """Nothing is under way any more, and what is left upstream may be used again."""
        await eventually(
            lambda: (
                all(pool.live == pool.idle for pool in self.pools)
                and (idle is None or sum(pool.idle for pool in self.pools) == idle)
            ),
            f"{self.pools} do not settle at {idle if idle is not None else 'any number of'} idle connections",
        )

    async def end(self) -> None:
        for wire in self.clients:
            if not wire.lost:
                wire.transport.abort()
        try:
            await self.settled()
        finally:
            await self.server.stop(drain=0.05)
        await eventually(lambda: not self.server.context.busy, "connections outlive the proxy")
        await eventually(lambda: not any(pool.live for pool in self.pools), f"{self.pools} outlive the proxy")


def route_to(receiver: Receiver | int, token_file: Path | None, **changes: Any) -> Route:
    port = receiver if isinstance(receiver, int) else receiver.port
    route = Route(
        name="receiver",
        upstream=Upstream("http", "127.0.0.1", port),
        audience=AUDIENCE,
        identity=FileIdentity(str(token_file)),
    )
    return replace(route, **changes)


def settings_for(*routes: Route, timeouts: Timeouts | None = None, **changes: Any) -> Settings:
    if timeouts is not None:
        routes = tuple(replace(route, timeouts=timeouts) for route in routes)
        changes["timeouts"] = timeouts
    return Settings(routes=routes, **{"listen": LOCAL, "admin": None, **changes})


async def unasked() -> Pool:
    """Of which nothing is asked."""
    return Pool(Upstream("http", "localhost", 1), Sweeper(1.0), tls=None, keepalive=1, connect=1)
