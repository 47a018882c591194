"""One fetch: how long it may take, and what its failure means."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.source import Source, fetched
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.identity.token import Token
from idtoken_proxy.settings.model import Wanted

# A timer that is so many seconds late was not late: the process was frozen. How often in one fetch is believed.
_FREEZE: Final = 2.0
_THAWS: Final = 3


async def fetch(
    source: Source, wanted: Wanted, threads: Threads, deadline: float, boot: Callable[[], float]
) -> Token:
    """TimeoutError after the deadline; but where the CPU was taken away in mid-fetch (Cloud Run, suspend), the deadline
    has passed in the moment of waking, and tells nothing of the source: it is asked again. `boot`: the clock that runs
    through suspend. Raises whatever the source does.
    """
    for _ in range(_THAWS):
        started = boot()
        try:
            return await threads.run(functools.partial(fetched, source, wanted), deadline)
        except TimeoutError:
            if boot() - started < deadline + _FREEZE:
                raise
    raise TimeoutError


def failure_of(error: Exception, source: Source, deadline: float) -> TokenError:
    """A source's bug must cost this token, and not the slot."""
    if isinstance(error, TokenError):
        return error
    if isinstance(error, TimeoutError):
        return TokenError(
            f"{source.describe()}: no answer within {deadline:g} s",
            cause="timeout",
            fault=Fault.GOOGLE,
            remedy="If it does not mend itself, check this machine's network and DNS",
        )
    return TokenError(
        "the token could not be fetched, for a reason that the proxy does not know",
        cause="internal",
        fault=Fault.PROXY,
        log_detail=type(error).__name__,  # its message may hold anything
    )


def too_old(token: Token, source: Source, wall: float) -> TokenError:
    """Of one that came and may not be sent. `wall`: now, Unix seconds."""
    left = token.expires_at - wall
    if left > 0:
        return TokenError(
            f"{source.describe()}: the token has only {left:.0f} s left",
            cause="short_lived",
            fault=Fault.GOOGLE,
        )
    return TokenError(
        f"{source.describe()}: the token has expired",
        cause="expired",
        fault=Fault.OPERATOR,
        remedy="Check this machine's clock (date -u); a token file must be renewed by whoever writes it",
    )


def mended_by_hand(error: TokenError) -> bool:
    """Whether it takes a person, or whatever writes the file: then it pays to see whether that has been done."""
    return error.login is not None or error.fault is Fault.OPERATOR


def closed() -> TokenError:
    return TokenError("the proxy is shutting down", cause="closed", fault=Fault.PROXY)
