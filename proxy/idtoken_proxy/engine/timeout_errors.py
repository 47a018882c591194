"""What it means that an exchange's deadline has passed: who is late, and with what."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.states import SENDING, SENT, WAITING
from idtoken_proxy.errors import Fault, ProxyError, TokenError, UpstreamTimeout
from idtoken_proxy.identity.cache import TokenSlot
from idtoken_proxy.identity.error_causes import TRANSIENT
from idtoken_proxy.settings.model import Timeouts

# A request waits for its token's first fetch within timeouts.connect and this much more, seconds.
TOKEN_GRACE: Final = 5.0


def timeout_error(state: str, timeouts: Timeouts, slot: TokenSlot | None, *, held: bool) -> ProxyError:
    """`held`: the app's body waits for the receiver. In WAITING it is the token that is late: to connect has a timeout of
    its own (pool.py).
    """
    if state is WAITING:
        return _no_token(timeouts, slot)
    if state is SENT:
        return UpstreamTimeout(
            f"the receiver did not answer within {timeouts.response:g} s", limit="response_timeout"
        )
    moving = "request" if state is SENDING else "answer"
    stalled = UpstreamTimeout(
        f"the {moving}'s body stood still for {timeouts.idle:g} s", limit="idle_timeout"
    )
    if state is SENDING and not held:
        stalled.fault = Fault.CALLER
    return stalled


def _no_token(timeouts: Timeouts, slot: TokenSlot | None) -> TokenError:
    error = TokenError(
        f"no token within {timeouts.connect + TOKEN_GRACE:g} s",
        cause="timeout",
        fault=Fault.GOOGLE,
        remedy=TRANSIENT,
        identity=None if slot is None else slot.status().source,
    )
    error.limit = "token_wait"
    return error
