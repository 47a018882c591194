from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.identity.sources.redaction import LONGEST, redacted
from tests.identity.fakes import jwt


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Bad Request", "Bad Request"),
        (f"token {jwt({})} is bad", "token ... is bad"),
        ("a" * 47, "a" * 47),
        ("a" * 48, "..."),
        ("a\r\nSet-Cookie: b\x1b[31m\x00\u202e", "a Set-Cookie: b [31m"),
        ("word " * 100, ("word " * 32).strip()),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


@given(st.text())
def test_always_one_short_line(text: str) -> None:
    shown = redacted(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= LONGEST
