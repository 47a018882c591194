"""An issuer's keys as time passes: fresh as long as it says, kept while it is away, asked for anew where a token names another.

Nothing here is timed: whoever looks for a key sees to it that they are fetched again when their time is over, and need not
wait for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from idtoken_proxy.errors import Fault, KeysUnavailable, TokenError
from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.receive.verification_keys import VerificationKey

# Seconds.
UNKNOWN_KEY: Final = 60.0  # between two fetches for keys that tokens name and nobody knows
RETRY: Final = 5.0  # between two tries where there are no keys yet
RETRY_STALE: Final = 30.0  # and where there are some
KEPT: Final = 24 * 3600.0  # without a word of the issuer: by then it has withdrawn keys that nobody heard of
_REST: Final = 10.0
_DEADLINE: Final = 15.0  # for one fetch, a discovery document before it included

log = structlog.get_logger("idtoken_proxy.receive")


@dataclass(frozen=True, slots=True)
class Fetched:
    """`max_age`: seconds that the keys are fresh."""

    keys: Mapping[str, VerificationKey]
    max_age: float


class KeySet:
    """`fetch` blocks, and raises TokenError. `generation` grows when a key goes."""

    def __init__(
        self, issuer: str, fetch: Callable[[], Fetched], clock: Clock, on_fetched: Callable[[], None]
    ) -> None:
        self._on_fetched = on_fetched
        self.issuer = issuer
        self.fetches = {"fetched": 0, "failed": 0}
        self.error: TokenError | None = None  # of the last fetch
        self.generation = 0
        self._fetch = fetch
        self._clock = clock
        self._threads = Threads(f"keys of {issuer}")
        self._keys: dict[str, VerificationKey] = {}
        self._fresh_until = self._stale_at = float("-inf")
        self._asked_at = self._asked_for_unknown_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def fetching(self) -> bool:
        return self._fetching is not None

    def status(self) -> dict[str, Any]:
        """JSON-ready. `fresh_for`: seconds, 0 where they are asked for anew and the old ones serve on."""
        return {
            "issuer": self.issuer,
            "keys": len(self._keys),
            "fresh_for": max(0.0, self._fresh_until - self._clock.boot()) if self._keys else 0.0,
            **self.fetches,
            "error": None
            if self.error is None
            else {"cause": self.error.cause, "detail": self.error.detail, "remedy": self.error.remedy},
        }

    def find(self, kid: str) -> VerificationKey | None:
        """At once, with what is there."""
        self.look_after_them()
        return self._keys.get(kid)

    def still_holds(self, generation: int) -> bool:
        """Whether every key of then is a key now."""
        self.look_after_them()
        return generation == self.generation

    @property
    def rests(self) -> float:
        """Seconds in which nobody need look after them."""
        return max(0.0, min(self._fresh_until - self._clock.boot(), _REST))

    def may_ask(self) -> bool:
        """Whether a fetch for a key that is not there is under way, or may begin: strangers, who can name any, cause one a
        minute.
        """
        if self._fetching is not None:
            return True
        now = self._clock.boot()
        if self._keys:
            return now - self._asked_for_unknown_at >= UNKNOWN_KEY
        return now - self._asked_at >= RETRY

    async def ask(self, kid: str) -> VerificationKey | None:
        """After a fetch, the one that is under way if there is one. Raises KeysUnavailable, where there is not one key."""
        if self._fetching is None and self.may_ask():
            if self._keys:
                self._asked_for_unknown_at = self._clock.boot()
            self._begin()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)  # which is not one caller's to give up
        self.demand()
        return self._keys.get(kid)

    def demand(self) -> None:
        """Raises KeysUnavailable, where there is not one key."""
        if not self._keys:
            said = self.error
            raise KeysUnavailable(
                f"no token of {self.issuer} can be checked: "
                + ("its keys have not been fetched yet" if said is None else said.detail),
                remedy=None if said is None else said.remedy,
            )

    def expire(self) -> None:
        """As though their time were over."""
        self._fresh_until = self._asked_at = float("-inf")
        self.look_after_them()

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def look_after_them(self) -> None:
        """A fetch begins, where it is time."""
        now = self._clock.boot()
        if now < self._fresh_until:
            return
        if self._keys and now >= self._stale_at:
            log.error("keys given up", issuer=self.issuer, reason=f"not confirmed for {KEPT / 3600:g} hours")
            self._keys = {}
            self.generation += 1
        if self._fetching is None and now - self._asked_at >= (RETRY_STALE if self._keys else RETRY):
            self._begin()

    def _begin(self) -> None:
        self._asked_at = self._clock.boot()
        self._fetching = asyncio.ensure_future(self._run())
        self._fetching.add_done_callback(self._ended)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _run(self) -> None:
        try:
            fetched = await self._threads.run(self._fetch, _DEADLINE)
        except TimeoutError:
            self._failed(_late(self.issuer))
        except TokenError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 -- what an issuer says must not become its callers' 500, whatever it is
            self._failed(_unforeseen(self.issuer, error))
        else:
            self.take(fetched)

    def take(self, fetched: Fetched) -> None:
        """What has come."""
        now = self._clock.boot()
        before = self._keys
        # One that stays is the same object, so that what was checked with it need not be checked anew.
        self._keys = {
            kid: before[kid] if key.same_as(before.get(kid)) else key for kid, key in fetched.keys.items()
        }
        if any(self._keys.get(kid) is not key for kid, key in before.items()):
            self.generation += 1
        self._fresh_until = now + fetched.max_age
        self._stale_at = now + max(KEPT, fetched.max_age)
        self.fetches["fetched"] += 1
        if self.error is not None or not before:
            log.info("keys fetched", issuer=self.issuer, keys=len(self._keys))
        self.error = None
        self._on_fetched()

    def _failed(self, error: TokenError) -> None:
        self.fetches["failed"] += 1
        if self.error is None or self.error.cause != error.cause:  # once, until it is another
            log.warning(
                "keys could not be fetched",
                issuer=self.issuer,
                cause=error.cause,
                reason=error.detail,
                remedy=error.remedy,
                known=len(self._keys),
            )
        self.error = error


def _late(issuer: str) -> TokenError:
    return TokenError(
        f"the keys of {issuer} did not come within {_DEADLINE:g} s",
        cause="endpoint_timeout",
        fault=Fault.GOOGLE,
    )


def _unforeseen(issuer: str, error: Exception) -> TokenError:
    return TokenError(
        f"what {issuer} answers to the request for its keys cannot be read",
        cause="garbage",
        fault=Fault.OPERATOR,
        remedy="See what it says: idtoken-proxy doctor",
        log_detail=type(error).__name__,
    )
