from __future__ import annotations

import ast
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import idtoken_proxy
from idtoken_proxy.terminal import colors, printable, say
from tests.cases import for_each


@for_each(
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
        ("a\U000e0041", "a\\U000e0041"),
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


@for_each(
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


@pytest.mark.parametrize("err", [False, True])
def test_what_is_said_keeps_its_lines_and_nothing_else(
    capfd: pytest.CaptureFixture[str], *, err: bool
) -> None:
    say("one\x1b]0;title\x07\ntwo\udc9b \u202e", err=err)
    out, error = capfd.readouterr()
    assert (error, out)[not err] == "one\\x1b]0;title\\x07\ntwo\\udc9b \\u202e\n"
    assert (out, error)[not err] == ""


def raw_writes(source: str) -> list[int]:
    """The lines of `print`, `click.echo`, and `write` to a standard stream."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and re.fullmatch(
            r"print|click\.s?echo|click\.secho|sys\.(std(out|err))(\.buffer)?\.write(lines)?",
            ast.unparse(node.func),
        )
    ]


def test_nothing_else_writes_to_a_terminal() -> None:
    package = Path(idtoken_proxy.__file__).parent
    found = {
        str(path.relative_to(package)): lines
        for path in package.rglob("*.py")
        if (lines := raw_writes(path.read_text("utf-8")))
    }
    assert set(found) <= {"terminal.py"}
    assert len(found["terminal.py"]) == 1
    assert raw_writes("import sys\nprint(1)\nsys.stderr.write('')\n") == [2, 3]
