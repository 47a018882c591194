from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.terminal import colors, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, grün, 日本", "plain, grün, 日本"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x9b31m", "\\x9b31m"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("rm \u202e/ fr-\u2066", "rm \\u202e/ fr-\\u2066"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_what_comes_out_can_be_written_and_moves_nothing(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(character) in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
        }
        for character in shown
    )  # fmt: skip
    assert printable(shown) == shown


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colored"),
    [
        (Tty(), {}, True),
        (Tty(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Tty(), {"NO_COLOR": "1"}, False),
        (Tty(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colors_are_for_terminals_that_want_them(
    stream: io.StringIO, environ: dict[str, str], *, colored: bool
) -> None:
    assert colors(stream, environ) == colored
