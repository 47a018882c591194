"""One request and its response: what happens when, on both connections (states.py has the table)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from idtoken_proxy.engine import retry
from idtoken_proxy.engine.accept import (
    USUAL,
    Accepted,
    accepted_on,
    admit_connect,
    entry_for,
    is_no_routes,
    outbound_of,
    turned_back,
)
from idtoken_proxy.engine.kept_body import Body, may_be_kept
from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.states import (
    ACTED,
    ANSWER,
    ANSWER_END,
    BREAK,
    DONE,
    FINAL,
    FRESH,
    HEAD_SENT,
    OWN_ANSWER,
    REQUEST_SENT,
    RETRIED,
    RETRY,
    SENT,
    SWITCH,
    TRANSITIONS,
    UNANSWERED,
)
from idtoken_proxy.engine.stats import EndedExchange
from idtoken_proxy.engine.streams import CANCEL, AnswerSide, RequestSide
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.engine.timeout_errors import timeout_error
from idtoken_proxy.engine.waiting import await_for
from idtoken_proxy.engine.way_there import way_there
from idtoken_proxy.errors import BrokenOff, NoHttp2, ProxyError, UpstreamError
from idtoken_proxy.identity.answer import BODY
from idtoken_proxy.identity.token import Token
from idtoken_proxy.policy import cors
from idtoken_proxy.policy.guard import UNIX
from idtoken_proxy.policy.headers import Peer, TokenLines
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.settings.model import Timeouts


class Exchange(EndedExchange[RouteEntry]):
    """One for each request; ends by telling its request side so, once. `entry`, `request`: None where there is none."""

    __slots__ = (
        "_accepted", "_app", "_history", "_kept", "_task", "_upstream", "renews", "request", "response",
        "router", "said", "token",
    )  # fmt: skip

    _accepted: Accepted

    def __init__(self, app: RequestSide, router: Router, octets: int) -> None:
        EndedExchange.__init__(self, octets)  # of the request's head, and then what follows it
        self._app = app
        self.router = router
        self.request: Request | None = None
        self.response: Response | None = None  # the receiver's last final head
        self.said: bytes | None = None  # the beginning of a refusal's body, which tells who refuses
        self.renews = False  # Google refused the token, and the next request is to have another
        self._upstream: AnswerSide | None = None
        self._task: asyncio.Task[None] | None = None
        self._history = 0
        self._kept: Body | None = None  # the request's body, as far as it has come
        self.token: Token | None = None  # one out of the cache, which Google's refusal may replace once

    @property
    def peer(self) -> Peer:
        return self._app.peer

    @property
    def timeouts(self) -> Timeouts:
        return self._accepted.entry.route.timeouts

    @property
    def path(self) -> bytes:
        return self._accepted.target.partition(b"?")[0]  # as it went to the receiver

    # -- the way there ---------------------------------------------------------

    def open(self, request: Request) -> None:
        """The order is the security property: a refused request mints no token, and without a token nothing goes
        upstream. Raises RequestError, and the caller goes on with `refuse`; else with `forward`.
        """
        self.request = request
        app, router = self._app, self.router
        if request.verdict is not None and request.verdict[0] is router:
            self._accepted = accepted = request.verdict[1]  # of the same octets, app and settings
            self.entry = accepted.entry
            return
        if app.tunnelled is not None:
            app.tunnelled.admit(request)
        if request.method not in USUAL and is_no_routes(request.method):
            app.tunnelled = admit_connect(request, router.guard, app.port)
            return
        if request.forwarded_proto and router.fronts is not None:
            router.fronts.settle(request, app.peer.address, unix=app.port == UNIX)
        caller = router.guard.admit(request, app.port)
        path = request.target.partition(b"?")[0]
        self.entry = entry = entry_for(caller, path, router)
        self._accepted = accepted = accepted_on(entry, request, caller, path, router, app.peer)
        if request.repeats and caller.service is None:  # else the next one counts as use of it
            request.verdict = router, accepted

    def forward(self) -> None:
        """Token, outbound head, upstream: at once where both a token and a connection are at hand."""
        if self.entry is None:
            tunnelled = self._app.tunnelled
            assert tunnelled is not None
            self._end_own(200, self._app.send_established(tunnelled))
            return
        request, entry = self._accepted.request, self._accepted.entry
        if request.preflight:  # of a listed origin's page: no token is needed
            lines = cors.preflight_lines(request, entry.allow, any_method=entry.methods is None)
            self._end_own(204, self._app.send_preflight(lines))
            return
        slot = entry.slot
        if slot is None:
            entry.go_without_slot(request, self._dispatch, self._await_lines, self.fail)
            return
        self.token = token = slot.current()
        if token is None:
            self._await_token(slot.get(self.router.patience))
        else:
            self._dispatch(entry.token_lines(token))

    def _end_own(self, status: int, octets: int) -> None:
        """With an answer of the proxy's that is no problem."""
        self.state = TRANSITIONS[self.state][OWN_ANSWER]
        self.status = status
        self.sent += octets
        self._app.on_exchange_end()

    def _await_token(self, fetch: Coroutine[Any, Any, Token]) -> None:
        # The sweeper's deadline, in running time: a process that was frozen meanwhile has all of it still.
        self._app.deadline = self.router.sweeper.now + self.timeouts.connect + self.router.token_grace
        self._task = await_for(fetch, self._on_token, self._on_unavailable)

    def _await_lines(self, lines: Coroutine[Any, Any, TokenLines]) -> None:
        self._task = await_for(lines, self._dispatch, self._on_unavailable)

    def _on_token(self, token: Token) -> None:
        self._task = None
        self._dispatch(self._accepted.entry.token_lines(token))

    def _on_unavailable(self, error: ProxyError) -> None:
        self._task = None
        if isinstance(error, NoHttp2) and self._accepted.entry.may_go_downwards(self._accepted.request):
            self.forward()
            return
        self.fail(error)

    def _dispatch(self, token: TokenLines) -> None:
        request, entry = self._accepted.request, self._accepted.entry
        # A token out of the cache may be refused for its age; over HTTP/2, a request for nothing that is its own fault.
        if (request.chunked or request.content_length) and may_be_kept(request, self.token):
            self._kept = self._kept or b""
        if request.authorization and not token.keeps_authorization:
            entry.warn_authorization_replaced()
        pool = entry.pool_for(request)
        connection = None if self._history & FRESH else pool.take()
        if connection is None:
            self._app.deadline = NEVER  # the pool has one of its own
            connecting = pool.connect(fresh=self._history & FRESH != 0)
            self._task = await_for(connecting, partial(self._send, token), self._on_unavailable)
        else:
            self._send(token, connection)

    def _send(self, token: TokenLines, connection: AnswerSide) -> None:
        self._task = None
        if connection.lost:  # while the task that brought it was ending
            self.fail(BrokenOff("the receiver closed the connection before anything was said on it"))
            return
        self._upstream = connection
        app = self._app
        connection.send_head(outbound_of(self._accepted, app.peer, token), self)
        if app.full:
            connection.hold(held=True)
        if self._kept:  # the second time what has come is at hand
            connection.send_data(bytes(self._kept))
        if app.request_complete:
            if self._accepted.request.has_body:
                connection.send_end()
            self.state = TRANSITIONS[self.state][REQUEST_SENT]
            app.deadline = self.router.sweeper.now + self._accepted.entry.route.timeouts.response
        else:
            self.state = TRANSITIONS[self.state][HEAD_SENT]
            app.deadline = self.router.sweeper.now + self._accepted.entry.route.timeouts.idle
            app.pump()

    @property
    def takes_body(self) -> bool:
        """Whether octets of the request's body have somewhere to go."""
        return self._upstream is not None

    def on_request_data(self, payload: bytes, octets: int, *, end: bool = False) -> None:
        """`octets`: what the payload came in; of framing alone, it may be empty. `end`: it is not, and is the last."""
        self.received += octets
        if not payload:
            return  # and put off no deadline
        upstream = self._upstream
        assert upstream is not None
        upstream.send_data(payload, end=end)
        if self._kept is not None:
            self._kept = self.router.bodies.add(self._kept, payload)
        if end:
            self._on_request_sent(upstream)
        else:
            self._app.deadline = self.router.sweeper.now + self._accepted.entry.route.timeouts.idle

    def on_request_end(self) -> None:
        assert self._upstream is not None
        self._upstream.send_end()
        self._on_request_sent(self._upstream)

    def _on_request_sent(self, upstream: AnswerSide) -> None:
        if self._kept is not None and upstream.answering:
            self._forget_body()  # whoever answers did not wait for the end of it
        self.state = TRANSITIONS[self.state][REQUEST_SENT]
        if self.state is SENT:
            self._app.deadline = self.router.sweeper.now + self._accepted.entry.route.timeouts.response

    # -- the way back ----------------------------------------------------------

    def on_answer(self, response: Response, body: bytes | None) -> None:
        status = response.status
        cross_origin = self.router.cross_origin
        if response.addressed or cross_origin:
            response = turned_back(response, self._accepted, cross_origin=cross_origin)
        if (status == 401 or body == b"") and self._renews(response, body):
            return
        if self._kept is not None:
            self._forget_body()
        app = self._app
        self.state = TRANSITIONS[self.state][ANSWER]
        self.status = status
        self.response = response
        if status >= 400:
            self.said = b"" if body is None else body[:BODY]
        self.sent += app.send_head(response, body)
        if body is None:
            app.deadline = self.router.sweeper.now + self._accepted.entry.route.timeouts.idle
        else:
            self._finish()

    def _renews(self, response: Response, body: bytes | None) -> bool:
        """Google refuses the token out of the cache: another is fetched, whatever the request was. True: it is sent once
        more with that one, and this answer is none.
        """
        token, upstream = self.token, self._upstream
        assert upstream is not None
        request, entry = self._accepted.request, self._accepted.entry
        slot = entry.slot
        if token is None or slot is None or not retry.is_googles_refusal(response, body, entry.route):
            return False
        self.token = None
        if self.state is not SENT or not retry.with_another_token(
            request, kept=self._kept is not None, acted=self._history & ACTED != 0 or entry.foreign
        ):
            self.renews = slot.renew(token)
            return False
        if not slot.refused(token):
            return False
        upstream.abort()
        self._upstream = None
        self.state = TRANSITIONS[self.state][RETRY]
        entry.counts.replays += 1
        self._history &= ~RETRIED
        if request.expect_continue:  # the app has sent the body
            self._accepted = self._accepted.unexpecting()
        self._await_token(slot.renewed(token, self.router.patience))
        return True

    def _forget_body(self) -> None:
        if self._kept is not None:
            self.router.bodies.free(self._kept)
            self._kept = None

    def on_interim(self, response: Response) -> None:
        response = turned_back(response, self._accepted, cross_origin=self.router.cross_origin)
        if response.status != 100:  # which an HTTP server sends by itself
            self._history |= ACTED
        self.sent += self._app.send_interim(response)

    def on_switch(self, response: Response) -> None:
        upstream = self._upstream
        assert upstream is not None
        response = turned_back(response, self._accepted, cross_origin=self.router.cross_origin)
        self.state = TRANSITIONS[self.state][SWITCH]
        self.status = 101
        self._upstream = None
        self.sent += self._app.send_switch(response)
        self._app.on_switch(upstream)

    def on_answer_data(self, payload: bytes, *, end: bool = False) -> None:
        app = self._app
        if self.said is not None and len(self.said) < BODY:
            self.said += payload[:BODY]
        self.sent += app.send_data(payload, end=end)
        if end:
            self._finish()
            return
        app.deadline = self.router.sweeper.now + self._accepted.entry.route.timeouts.idle

    def on_answer_end(self, trailers: Sequence[bytes]) -> None:
        self.sent += self._app.send_end(trailers)
        self._finish()

    def _finish(self) -> None:
        upstream = self._upstream
        assert upstream is not None
        self._upstream = None
        self.state = TRANSITIONS[self.state][ANSWER_END]
        if self.state is DONE:
            upstream.release()
        else:
            upstream.abort()
        self._app.on_exchange_end()

    # -- trouble ---------------------------------------------------------------

    def on_upstream_lost(self, error: UpstreamError) -> None:
        upstream = self._upstream
        assert upstream is not None
        request, entry = self._accepted.request, self._accepted.entry
        self._upstream = None
        if not self._history & RETRIED and retry.after_loss(
            error, request, state=self.state, answered=upstream.answered, kept=self._kept is not None
        ):
            self.state = TRANSITIONS[self.state][RETRY]
            entry.counts.retries += 1
            self._history |= FRESH | RETRIED
            if self._app.held:
                self._app.hold(held=False)  # nobody else would: what held it is gone
            self.forward()  # from the token on: the one that was sent may have run out meanwhile
            return
        self.fail(error)

    def on_upstream_full(self, *, full: bool) -> None:
        self._app.hold(held=full)

    def on_deadline(self) -> None:
        slot = None if self.entry is None else self.entry.slot
        self.fail(timeout_error(self.state, self.timeouts, slot, held=self._app.held))

    def fail(self, error: ProxyError) -> None:
        if error.remedy is None and isinstance(error, UpstreamError):
            error.remedy = way_there(error.proxy_status, self._accepted.entry.route)
        if self.state in UNANSWERED:
            self.refuse(error)
            return
        # The answer's head is out: what can still be told is that the answer is not whole.
        self._break_off()
        self.error = error
        self._app.on_exchange_broken()

    def refuse(self, error: ProxyError) -> None:
        """The proxy answers by itself; nothing of a final answer has been sent."""
        self._break_off()
        self.error = error
        self.status = error.status
        self.sent += self._app.send_problem(error, None if self.entry is None else self.entry.route)
        self._app.on_exchange_end()

    def abandon(self, code: int = CANCEL) -> None:
        """The app has gone: the receiver must not take what it has for a whole request. `code`: HTTP/2's, where it said one."""
        if self.state not in FINAL:
            self._break_off(code)

    def _break_off(self, code: int = CANCEL) -> None:
        self._forget_body()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._upstream is not None:
            self._upstream.abort(code)
            self._upstream = None
        self.state = TRANSITIONS[self.state][BREAK]

    def hold_answer(self, *, held: bool) -> None:
        """The app reads slower than the receiver sends, or has caught up."""
        if self._upstream is not None:
            self._upstream.hold(held=held)
