"""One question to one receiver, as the data path would ask it, with a step for each thing that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from time import monotonic, time
from typing import Final, Literal, TypeAlias

from proxy import __version__
from proxy.engine.body import BodyReader, ChunkedReader, LengthReader, UntilCloseReader
from proxy.engine.pool import Pool
from proxy.engine.sweeper import Sweeper
from proxy.engine.upstream import UpstreamConnection
from proxy.errors import ConnectFailed, UpstreamError, UpstreamTimeout
from proxy.identity.answer import BODY, Answer
from proxy.identity.token import IdToken
from proxy.policy.headers import TokenPlace
from proxy.policy.request import Response
from proxy.settings.model import Route

StepName: TypeAlias = Literal["dns", "tcp", "tls", "answer"]

PATIENCE: Final = 10.0  # seconds for an answer's head, a cold start included


@dataclass(frozen=True, slots=True)
class Step:
    """`error`: this one failed, and so there is none behind it."""

    name: StepName
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """`error`: the last step's. `at`: this machine's clock when the answer came, Unix seconds."""

    steps: tuple[Step, ...]
    answer: Answer | None = None
    error: UpstreamError | None = None
    at: float = 0.0


async def probe(
    route: Route,
    token: IdToken | None,
    sweeper: Sweeper,
    tls: ssl.SSLContext | None,
    *,
    ask: bool = True,
    patience: float = PATIENCE,
) -> Probe:
    """`tls`: for an https upstream. `ask` False goes no further than the connection: nothing is said on it."""
    pool = _TimedPool(
        route.upstream,
        sweeper,
        tls=tls if route.upstream.scheme == "https" else None,
        keepalive=route.timeouts.keepalive,
        connect=route.timeouts.connect,
    )
    steps: list[Step] = []
    try:
        connection = await _connected(pool, steps)
    except UpstreamError as error:
        return Probe(tuple(steps), error=error)
    try:
        if not ask:
            return Probe(tuple(steps))
        started = monotonic()
        try:
            answer = await _asked(connection, route, token, min(route.timeouts.response, patience))
        except UpstreamError as error:
            steps.append(Step("answer", monotonic() - started, error.detail))
            return Probe(tuple(steps), error=error)
        steps.append(Step("answer", monotonic() - started))
        return Probe(tuple(steps), answer, at=time())
    finally:
        connection.abort()


class _TimedPool(Pool):
    """`reached`: when the TCP connection was there."""

    reached: float | None = None

    async def _wrap(self, sock: socket.socket) -> UpstreamConnection:
        self.reached = monotonic()
        return await super()._wrap(sock)


async def _connected(pool: _TimedPool, steps: list[Step]) -> UpstreamConnection:
    """A name is looked up twice, as the pool does not tell how long that took: the second time it is known."""
    upstream = pool.upstream
    started = monotonic()
    with contextlib.suppress(OSError):  # the pool will say so, better
        await asyncio.get_running_loop().getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
    looked_up = monotonic()
    try:
        connection = await pool.connect()
    except UpstreamError as error:
        ended = monotonic()
        if isinstance(error, ConnectFailed) and error.proxy_status == "dns_error":
            steps.append(Step("dns", looked_up - started, error.detail))
            raise
        steps.append(Step("dns", looked_up - started))
        if pool.reached is None:
            steps.append(Step("tcp", ended - looked_up, error.detail))
        else:
            steps.append(Step("tcp", pool.reached - looked_up))
            steps.append(Step("tls", ended - pool.reached, error.detail))
        raise
    assert pool.reached is not None
    steps.append(Step("dns", looked_up - started))
    steps.append(Step("tcp", pool.reached - looked_up))
    if upstream.scheme == "https":
        steps.append(Step("tls", monotonic() - pool.reached))
    return connection


async def _asked(
    connection: UpstreamConnection, route: Route, token: IdToken | None, patience: float
) -> Answer:
    upstream = route.upstream
    credential = b"" if token is None else TokenPlace.of(route).lines(token.value).alone
    question = _Question()
    connection.begin(question)
    # GET, for a HEAD would not tell the front end's words from the app's. It is safe (RFC 9110 section 9.2.1).
    connection.transport.write(
        f"GET {upstream.base_path or '/'} HTTP/1.1\r\nHost: {upstream.authority}\r\n"
        f"User-Agent: idtoken-proxy-doctor/{__version__}\r\nAccept: */*\r\nConnection: close\r\n".encode(
            "ascii"
        )
        + credential
        + b"\r\n"
    )
    try:
        async with asyncio.timeout(patience):
            await question.answered
    except TimeoutError:
        if question.response is None:
            raise UpstreamTimeout(f"{upstream.authority} did not answer within {patience:g} s") from None
    assert question.response is not None
    return Answer.of(question.response.status, question.response.passing, bytes(question.body))


class _Question:
    """A Listener that wants the head, and the beginning of the body."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self.body = bytearray()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_answer(self, response: Response, rest: bytes) -> BodyReader | None:  # noqa: ARG002 -- comes through the reader
        if response.status < 200:
            return None
        self.response = response
        if response.status in (204, 304) or response.content_length == 0:
            self._done()
            return None
        if response.chunked:
            return ChunkedReader()
        return (
            UntilCloseReader() if response.content_length is None else LengthReader(response.content_length)
        )

    def on_answer_data(self, payload: bytes) -> None:
        self.body += payload
        if len(self.body) >= BODY:
            self._done()

    def on_answer_end(self, reader: BodyReader) -> None:  # noqa: ARG002 -- a Listener's
        self._done()

    def on_upstream_lost(self, error: UpstreamError) -> None:
        if self.response is None and not self.answered.done():
            self.answered.set_exception(error)
        else:
            self._done()

    def on_upstream_full(self, *, full: bool) -> None:
        """One head is soon written."""

    def _done(self) -> None:
        if not self.answered.done():
            self.answered.set_result(None)
