"""What stands in for time, for Google and for its keys in these tests."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from idtoken_proxy.identity.cache import TokenCache
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.identity.slot import TokenSlot
from idtoken_proxy.identity.token import IdToken, Token

AUDIENCE = "https://users-x7f3kq-uc.a.run.app"
EMAIL = "caller@proj.iam.gserviceaccount.com"
START = 1_800_000_000.0


# -- tokens -------------------------------------------------------------------


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def rsa_pem() -> str:
    return (
        rsa_key()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(claims: Any) -> str:
    """Signed with `rsa_key`."""
    head = b64(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "k1"}).encode())
    signed = f"{head}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(rsa_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def claims_of(value: str) -> dict[str, Any]:
    """Of a JWT whose signature is checked against `rsa_key`."""
    head, payload, signature = value.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    rsa_key().public_key().verify(raw, f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def unsigned(audience: str, *, exp: float, iat: float | None = None, serial: int = 0) -> IdToken:
    """Quick to make, for the cache, which never looks at a signature."""
    return IdToken(
        value=f"SENTINEL-{serial}.{exp}.{audience}",
        audience=audience,
        expires_at=exp,
        issued_at=iat,
        email=EMAIL,
    )


def id_token(token: Token) -> IdToken:
    assert isinstance(token, IdToken)
    return token


# -- time ---------------------------------------------------------------------


class FakeClock:
    """Time that passes when it is told to. Read from other threads too, by fake sources."""

    def __init__(self, wall: float = START) -> None:
        self._wall = wall
        self._boot = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def wall(self) -> float:
        return self._wall

    def boot(self) -> float:
        return self._boot

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._boot + seconds, done))
        await done

    @property
    def sleeping(self) -> int:
        return sum(not done.done() for _, done in self._sleepers)

    def next_wake(self) -> float | None:
        """Seconds from now to the first sleeper's end."""
        ends = [end for end, done in self._sleepers if not done.done()]
        return min(ends) - self._boot if ends else None

    def pass_(self, seconds: float) -> None:
        """Both clocks go on, and timers with them."""
        self._wall += seconds
        self._boot += seconds
        for end, done in self._sleepers:
            if end <= self._boot and not done.done():
                done.set_result(None)
        self._sleepers = [(end, done) for end, done in self._sleepers if not done.done()]

    def freeze(self, seconds: float) -> None:
        """Suspend, or a sleeping CPU: both clocks go on, timers stand still."""
        self._wall += seconds
        self._boot += seconds
        self._sleepers = [(end + seconds, done) for end, done in self._sleepers]

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._wall += seconds


# -- a source and a cache -----------------------------------------------------


class FakeSource:
    """Mints tokens of `life` seconds by `clock`; raises what `fails` holds; waits while `hold` is clear."""

    name = "fake"

    def __init__(self, clock: FakeClock, *, life: float = 3600.0, refresh_ahead: float = 600.0) -> None:
        self.refresh_ahead = refresh_ahead
        self.clock = clock
        self.life = life
        self.fails: BaseException | None = None
        self.same: IdToken | None = None  # handed out again and again, as the metadata server does
        self.hold = threading.Event()
        self.hold.set()
        self.at: list[float] = []  # the boot clock at each fetch

    @property
    def fetches(self) -> int:
        return len(self.at)

    def describe(self) -> str:
        return "fake source"

    def fetch(self, audience: str) -> IdToken:
        self.at.append(self.clock.boot())
        self.hold.wait()
        if self.fails is not None:
            raise self.fails
        if self.same is not None:
            return self.same
        now = self.clock.wall()
        return unsigned(audience, exp=now + self.life, serial=self.fetches)


@dataclass
class Stage:
    """A cache on a fake clock."""

    clock: FakeClock = field(default_factory=FakeClock)
    deadline: float = 10.0
    maxsize: int = 100
    events: list[FetchEvent] = field(default_factory=list)
    watched: list[TokenSlot] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.cache = TokenCache(
            clock=self.clock,
            deadline=self.deadline,
            maxsize=self.maxsize,
            on_event=self.events.append,
            rng=self.rng,
        )

    def source(self, *, life: float = 3600.0, refresh_ahead: float = 600.0) -> FakeSource:
        return FakeSource(self.clock, life=life, refresh_ahead=refresh_ahead)

    async def settle(self) -> None:
        """Until every flight has landed and every timer is armed."""
        await turns()
        while flights := [slot.active_fetch for slot in self.watched if slot.active_fetch is not None]:
            await asyncio.wait(flights)
            await turns()

    async def pass_(self, seconds: float) -> None:
        """Time passes, timer by timer, each given the time to do its work."""
        end = self.clock.boot() + seconds
        while (wake := self.clock.next_wake()) is not None and self.clock.boot() + wake < end:
            self.clock.pass_(max(wake, 0.0))
            await self.settle()
        self.clock.pass_(end - self.clock.boot())
        await self.settle()


async def turns(count: int = 5) -> None:
    """The loop goes round a few times: for callbacks of callbacks."""
    for _ in range(count):
        await asyncio.sleep(0)


# -- an HTTP server -----------------------------------------------------------


@dataclass
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpEndpoint:
    """A real socket: keeps what it received, answers as `answer` says."""

    def __init__(self, answer: Callable[[Received], Answer]) -> None:
        self.answer = answer
        self.received: list[Received] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                received = Received(self.command, self.path, dict(self.headers), self.rfile.read(length))
                endpoint.received.append(received)
                answer = endpoint.answer(received)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_PUT = do_GET  # noqa: N815 -- BaseHTTPRequestHandler's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    @contextmanager
    def running(self) -> Iterator[HttpEndpoint]:
        # The default poll of half a second would be the longest thing in these tests.
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
