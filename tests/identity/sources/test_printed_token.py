from __future__ import annotations

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.printed_token import access_token_in
from idtoken_proxy.identity.token import UNTOLD_LIFE
from tests.cases import for_each

ASKED = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@for_each(
    ("text", "life"),
    [
        ("ya29.abc\n", UNTOLD_LIFE),
        ('{"access_token": "ya29.abc"}', UNTOLD_LIFE),
        ('{"access_token": "ya29.abc", "expires_in": 3599, "token_type": "Bearer"}', 3599.0),
        ('{"access_token": "ya29.abc", "expires_in": "60"}', 60.0),
        ('{"credential": {"access_token": "ya29.abc", "token_expiry": "2027-01-15T08:30:00Z"}}', 1800.0),
        ('{"token": "ya29.abc", "expiry": "2027-01-15T08:00:30"}', 30.0),
        ('{"token": "ya29.abc", "expires_at": 1800000007}', 7.0),
    ],
)
def test_its_life_is_what_it_says(text: str, life: float) -> None:
    token = access_token_in(text, origin="a file", asked=ASKED)
    assert (token.value, token.expires_at, token.issued_at) == ("ya29.abc", ASKED + life, ASKED)


@for_each(
    "text",
    [
        "",
        "two words",
        "a\r\nHost: evil",
        "ü",
        "{",
        "{}",
        '{"access_token": 7}',
        '{"access_token": "a b"}',
        '{"credential": []}',
        '{"access_token": "ya29.abc", "expires_in": "soon"}',
        '{"access_token": "ya29.abc", "expires_in": NaN}',
        '{"access_token": "ya29.abc", "expiry": "tomorrow"}',
        "[" * 50_000,
        "x" * 20_000,
    ],
)
def test_what_is_none_is_the_operator_s_fault_and_is_not_repeated(text: str) -> None:
    with pytest.raises(TokenError) as caught:
        access_token_in(text, origin="the token file /t", asked=ASKED)
    assert (caught.value.cause, caught.value.fault) == ("garbage", Fault.OPERATOR)
    assert caught.value.detail == "the token file /t handed out something that is no access token"
