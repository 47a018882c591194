"""Where the server is, and HTTP with it: every request by way of the engine, which attaches the token."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
import structlog
from yarl import URL

from idtoken_proxy import __version__
from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.identity.token import Token
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.event_stream import Event, EventStream, TooLarge
from idtoken_proxy.mcp.messages import Malformed, Message
from idtoken_proxy.mcp.refusal import READ, Answered, Refused, refused
from idtoken_proxy.settings.model import Route
from idtoken_proxy.terminal import printable

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
MOST: Final = 64 * 1024 * 1024  # octets of one message: twice what Cloud Run lets through at once
_REDIRECTS: Final = 3
_SAME_METHOD: Final = frozenset({307, 308})  # RFC 9110 section 15.4
_TARGET: Final = re.compile(r"[\x21-\x7e]+").fullmatch

log = structlog.get_logger("idtoken_proxy.mcp")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `first` to `most`: between tries to take a stream up again, which double; `least`: whatever a server asks
    for. `patience`: how long a request waits for its stream to come back.
    """

    first: float = 1.0
    most: float = 30.0
    least: float = 0.1
    patience: float = 60.0

    def wait(self, asked: int | None, failures: int) -> float:
        """`asked`: the server's `retry`, in milliseconds; `failures`: in a row."""
        usual = self.first if asked is None else asked / 1000
        return float(min(max(usual * 2 ** min(failures, 16), self.least), self.most))


@dataclass
class Remote:
    """`client`: whose requests all go to the engine. `target`: path and query of the endpoint; where a redirect leads it counts from then on, as long
    as it is answered well there.
    `slot`: of the engine's tokens; None where the server is public.
    """

    client: aiohttp.ClientSession
    route: Route
    target: str
    slot: TokenSlot | None = None
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self._named = self.target

    @property
    def token(self) -> Token | None:
        """The one at hand."""
        return None if self.slot is None else self.slot.current()

    async def renew(self, refused: Token | None) -> None:
        """Until the engine has another than this one, or knows that there is none."""
        if self.slot is not None and refused is not None:
            with contextlib.suppress(TokenError):
                await self.slot.renewed(refused)

    @contextlib.asynccontextmanager
    async def ask(
        self, method: str, fields: Mapping[str, str], text: str | None = None, target: str | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; `target`: another than the endpoint's. Raises aiohttp.ClientError, and Refused for a redirect that
        leads elsewhere.
        """
        where = self.target if target is None else target
        moves = target is None
        for _ in range(_REDIRECTS + 1):
            async with self.client.request(
                method,
                URL(f"http://localhost{where}", encoded=True),
                headers={"User-Agent": f"idtoken-proxy-mcp/{__version__}", **fields},
                data=None if text is None else text.encode(),
                allow_redirects=False,
            ) as response:
                if not (
                    response.status in _SAME_METHOD or (method == "GET" and 301 <= response.status < 304)
                ):
                    if response.status >= 300:
                        self.target = self._named  # which may lead elsewhere by now
                    elif moves:
                        self.target = where
                    yield response
                    return
                moves = moves and response.status in _SAME_METHOD
                where = self.here(response.headers.get("Location", ""), "a redirect")
        self.target = self._named
        raise Refused("the server redirects without end", status=307)

    def here(self, url: str, what: str) -> str:
        """Path and query of a URL that the server names. Of a server behind a TLS proxy it often begins with http, and with
        the name by which the engine was asked where the engine has rewritten it; but a token never follows it to another
        host. Refused.
        """
        try:
            named = urlsplit(urljoin(f"http://localhost{self.target}", url))
            port = named.port
        except ValueError:
            named, port = urlsplit("http://?"), None
        own = {self.route.upstream.host, "localhost"}
        if named.hostname not in own or port not in (None, 443, 80, self.route.upstream.port):
            raise Refused(
                f"{what} names another host, {printable(str(named.hostname))[:200]}, which gets no token",
                "give the URL that it leads to, where that is the server that is meant",
                cause="elsewhere",
            )
        target = (named.path or "/") + (f"?{named.query}" if named.query else "")
        if not _TARGET(target):
            raise Refused(f"{what} leads to what is no URL: {printable(target)[:200]}", cause="mcp_server")
        return target

    async def refusal(self, response: aiohttp.ClientResponse) -> Refused:
        """What the answer, which is none, comes to."""
        body = bytearray()
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(10):
                while len(body) < READ and (block := await response.content.read(READ - len(body))):
                    body += block
        fields = tuple((name, value) for name, value in response.headers.items())
        path = urlsplit(self.target).path
        return refused(Answered(response.status, fields, bytes(body)), self.route, self.token, path)


def is_events(response: aiohttp.ClientResponse) -> bool:
    return response.status == 200 and response.content_type == EVENTS


async def events_of(response: aiohttp.ClientResponse, stream: EventStream) -> AsyncIterator[Event]:
    """To the stream's end, be it in order or not. Refused where one is too large."""
    try:
        async for block in response.content.iter_any():
            for event in stream.feed(block):
                yield event
    except TooLarge:
        raise Refused(f"the server sends an event of more than {MOST} bytes", cause="too_large") from None
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        return


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """Refused where it is too large; aiohttp.ClientError."""
    body = bytearray()
    async for block in response.content.iter_any():
        body += block
        if len(body) > MOST:
            raise Refused(f"the server sends a message of more than {MOST} bytes", cause="too_large")
    return bytes(body)


def read_of(text: str | bytes) -> tuple[Message | Malformed, ...]:
    """What the server sends; of what is no message the log tells."""
    try:
        found = messages.read_each(text)
    except Malformed as malformed:
        found = (malformed,)
    for each in found:
        if isinstance(each, Malformed):
            log.warning("what the server sends is no JSON-RPC message, and not passed on", reason=str(each))
    return found
