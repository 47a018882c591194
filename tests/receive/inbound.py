"""A listener before an app, whole: issuers that publish keys, an app that says what it was sent, and the proxy between; or its
judge alone, without a socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.engine.receipts import ReceivedCounts
from idtoken_proxy.policy.headers import TokenLines
from idtoken_proxy.policy.request import Request
from idtoken_proxy.receive.admission import Admission
from idtoken_proxy.receive.issuers import Issuer, issuer_of
from idtoken_proxy.receive.judge import Judge
from idtoken_proxy.receive.key_set import Fetched, KeySet
from idtoken_proxy.receive.verification_keys import keys_of
from idtoken_proxy.server import Server
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Settings, TcpAddress
from tests.engine.wire import Message, Receiver, Wire, connect, eventually, get, ok
from tests.identity.fakes import FakeClock
from tests.receive.forged import GOOGLE, IAP, ISSUER, OTHERS
from tests.receive.signing import AUDIENCE, LOGIN, NOW, Signer, jwks

INVOKERS = frozenset(
    {f"serviceAccount:{LOGIN}", "domain:example.com", f"principal:{ISSUER} spiffe://example.com/login"}
)


def request_with(*fields: str, target: str = "/orders/7") -> Request:
    return parse_request(get(target, *fields).removesuffix(b"\r\n\r\n"))


def key_set(clock: FakeClock, issuer: Issuer, *signers: Signer) -> KeySet:
    """With these keys, for as long as the test takes."""
    fetched = Fetched(keys_of(jwks(*signers)), 10 * 3600.0)
    keys = KeySet(issuer.name, lambda: fetched, clock, lambda: None)
    keys.take(fetched)
    return keys


async def asked_in_vain(*key_sets: KeySet) -> None:
    """For a key that nobody has, so that for a minute nobody is asked again."""
    for keys in key_sets:
        assert await keys.ask("no-such-key-anywhere") is None
        assert not keys.may_ask()


def judge_of(
    clock: FakeClock,
    *,
    audiences: tuple[str, ...] = (AUDIENCE,),
    iap: bool = True,
    keep_signature: bool = False,
) -> Judge:
    """Of Google's tokens, those of ISSUER and IAP's."""
    listed = [("google", GOOGLE), (ISSUER, OTHERS), *([("iap", IAP)] if iap else [])]
    issuers = [(issuer_of(name), signer) for name, signer in listed]
    pairs = [(issuer, key_set(clock, issuer, signer)) for issuer, signer in issuers]
    asyncio.run(asked_in_vain(*(keys for _, keys in pairs)))
    return Judge(pairs, audiences, clock, keep_signature=keep_signature)


def admission_of(
    judge: Judge, invokers: frozenset[str] | None = INVOKERS
) -> tuple[Admission, ReceivedCounts]:
    counts = ReceivedCounts()
    return Admission(judge, invokers, counts), counts


def lines_of(admission: Admission, *fields: str) -> str:
    """What the app is told, where that is known at once."""
    lines = admission.lines_for(request_with(*fields))
    assert isinstance(lines, TokenLines)
    assert lines.alone == lines.beside
    return lines.alone.decode()


def fake_clock() -> FakeClock:
    return FakeClock(float(NOW))


@dataclass
class Published:
    """What the issuers answer, while they do. `asked`: how often."""

    google: list[Signer] = field(default_factory=lambda: [GOOGLE])
    away: bool = False
    asked: int = 0
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answering.set()

    async def serve(self, wire: Wire) -> None:
        while True:
            request = await wire.request()
            self.asked += 1
            await self.answering.wait()
            if self.away:
                wire.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                continue
            # Google's document stands for IAP's too (composition.py); ISSUER's is found by discovery.
            signers = [OTHERS] if request.target.startswith("/issuer") else [*self.google, IAP]
            wire.send(ok(jwks(*signers), "Cache-Control: public, max-age=3600"))


@dataclass
class Inbound:
    """A running one. `sent_on`: what came to the app."""

    server: Server
    app: Receiver
    published: Published
    wires: list[Wire] = field(default_factory=list)

    @property
    def port(self) -> int:
        address = self.server.inbound[0]
        assert isinstance(address, TcpAddress)
        return address.port

    @property
    def sent_on(self) -> list[Message]:
        """By HTTP/1.1; that the app speaks no other has to be found out."""
        return [one for one in self.app.requests if one.start.endswith("HTTP/1.1")]

    async def connect(self) -> Wire:
        wire = await connect(self.port)
        self.wires.append(wire)
        return wire

    async def ask(self, *fields: str, target: str = "/orders/7", octets: bytes | None = None) -> Message:
        """On a connection of its own."""
        wire = await self.connect()
        wire.send(get(target, *fields) if octets is None else octets)
        answer = await wire.response()
        wire.close()
        return answer


def settings_text(app: int, keys: int, **changes: str) -> str:
    """`changes`: keys of the listener, as YAML."""
    own = {
        "listen": "127.0.0.1:0",
        "upstream": f"http://127.0.0.1:{app}",
        "audiences": f"[{AUDIENCE}]",
        "invokers": f"['serviceAccount:{LOGIN}', 'domain:example.com']",
        "issuers": "[google, iap]",
        **changes,
    }
    listed = "\n".join(f"    {name}: {value}" for name, value in own.items())
    return (
        f"admin: off\ngoogle: {{keys_endpoint: 'http://127.0.0.1:{keys}/certs'}}\nreceive:\n  -\n{listed}\n"
    )


async def echo(wire: Wire) -> None:
    while True:
        await wire.request()
        wire.send(ok(b"the app"))


@asynccontextmanager
async def inbound(
    *,
    script: Any = echo,
    clock: FakeClock | None = None,
    listed: dict[str, Any] | None = None,
    **changes: str,
) -> AsyncIterator[Inbound]:
    """`listed`: of the settings, in place of what the file says."""
    published = Published()
    async with Receiver(published.serve) as issuer, Receiver(script) as app:
        settings: Settings = settings_from_text(
            settings_text(app.port, issuer.port, **changes), "proxy.yaml", {}
        )
        server = Server(replace(settings, **(listed or {})), {}, clock=clock)
        await server.start()
        running = Inbound(server, app, published)
        try:
            await eventually(lambda: server.ready, "no keys")
            yield running
        finally:
            for wire in running.wires:
                if not wire.lost:
                    wire.transport.abort()
            await server.stop(drain=0.05)


def now() -> float:
    return time.time()
