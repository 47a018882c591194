"""One question to one receiver, as the data path would ask it, with a step for each thing that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Final, Literal, TypeAlias

from idtoken_proxy import __version__
from idtoken_proxy.engine.dialer import Dialled
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.errors import ConnectFailed, UpstreamError, UpstreamTimeout
from idtoken_proxy.identity.answer import BODY, Answer
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.policy.headers import TokenPlace, first_lines_of
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.settings.model import EgressProxy, Route

StepName: TypeAlias = Literal["dns", "tcp", "connect", "tls", "answer"]

PATIENCE: Final = 10.0  # seconds for an answer's head, a cold start included


@dataclass(frozen=True, slots=True)
class Step:
    """`error`: this one failed, and so there is none behind it. `connect`: an egress proxy's way to the receiver, which
    `dns` and `tcp` then lead to; without one there is no such step.
    """

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
        egress=route.egress_proxy,
    )
    steps: list[Step] = []
    try:
        connection = await _connected(pool, route, steps)
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
    """`ended`: the steps that are behind it, and when each was; the next one is under way."""

    ended: tuple[float, ...] = ()

    @property
    def order(self) -> tuple[StepName, ...]:
        return ("dns", "tcp", "tls") if self._egress is None else ("dns", "tcp", "connect", "tls")

    def end(self) -> None:
        self.ended = (*self.ended, monotonic())

    async def _tunnel(self, sock: socket.socket, egress: EgressProxy) -> None:
        self.end()
        await super()._tunnel(sock, egress)

    async def _wrap(
        self,
        sock: socket.socket,
        connection: Dialled,
        tls: ssl.SSLContext | None,
        alpn: tuple[str | None, ...],
    ) -> None:
        self.end()
        await super()._wrap(sock, connection, tls, alpn)


async def _connected(pool: _TimedPool, route: Route, steps: list[Step]) -> UpstreamConnection:
    """A name is looked up twice, as the pool does not tell how long that took: the second time it is known. With an
    egress proxy it is that one's; the receiver's it looks up itself.
    """
    first = route.egress_proxy or route.upstream
    started = monotonic()
    with contextlib.suppress(OSError):  # the pool will say so, better
        await asyncio.get_running_loop().getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)
    pool.end()
    error = None
    try:
        connection = await pool.connect()
    except UpstreamError as failed:
        error = failed.detail
        if isinstance(failed, ConnectFailed) and failed.proxy_status == "dns_error":
            pool.ended = ()
        raise
    finally:
        if error is not None or route.upstream.scheme == "https":
            pool.end()
        for name, ended in zip(pool.order, pool.ended, strict=False):
            steps.append(Step(name, ended - started))
            started = ended
        if error is not None:
            steps[-1] = replace(steps[-1], error=error)
    return connection


async def _asked(
    connection: UpstreamConnection, route: Route, token: IdToken | None, patience: float
) -> Answer:
    upstream = route.upstream
    credential = b"" if token is None else TokenPlace.of(route).lines(token.value).alone
    question = _Question()
    # GET, for a HEAD would not tell the front end's words from the app's. It is safe (RFC 9110 section 9.2.1).
    head = (
        f"GET {upstream.base_path or '/'} HTTP/1.1\r\n".encode("ascii")
        + first_lines_of(route)
        + f"User-Agent: idtoken-proxy-doctor/{__version__}\r\nAccept: */*\r\nConnection: close\r\n".encode(
            "ascii"
        )
        + credential
        + b"\r\n"
    )
    request = Request()
    request.method = b"GET"
    connection.send_request(head, request, question)
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

    def on_answer_data(self, payload: bytes) -> None:
        self.body += payload
        if len(self.body) >= BODY:
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
