"""An access token as files hold it and commands print it: by itself, or in JSON that says how long it lives.

{"access_token": "...", "expires_in": 3599}                           RFC 6749 section 5.1
{"credential": {"access_token": "...", "token_expiry": "..."}}        gcloud config config-helper --format=json
{"token": "...", "expiry": "2026-01-01T00:00:00Z"}                    Google's libraries
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.token import UNTOLD_LIFE, AccessToken

_VALUES: Final = ("access_token", "token")
_ENDS: Final = ("token_expiry", "expiry", "expires_at", "expire_time", "expireTime")


def access_token_in(text: str, *, origin: str, asked: float) -> AccessToken:
    """`asked`: Unix seconds; where nothing says how long the token lives, it is good for a while from then on. TokenError
    with cause `garbage` where there is none.
    """
    text = text.strip()
    if not text.startswith("{"):
        return AccessToken.of(text, origin=origin, asked=asked, fault=Fault.OPERATOR)
    try:
        said = json.loads(text)
        answer = said.get("credential", said)
        value = next((answer[name] for name in _VALUES if name in answer), None)
        life = _life(answer, asked)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        value, life = None, UNTOLD_LIFE
    return AccessToken.of(value, origin=origin, asked=asked, life=life, fault=Fault.OPERATOR)


def _life(answer: Mapping[str, Any], asked: float) -> float:
    if "expires_in" in answer:
        return float(answer["expires_in"])
    end = next((answer[name] for name in _ENDS if name in answer), None)
    if end is None:
        return UNTOLD_LIFE
    if isinstance(end, int | float):
        return end - asked
    moment = dt.datetime.fromisoformat(end)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() - asked
