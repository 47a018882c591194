from __future__ import annotations

from typing import Any

from idtoken_proxy.engine.states import EARLY, RELAYING, SENDING, SENT, WAITING
from idtoken_proxy.engine.timeout_errors import TOKEN_GRACE, timeout_error
from idtoken_proxy.errors import Fault, TokenError, UpstreamTimeout
from idtoken_proxy.settings.model import Timeouts
from tests.cases import for_each

TIMEOUTS = Timeouts(connect=2.5, response=7.0, idle=1.5)


class Slot:
    def status(self) -> Any:
        class Status:
            source = "metadata server, account default"

        return Status()


SLOT: Any = Slot()


def test_a_token_that_does_not_come_is_503_and_google_s() -> None:
    error = timeout_error(WAITING, TIMEOUTS, SLOT, held=False)
    assert isinstance(error, TokenError)
    assert (error.status, error.cause, error.fault, error.limit) == (
        503,
        "timeout",
        Fault.GOOGLE,
        "token_wait",
    )
    assert error.detail == f"no token within {2.5 + TOKEN_GRACE:g} s"
    assert error.identity == "metadata server, account default"
    assert error.remedy


@for_each(
    ("state", "held", "said", "limit", "fault"),
    [
        (SENT, False, "the receiver did not answer within 7 s", "response_timeout", Fault.RECEIVER),
        (SENDING, True, "the request's body stood still for 1.5 s", "idle_timeout", Fault.RECEIVER),
        (SENDING, False, "the request's body stood still for 1.5 s", "idle_timeout", Fault.CALLER),
        (RELAYING, False, "the answer's body stood still for 1.5 s", "idle_timeout", Fault.RECEIVER),
        (EARLY, False, "the answer's body stood still for 1.5 s", "idle_timeout", Fault.RECEIVER),
        (EARLY, True, "the answer's body stood still for 1.5 s", "idle_timeout", Fault.RECEIVER),
    ],
)
def test_who_is_late_with_what(state: str, held: bool, said: str, limit: str, fault: Fault) -> None:  # noqa: FBT001
    error = timeout_error(state, TIMEOUTS, None, held=held)
    assert isinstance(error, UpstreamTimeout)
    assert (error.status, error.detail, error.limit, error.fault) == (504, said, limit, fault)
