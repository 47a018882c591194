"""One (identity, what is asked for): its token, the one fetch under way, the timer of the next.

    current()   per request: the token if it may be sent, else None. Kicks a refresh that is due.
    get()       where current() had none: waits for the fetch under way, starts one, or fails at once while the
                last failure is fresh.

A slot is driven by two kinds of task, both owned by the cache. A *flight* is one fetch, in a thread of its own:
there is never more than one a slot, and it belongs to no waiter, so that a waiter who goes away stops nothing. It
ends by arming the *timer*, which sleeps and then starts the next: after success ahead of the token's expiry, after
failure when the back-off is over. So a slot that was asked once keeps itself fresh, and recovers, without being
asked. Where the CPU sleeps between requests the timer stands still: hence current() looks at the clock too.
"""

from __future__ import annotations

import asyncio
import math
import random
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity import flight, schedule
from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.identity.credential_watch import CredentialWatch
from idtoken_proxy.identity.error_causes import remedy_of
from idtoken_proxy.identity.events import FetchEvent, Observer
from idtoken_proxy.identity.login_wait import LoginWait
from idtoken_proxy.identity.sources.source import Source, Versioned, Watched
from idtoken_proxy.identity.tasks import Tasks
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.identity.token import IdToken, Token
from idtoken_proxy.settings.model import Scopes, Wanted

# A receiver may refuse every token of ours (a wrong audience looks just like an expired token). At most one in so
# many seconds is thrown away on its word, or each request would cost a token.
REFUSAL_INTERVAL = 60.0

