from __future__ import annotations

from structlog.testing import capture_logs

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.events import FetchEvent, log_event
from tests.identity.fakes import AUDIENCE, EMAIL


def event(**more: object) -> FetchEvent:
    return FetchEvent(source="fake", described="fake source", wanted=AUDIENCE, seconds=0.12345, **more)  # type: ignore[arg-type]


def test_a_new_token_is_news() -> None:
    got = event(changed=True, email=EMAIL, expires_in=3599.7, next_in=3000.0)
    with capture_logs() as logs:
        log_event(got)
    assert got.cause is None
    assert logs == [
        {
            "event": "token fetched",
            "log_level": "info",
            "source": "fake source",
            "audience": AUDIENCE,
            "seconds": 0.123,
            "email": EMAIL,
            "expires_in": 3600,
        }
    ]


def test_the_same_again_is_not() -> None:
    with capture_logs() as logs:
        log_event(event(expires_in=1.0))
    assert [(line["event"], line["log_level"]) for line in logs] == [("token unchanged", "debug")]


def test_a_failure_says_whose_and_what_to_do() -> None:
    error = TokenError("no", cause="down", fault=Fault.GOOGLE, remedy="wait", log_detail="status 500")
    got = event(error=error, next_in=1.25, still_valid=True)
    with capture_logs() as logs:
        log_event(got)
    assert got.cause == "down"
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("token fetch failed", "warning")
    assert (line["cause"], line["detail"], line["remedy"], line["log_detail"]) == (
        "down",
        "no",
        "wait",
        "status 500",
    )
    assert (line["retry_in"], line["still_valid"]) == (1.2, True)
