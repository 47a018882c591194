"""The doors of an exchange: what it talks to on both sides, whatever version of HTTP is spoken there.

    app <-> RequestSide <-> Exchange <-> AnswerSide <-> receiver

An exchange decides and mediates. It does no I/O, and knows neither framing nor connections: a RequestSide reads requests and
writes answers, an AnswerSide writes requests and reads answers.

Who may call whom from within a call, as everything here is synchronous:

- A side calls the exchange only when its own state is already the one behind what it tells, and looks afterwards whether
  the exchange is still its own: it may have ended within that call.
- The exchange may call any method of either side from within such a call, the side that is calling included: it aborts the
  connection from `on_answer` where the token has to be another.
- A `send_*` may call the flow control before it returns, as a write that fills a buffer says so at once: `hold_answer` or
  `on_upstream_full`, which hold the other side and do nothing else. It calls nothing else of the exchange.
- `pump`, and `hold` where it lets go, give the exchange what has come of the request's body: `on_request_data`,
  `on_request_end`, and `fail` for a malformed one. So `pump` stands last where the exchange calls it.
- After `release`, `abort` and `take_over` the answer side tells the exchange nothing more.
- `on_exchange_end`, `on_exchange_broken` and `on_switch` are the exchange's last call to its request side, which may begin
  the next exchange from within, and so stand last too. An HTTP/1.1 connection makes a loop of that, and no recursion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.errors import ProxyError, UpstreamError
from idtoken_proxy.policy.headers import Outbound, Peer
from idtoken_proxy.policy.request import Response
from idtoken_proxy.policy.tunnelled import Tunnelled
from idtoken_proxy.settings.model import Route

CANCEL: Final = ErrorCode.CANCEL


class RequestSide(Protocol):
    """The app, as its exchange sees it. Each `send_*` returns the octets that went out for it.

    `deadline`: the exchange's own, by the sweeper's clock; `on_deadline` follows. `request_complete`: the request's
    body, if any, has been read whole. `full`: the app reads slower than it is written to. `held`: its body is held back.
    """

    deadline: float
    tunnelled: Tunnelled | None  # since a CONNECT

    @property
    def request_complete(self) -> bool: ...

    @property
    def full(self) -> bool: ...

    @property
    def held(self) -> bool: ...

    @property
    def peer(self) -> Peer: ...

    @property
    def port(self) -> int | None:
        """The proxy's own; UNIX on a unix socket."""

    def pump(self) -> None:
        """Gives the exchange what has come of the body: now it has somewhere to go."""

    def hold(self, *, held: bool) -> None:
        """The receiver reads slower than the app sends, or has caught up."""

    def send_interim(self, response: Response) -> int: ...

    def send_head(self, response: Response, body: bytes | None) -> int:
        """The final one. `body`: the whole of it, which ends the answer; None where it follows."""

    def send_data(self, payload: bytes, *, end: bool = False) -> int:
        """`payload` is not empty. `end`: it is the last, and no trailers follow."""

    def send_end(self, trailers: Sequence[bytes]) -> int: ...

    def send_switch(self, response: Response) -> int:
        """The 101; `on_switch` follows."""

    def send_problem(self, error: ProxyError, route: Route | None) -> int: ...

    def send_preflight(self, lines: bytes) -> int: ...

    def send_established(self, tunnelled: Tunnelled) -> int: ...

    def on_exchange_end(self) -> None:
        """The answer has been sent whole."""

    def on_exchange_broken(self) -> None:
        """The answer cannot be completed, and must not be taken for complete."""

    def on_switch(self, upstream: AnswerSide) -> None:
        """From here on it is octets both ways, and nobody's exchange."""


class AnswerSide(Protocol):
    """The receiver, as an exchange sees it: from `send_head` on its own, until `release`, `abort` or `take_over`.

    `lost`: gone before it was used. `answered`: any octet of an answer has come; `answering`: a head has begun to come, and has
    yet to end.
    """

    @property
    def lost(self) -> bool: ...

    @property
    def answered(self) -> bool: ...

    @property
    def answering(self) -> bool: ...

    def send_head(self, outbound: Outbound, listener: AnswerListener) -> None:
        """What comes of it is told to `listener`."""

    def send_data(self, payload: bytes, *, end: bool = False) -> None:
        """`payload` is not empty. `end`: it is the last; `send_end` does not follow."""

    def send_end(self) -> None: ...

    def hold(self, *, held: bool) -> None:
        """The app reads slower than the receiver sends, or has caught up."""

    def release(self) -> None:
        """The answer has ended and the request too: another exchange may have the connection, if it is fit for one."""

    def abort(self, code: int = CANCEL) -> None:
        """At once and without an end that could be taken for the message's own. `code`: HTTP/2's, as the app said it."""

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """What carries the octets behind a 101, and those that came with it."""


class AnswerListener(Protocol):
    """An exchange, as its AnswerSide sees it. Nothing is told after `on_answer` with a body, the last of its data, `on_answer_end`,
    `on_switch` or `on_upstream_lost`.
    """

    def on_interim(self, response: Response) -> None:
        """A 1xx that a receiver may send (interim.py), other than 101."""

    def on_answer(self, response: Response, body: bytes | None) -> None:
        """The final head. `body`: the whole of it, where it has come with the head; None where it follows."""

    def on_answer_data(self, payload: bytes, *, end: bool = False) -> None:
        """`payload` is not empty. `end`: it is the last; `on_answer_end` does not follow."""

    def on_answer_end(self, trailers: Sequence[bytes]) -> None:
        """`trailers`: field lines."""

    def on_switch(self, response: Response) -> None:
        """A 101 that was asked for."""

    def on_upstream_lost(self, error: UpstreamError) -> None:
        """No more of the answer will come; the connection is gone already."""

    def on_upstream_full(self, *, full: bool) -> None:
        """The receiver reads slower than it is written to, or has caught up."""
