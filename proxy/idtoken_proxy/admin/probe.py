"""One question to one receiver, as the data path would ask it, with a step for each thing that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Final, Literal, TypeAlias

from idtoken_proxy import __version__
from idtoken_proxy.engine.http2_upstream import Http2Upstream, UpstreamStream
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.route_entry import lines_of
from idtoken_proxy.engine.streams import AnswerSide
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.tls import HTTP2
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.errors import ConnectFailed, NoHttp2, ReceiverReset, UpstreamError, UpstreamTimeout
from idtoken_proxy.identity.answer import BODY, Answer
from idtoken_proxy.identity.token import Token
from idtoken_proxy.policy.guard import Caller
from idtoken_proxy.policy.headers import NO_TOKEN, Outbound, Peer, first_lines_of
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.settings.model import Rewrite, Route, UpstreamProtocol

StepName: TypeAlias = Literal["dns", "tcp", "connect", "tls", "http2", "answer"]
Http2Trust: TypeAlias = Callable[[], ssl.SSLContext] | None  # trust.trust_for_http2

PATIENCE: Final = 10.0  # seconds for an answer's head, a cold start included
_GLANCE: Final = 2.0  # seconds for what is only an information
# The question is no app's: nobody addressed the proxy for it, and nothing tells of who did.
_NOBODY: Final = Caller("", b"", b"")
_NOWHERE: Final = Peer(None, b"", b"")


@dataclass(frozen=True, slots=True)
class Step:
    """`error`: this one failed, and so there is none behind it. `connect`: an egress proxy's way to the receiver, which
    `dns` and `tcp` then lead to; without one there is no such step. `http2`: the receiver's SETTINGS, where its route wants
    HTTP/2.
    """

    name: StepName
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """`error`: the last step's. `at`: this machine's clock when the answer came, Unix seconds. `http2`: whether the receiver
    speaks it; None where it was not asked.
    """

    steps: tuple[Step, ...]
    answer: Answer | None = None
    error: UpstreamError | None = None
    at: float = 0.0
    http2: bool | None = None


async def probe(
    route: Route,
    token: Token | None,
    sweeper: Sweeper,
    tls: ssl.SSLContext | None,
    *,
    http2_tls: Http2Trust = None,
    ask: bool = True,
    patience: float = PATIENCE,
) -> Probe:
    """`tls`, `http2_tls`: for an https upstream. `ask` False goes no further than the connection: no request is made.

    A route of `protocol: http2` is asked by HTTP/2: behind it is often a gRPC server, which has no HTTP/1.1. All others are
    asked by HTTP/1.1.
    """
    by_http2 = route.protocol is UpstreamProtocol.HTTP2
    pool = _TimedPool(route, sweeper, tls, route.timeouts.connect, by_http2=by_http2)
    steps: list[Step] = []
    connection: UpstreamConnection | Http2Upstream | None = None
    try:
        try:
            context = await _read(http2_tls, route) if by_http2 else None  # before any step's time begins
            connection = await _connected(pool, route, steps, context)
        except UpstreamError as error:
            return Probe(tuple(steps), error=error, http2=False if isinstance(error, NoHttp2) else None)
        http2 = by_http2 or None
        if not ask:
            return Probe(tuple(steps), http2=http2)
        started = monotonic()
        side = UpstreamStream(connection) if isinstance(connection, Http2Upstream) else connection
        try:
            answer = await _asked(side, route, token, min(route.timeouts.response, patience))
        except ReceiverReset:
            # Of that one stream: so a gRPC server answers to what is no gRPC. It is there, and that was the question.
            answer = None
        except UpstreamError as error:
            steps.append(Step("answer", monotonic() - started, error.detail))
            return Probe(tuple(steps), error=error, http2=http2)
        steps.append(Step("answer", monotonic() - started))
        return Probe(tuple(steps), answer, at=time(), http2=http2)
    finally:
        if connection is not None:
            connection.abort()
        pool.close()


async def speaks_http2(
    route: Route, sweeper: Sweeper, tls: ssl.SSLContext | None, http2_tls: Http2Trust
) -> bool | None:
    """By ALPN, and by its SETTINGS; no request is made. None where it cannot be told, or not soon."""
    pool = _TimedPool(route, sweeper, tls, min(route.timeouts.connect, _GLANCE), by_http2=True)
    try:
        connection = await pool.by_http2(await _read(http2_tls, route))
    except NoHttp2:
        return False
    except UpstreamError:
        return None
    else:
        connection.abort()
        return True
    finally:
        pool.close()


async def _read(http2_tls: Http2Trust, route: Route) -> ssl.SSLContext | None:
    """The system's roots, at the first time. None where there is to be no TLS."""
    if http2_tls is None or route.upstream.scheme == "http":
        return None
    return await asyncio.to_thread(http2_tls)


