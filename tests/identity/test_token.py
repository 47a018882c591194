from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.terminal import printable
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, EMAIL, b64, jwt

GOOD: dict[str, Any] = {
    "aud": AUDIENCE,
    "exp": 1_800_003_600,
    "iat": 1_800_000_000,
    "email": EMAIL,
    "sub": "1234",
}


def test_reads_the_claims_of_a_signed_token() -> None:
    value = jwt(GOOD)
    token = IdToken.parse(f"\n{value}\n", origin="the test")
    assert token == IdToken(value, AUDIENCE, 1_800_003_600.0, 1_800_000_000.0, EMAIL, "1234")


def test_needs_aud_and_exp_alone() -> None:
    token = IdToken.parse(jwt({"aud": AUDIENCE, "exp": 1.5}), origin="the test", audience=AUDIENCE)
    assert (token.expires_at, token.issued_at, token.email, token.subject) == (1.5, None, None, None)


def test_odd_claims_that_do_not_matter_are_left_out() -> None:
    token = IdToken.parse(jwt({**GOOD, "email": ["x"], "sub": 7}), origin="the test")
    assert (token.email, token.subject) == (None, None)


def test_the_value_is_redacted() -> None:
    value = jwt(GOOD)
    token = IdToken.parse(value, origin="the test")
    for text in (repr(token), str(token), f"{token}", f"{token!r}", f"{[token]}"):
        assert value not in text
        assert value.split(".")[2] not in text
        assert AUDIENCE in text


@for_each(
    "claims",
    [
        {},
        [],
        "text",
        None,
        {**GOOD, "aud": []},
        {**GOOD, "aud": [AUDIENCE, 7]},
        {**GOOD, "aud": [[AUDIENCE]]},
        {**GOOD, "aud": {AUDIENCE: 1}},
        {**GOOD, "aud": None},
        {**GOOD, "exp": "1800003600"},
        {**GOOD, "exp": True},
        {**GOOD, "exp": float("nan")},  # passes every comparison with a clock
        {**GOOD, "exp": float("inf")},
        {**GOOD, "exp": 10**400},
        {**GOOD, "iat": "yesterday"},
    ],
)
def test_claims_that_are_none(claims: Any) -> None:
    value = jwt(claims)
    with pytest.raises(TokenError) as caught:
        IdToken.parse(value, origin="the test")
    assert caught.value.cause == "garbage"
    assert caught.value.fault is Fault.GOOGLE
    assert "the test" in caught.value.detail


@for_each(
    "value",
    [
        "",
        "not a token",
        "a.b",
        "a.b.c.d",
        "..",
        f"a.{b64(b'[' * 100_000)}.c",
        "<html><body>Sign in</body></html>",
        # It becomes a header line.
        f"a.{b64(json.dumps(GOOD).encode())}.c\r\nX-Evil: 1",
        f"a b.{b64(json.dumps(GOOD).encode())}.c",
        f"\u00e4.{b64(json.dumps(GOOD).encode())}.c",
        f"a.{b64(json.dumps(GOOD).encode())}." + "c" * 16_384,
    ],
)
def test_garbage_is_named_and_never_quoted(value: str) -> None:
    with pytest.raises(TokenError) as caught:
        IdToken.parse(value, origin="the test", fault=Fault.OPERATOR)
    error = caught.value
    assert error.cause == "garbage"
    assert error.fault is Fault.OPERATOR
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert not value or value not in f"{error}{error.detail}{error.log_detail}"


def test_a_token_for_another_audience() -> None:
    value = jwt(GOOD)
    with pytest.raises(TokenError) as caught:
        IdToken.parse(value, origin="the test", audience=AUDIENCE + "/")
    assert caught.value.cause == "wrong_audience"
    assert value not in f"{caught.value.detail}{caught.value.log_detail}"


@for_each(
    ("aud", "wanted", "audience", "others"),
    [
        ([AUDIENCE], None, AUDIENCE, ()),
        ([AUDIENCE], AUDIENCE, AUDIENCE, ()),
        (["//iam", AUDIENCE, "c"], AUDIENCE, AUDIENCE, ("//iam", "c")),
        (["//iam", AUDIENCE], None, "//iam", (AUDIENCE,)),
        ([AUDIENCE, AUDIENCE], AUDIENCE, AUDIENCE, ()),
    ],
)
def test_an_audience_may_be_a_list(
    aud: list[str], wanted: str | None, audience: str, others: tuple[str, ...]
) -> None:
    token = IdToken.parse(jwt({**GOOD, "aud": aud}), origin="the test", audience=wanted)
    assert (token.audience, token.others) == (audience, others)
    assert all(token.is_for(one) for one in aud)
    assert not token.is_for("elsewhere")
    assert not token.is_for(None)
    assert token.audiences == ", ".join((audience, *others))


def test_the_audience_must_be_in_the_list() -> None:
    with pytest.raises(TokenError) as caught:
        IdToken.parse(jwt({**GOOD, "aud": ["//iam", "b\x1b[2J"]}), origin="the test", audience=AUDIENCE)
    assert caught.value.cause == "wrong_audience"
    assert f"it is for //iam, b\\x1b[2J, and {AUDIENCE} was asked for" in caught.value.detail


@given(st.text() | st.binary().map(lambda raw: f"a.{b64(raw)}.c"))
def test_only_ever_a_token_error(value: str) -> None:
    try:
        token = IdToken.parse(value, origin="the test")
    except TokenError as error:
        assert error.cause == "garbage"  # noqa: PT017 -- the other outcome is fine too
    else:
        assert token.value.isascii()


@for_each("said", ["\x1b]0;owned\x07", "a\nb", "\u202ereversed", "\ud800", "\x9b2J"])
def test_claims_come_out_fit_for_a_terminal(said: str) -> None:
    claims = {**GOOD, "email": f"a{said}@b.example", "sub": said, "aud": [f"x{said}", said]}
    token = IdToken.parse(jwt(claims), origin="the test")
    for text in (token.email, token.subject, token.audience, token.audiences, *token.others):
        assert text is not None
        assert printable(text) == text
        text.encode()


def test_a_claim_is_no_longer_than_it_need_be() -> None:
    token = IdToken.parse(jwt({**GOOD, "email": "e" * 8_000}), origin="the test")
    assert token.email == "e" * 1024


def test_what_was_asked_for_is_compared_as_it_is() -> None:
    """A control character in an audience is odd, and nobody's who did not ask for it."""
    with pytest.raises(TokenError, match="for another audience"):
        IdToken.parse(jwt({**GOOD, "aud": "a\x1bb"}), origin="the test", audience="a\\x1bc")
    assert IdToken.parse(jwt({**GOOD, "aud": AUDIENCE}), origin="the test", audience=AUDIENCE).is_for(
        AUDIENCE
    )
