"""The form of a token, of which test_judge.py has the forged ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.errors import Unauthenticated
from idtoken_proxy.receive.compact_token import LONGEST, read_token
from tests.receive.signing import claims_of, rsa_signer
from tests.steps import steps_of

TOKEN = rsa_signer().token(claims_of())


def test_its_parts() -> None:
    token = read_token(TOKEN)
    assert (token.algorithm, token.kid, token.claims) == ("RS256", "key-1", claims_of())
    assert token.signed + b"." == TOKEN[: TOKEN.rindex(b".") + 1]
    assert token.unsigned == token.signed + b".SIGNATURE_REMOVED_BY_GOOGLE"


def test_it_shows_nothing_of_them() -> None:
    assert "login" not in repr(read_token(TOKEN))


@given(st.binary(max_size=200) | st.text("abcAB01-_.=", max_size=200).map(str.encode))
def test_whatever_comes_is_refused_with_the_same_error(junk: bytes) -> None:
    with pytest.raises(Unauthenticated):
        read_token(junk)


def test_what_is_too_long_is_not_looked_into() -> None:
    def steps(token: bytes) -> int:
        def read() -> None:
            with pytest.raises(Unauthenticated):
                read_token(token)

        return steps_of(read)

    assert steps(TOKEN + b"A" * 60_000) <= steps(TOKEN + b"A" * LONGEST)
    assert steps(b"." * 64_000) <= steps(b"." * LONGEST) + 50