_Outcome: TypeAlias = "asyncio.Future[Token | TokenError]"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all slots of a cache have in common."""

    clock: Clock
    tasks: Tasks
    deadline: float
    on_event: Observer
    rng: random.Random
    watch: CredentialWatch


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """For the status page and `doctor`. `error` may stand beside a token that is still valid."""

    wanted: Wanted
    source: str
    valid: bool
    email: str | None = None
    subject: str | None = None
    token_audience: str | None = None
    expires_at: float | None = None  # Unix seconds
    error: TokenError | None = None


class TokenSlot:
    """Made by TokenCache.slot; used on its event loop alone."""

    __slots__ = (
        "__weakref__",
        "_boot",
        "_boot_due",
        "_boot_end",
        "_counted_as",
        "_error",
        "_failures",
        "_lease",
        "_outcome",
        "_refused",
        "_refused_at",
        "_retired",
        "_shared",
        "_source",
        "_threads",
        "_timer",
        "_token",
        "_waiting",
        "_wall",
        "_wall_due",
        "_wall_end",
        "wanted",
    )

    def __init__(self, shared: Shared, source: Source, wanted: Wanted, counted_as: str = "") -> None:
        self.wanted = wanted
        self._counted_as = counted_as
        self._retired = False
        self._shared = shared
        self._source = source
        self._threads = Threads(f"token-{source.name}")
        self._wall = shared.clock.wall  # bound once, for current()
        self._boot = shared.clock.boot
        self._lease: schedule.Lease | None = None
        # The lease's moments again, flat, for current(). Without a token no clock is before its end.
        self._token: Token | None = None
        self._wall_end = self._boot_end = -math.inf
        self._wall_due = self._boot_due = math.inf
        self._outcome: _Outcome | None = None  # of the flight under way
        self._timer: asyncio.Task[None] | None = None
        self._waiting = LoginWait()
        self._error: TokenError | None = None  # of the last fetch, if it failed
        self._failures = 0  # in a row
        self._refused: Token | None = None  # the last that a receiver called invalid
        self._refused_at = -math.inf

    def __repr__(self) -> str:
        return f"TokenSlot({self.wanted!r}, {self._token!r})"

    @property
    def held(self) -> Token | None:
        """The last token that came, whether or not it may still be sent."""
        return self._token

    @property
    def source(self) -> Source:
        """Who is asked for the next one."""
        return self._source

    @property
    def active_fetch(self) -> _Outcome | None:
        """The fetch that is, if there is one."""
        return self._outcome

    def current(self) -> Token | None:
        """The token, if it has 30 s left by both clocks. Every request comes through here: two clock readings and
        four comparisons.
        """
        wall = self._wall()
        boot = self._boot()
        if (boot >= self._boot_due or wall >= self._wall_due) and self._outcome is None:
            self._start_fetch()
        if wall < self._wall_end and boot < self._boot_end:
            return self._token
        return None

    async def get(self, patience: float = 0.0) -> Token:
        """A valid token, waited for if need be. TokenError where there is none, with the source's cause and remedy;
        its `retry_after` says when it pays to ask again. Put your own timeout on it: that stops no fetch. `patience`:
        seconds to wait where a person has to log in first.
        """
        token = self.current()
        if token is not None:
            return token
        outcome = self._outcome
        if outcome is None:
            if self._error is not None and self._boot() < self._boot_due:
                return await self._mended(self._error, patience)
            outcome = self._start_fetch()
        result = await asyncio.shield(outcome)
        if isinstance(result, TokenError):
            return await self._mended(result, patience)
        return result

    async def _mended(self, error: TokenError, patience: float) -> Token:
        """The token after somebody has logged in, within `patience` seconds; else, and where no login is wanted, the error."""
        if patience > 0 and error.login is not None:
            token = await self._waiting.token(self.current, patience)
            if token is not None:
                return token
        raise self._fresh(error)

    @property
    def _is_valid(self) -> bool:
        """Whether the token may be sent, as `current` sees it."""
        return self._wall() < self._wall_end and self._boot() < self._boot_end

    @property
    def awaits_change(self) -> bool:
        """Whether the last fetch failed for want of what a person can mend, who may be about to do so."""
        return self._error is not None and flight.mended_by_hand(self._error)

    def retry(self) -> None:
        """Now, whatever the back-off: somebody has changed what did not do."""
        if self.awaits_change and self._outcome is None:
            self._start_fetch()

    def refused(self, token: Token) -> bool:
        """A receiver called this token invalid (Google's own 401). True: renewed() may have a better one."""
        if token is not self._token or not self._is_valid:
            return True  # it has been replaced, or dropped, meanwhile
        boot = self._boot()
        if boot - self._refused_at < REFUSAL_INTERVAL:
            return self._outcome is not None  # that refusal's fetch is under way
        self._refused, self._refused_at = token, boot
        return True

    def renew(self, token: Token) -> bool:
        """In the background, where a receiver refused this token and the request is not sent again. True: the next one is to
        have another.
        """
        if not self.refused(token):
            return False
        if token is self._token and self._is_valid and self._outcome is None:
            self._start_fetch()
        return True

    async def renewed(self, token: Token, patience: float = 0.0) -> Token:
        """In place of one that a receiver refused: what has replaced it, or a fresh fetch. Where that fails, the same
        again, as long as it is valid: it may be the receiver that is wrong. TokenError where there is none at all.
        `patience`: as for `get`.
        """
        if token is not self._token or not self._is_valid:
            return await self.get(patience)
        result = await asyncio.shield(self._outcome or self._start_fetch())
        if not isinstance(result, TokenError):
            return result
        return self.current() or await self._mended(result, patience)

    def use(self, source: Source) -> None:
        """From the next fetch on, ask this source: a reload may change the way to the same identity."""
        self._source = source

    def retire(self) -> None:
        """Nothing is fetched ahead any more. Whoever holds it still gets what it asks for."""
        self._retired = True
        if self._timer is not None:
            self._timer.cancel()

    def status(self) -> SlotStatus:
        token = self._token
        return SlotStatus(
            wanted=self.wanted,
            source=self._source.describe(),
            valid=self._is_valid,
            email=token.email if token else None,
            subject=token.subject if token else None,
            token_audience=token.audiences if isinstance(token, IdToken) else None,
            expires_at=token.expires_at if token else None,
            error=self._error,
        )

    # -- one fetch, and the next --------------------------------------------------

    def _start_fetch(self) -> _Outcome:
        outcome: _Outcome = asyncio.get_running_loop().create_future()
        if self._shared.tasks.closed:
            outcome.set_result(flight.closed())
            return outcome
        self._outcome = outcome
        flying = self._shared.tasks.spawn(self._run_fetch(outcome))
        # However the flight ends, cancelled before its first step included, nobody is left waiting.
        flying.add_done_callback(lambda _: self._finish_fetch(outcome, flight.closed()))
        return outcome

    def _finish_fetch(self, outcome: _Outcome, result: Token | TokenError) -> None:
        if not outcome.done():
            outcome.set_result(result)
            self._outcome = None

    async def _run_fetch(self, outcome: _Outcome) -> None:
        source = self._source
        started = self._boot()
        before = self._token
        version = await self._shared.watch.version(source) if isinstance(source, Versioned) else None
        try:
            token = await flight.fetch(source, self.wanted, self._threads, self._shared.deadline, self._boot)
            delay = self._accept(token, source, started)
        except Exception as error:  # noqa: BLE001 -- a source's bug must cost this token, not the slot
            failure = flight.failure_of(error, source, self._shared.deadline)
        else:
            self._finish_fetch(outcome, token)
            self._arm(delay)
            self._shared.on_event(
                FetchEvent(
                    source=source.name,
                    described=source.describe(),
                    wanted=self.wanted,
                    seconds=self._boot() - started,
                    changed=before is None or before.value != token.value,
                    email=token.email,
                    bearer=token.bearer,
                    expires_in=token.expires_at - self._wall(),
                    next_in=delay,
                    counted_as=self._counted_as,
                    slot=self,
                )
            )
            return
        delay = self._fail(failure)
        self._finish_fetch(outcome, failure)
        self._arm(delay)
        if isinstance(source, Versioned) and flight.mended_by_hand(failure):
            self._shared.watch.wait(source, self, version)
        self._shared.on_event(
            FetchEvent(
                source=source.name,
                described=source.describe(),
                wanted=self.wanted,
                seconds=self._boot() - started,
                error=failure,
                next_in=delay,
                still_valid=self.status().valid,
                counted_as=self._counted_as,
                slot=self,
            )
        )

    def _accept(self, token: Token, source: Source, started: float) -> float:
        """Take the token in; seconds to the next fetch. TokenError where it is too old to be sent."""
        wall, boot = self._wall(), self._boot()
        lease = schedule.lease(
            token,
            started=started,
            wall=wall,
            boot=boot,
            ahead=source.refresh_ahead,
            jitter=self._shared.rng.random(),
            recheck=source.recheck if isinstance(source, Watched) else math.inf,
            before=self._lease,
        )
        if not lease.valid(wall, boot):
            raise flight.too_old(token, source, wall)
        self._lease = lease
        self._token = token
        self._wall_end, self._boot_end = lease.wall_end, lease.boot_end
        self._wall_due, self._boot_due = wall + lease.interval, boot + lease.interval
        self._error = None
        self._failures = 0
        self._waiting.came()
        return lease.interval

    def _fail(self, error: TokenError) -> float:
        """Whatever token there is stays, but for one that a receiver refused and whose login has ended: who revokes a login
        revokes its tokens. Seconds to the next fetch.
        """
        if error.login is not None and self._refused is self._token:
            self._wall_end = self._boot_end = -math.inf
        error.remedy = remedy_of(error)  # the same for the log, the page and the 503
        self._error = error
        self._failures += 1
        delay = schedule.backoff(self._failures, self._shared.rng.random())
        # The wall clock has no say in a back-off: a jump of it would end or prolong it.
        self._wall_due, self._boot_due = math.inf, self._boot() + delay
        return delay

    def _arm(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._retired:
            return
        # Weakly: a slot that nobody holds any more, neither a route nor the cache, is not kept alive to mint tokens.
        self._timer = self._shared.tasks.spawn(_wake(weakref.ref(self), self._shared.clock.sleep, delay))

    def _fresh(self, error: TokenError) -> TokenError:
        """A copy for one more waiter: one instance raised by many would collect all their tracebacks."""
        mine = TokenError(
            error.detail,
            cause=error.cause,
            fault=error.fault,
            remedy=error.remedy,
            identity=self._source.describe(),
            retry_after=max(1, math.ceil(self._boot_due - self._boot()))
            if self._error
            else error.retry_after,
            log_detail=error.log_detail,
            login=error.login,
        )
        if isinstance(self.wanted, Scopes):
            mine.title = "No access token"
        return mine


async def _wake(
    slot_ref: weakref.ref[TokenSlot], sleep: Callable[[float], Awaitable[None]], delay: float
) -> None:
    await sleep(delay)
    slot = slot_ref()
    if slot is not None and slot._outcome is None:  # noqa: SLF001 -- a method of it, but for the weak reference
        slot._start_fetch()  # noqa: SLF001