class _TimedPool:
    """A pool of its own. `ended`: the steps that are behind it, and when each was; the next one is under way."""

    def __init__(
        self, route: Route, sweeper: Sweeper, tls: ssl.SSLContext | None, connect: float, *, by_http2: bool
    ) -> None:
        self.ended: tuple[float, ...] = ()
        self.is_http2 = by_http2
        self._upstream = route.upstream
        self._egress = route.egress_proxy
        self._pool = Pool(
            route.upstream,
            sweeper,
            tls=tls if route.upstream.scheme == "https" else None,
            keepalive=route.timeouts.keepalive,
            connect=connect,
            egress=route.egress_proxy,
            on_step=self.end,
        )

    @property
    def order(self) -> tuple[StepName, ...]:
        before: tuple[StepName, ...] = ("dns", "tcp") if self._egress is None else ("dns", "tcp", "connect")
        if not self.is_http2:
            return (*before, "tls")
        return (*before, "tls", "http2") if self._upstream.scheme == "https" else (*before, "http2")

    async def connect(self) -> UpstreamConnection:
        return await self._pool.connect()

    async def by_http2(self, tls: ssl.SSLContext | None) -> Http2Upstream:
        """And not by an Http2Pool's own dialling, which others may wait for and which outlives whoever gave up."""
        scheme = self._upstream.scheme.encode("ascii")
        return await self._pool.dial(
            lambda: Http2Upstream(self._pool.http2, scheme),
            unmade=Http2Upstream.unmade,
            until=lambda made: made.ready,
            tls=tls,
            alpn=HTTP2,
        )

    def end(self) -> None:
        self.ended = (*self.ended, monotonic())

    def close(self) -> None:
        self._pool.close()


async def _connected(
    pool: _TimedPool, route: Route, steps: list[Step], http2_tls: ssl.SSLContext | None
) -> UpstreamConnection | Http2Upstream:
    """A name is looked up twice, as the pool does not tell how long that took: the second time it is known. With an
    egress proxy it is that one's; the receiver's it looks up itself.
    """
    first = route.egress_proxy or route.upstream
    started = monotonic()
    with contextlib.suppress(OSError):  # the pool will say so, better
        await asyncio.get_running_loop().getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)
    pool.end()
    error = None
    connection: UpstreamConnection | Http2Upstream
    try:
        connection = await (pool.by_http2(http2_tls) if pool.is_http2 else pool.connect())
    except UpstreamError as failed:
        error = failed.detail
        if isinstance(failed, ConnectFailed) and failed.proxy_status == "dns_error":
            pool.ended = ()
        if isinstance(failed, NoHttp2):  # by ALPN: TLS has done what it was to do
            while len(pool.ended) < len(pool.order) - 1:
                pool.end()
        raise
    finally:
        if error is not None or pool.is_http2 or route.upstream.scheme == "https":
            pool.end()
        for name, ended in zip(pool.order, pool.ended, strict=False):
            steps.append(Step(name, ended - started))
            started = ended
        if error is not None:
            steps[-1] = replace(steps[-1], error=error)
    return connection


async def _asked(connection: AnswerSide, route: Route, token: Token | None, patience: float) -> Answer:
    upstream = route.upstream
    question = _Question()
    request = Request()
    # GET, for a HEAD would not tell the front end's words from the app's. It is safe (RFC 9110 section 9.2.1).
    request.method = b"GET"
    request.passing = [
        f"User-Agent: idtoken-proxy-doctor/{__version__}\r\n".encode("ascii"),
        b"Accept: */*\r\n",
    ]
    if not isinstance(connection, UpstreamStream):
        request.passing.append(b"Connection: close\r\n")
    outbound = Outbound(
        request,
        (upstream.base_path or "/").encode("ascii"),
        first_lines_of(route),
        _NOBODY,
        _NOWHERE,
        NO_TOKEN if token is None else lines_of(route, token),
        Rewriter(route, Rewrite()),
    )
    connection.send_head(outbound, question)
    try:
        async with asyncio.timeout(patience):
            await question.answered
    except TimeoutError:
        if question.response is None:
            raise UpstreamTimeout(f"{upstream.authority} did not answer within {patience:g} s") from None
    assert question.response is not None
    return Answer.of(question.response.status, question.response.passing, bytes(question.body))


class _Question:
    """An AnswerListener that wants the head, and the beginning of the body."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self.body = bytearray()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_interim(self, response: Response) -> None:
        """The final one is waited for."""

    def on_switch(self, response: Response) -> None:
        """Never: it was not asked for."""

    def on_answer(self, response: Response, body: bytes | None) -> None:
        self.response = response
        if body is not None:
            self.body += body
            self._done()

    def on_answer_data(self, payload: bytes, *, end: bool = False) -> None:
        self.body += payload
        if end or len(self.body) >= BODY:
            self._done()

    def on_answer_end(self, trailers: Sequence[bytes]) -> None:  # noqa: ARG002 -- an AnswerListener's
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
