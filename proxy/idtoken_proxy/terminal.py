"""Untrusted text on a terminal: spells out characters that a terminal would obey, or a person would not see.

A terminal obeys what it shows: ECMA-48 escapes (CVE-2003-0063 and its kin) set titles, move the cursor, answer for the
user. A lone surrogate cannot be written at all. Characters that change direction or have no width make one command look
like another (CVE-2021-42574).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, TextIO

import click

# C0 and C1 controls, DEL, line and paragraph separators, marks without width, direction overrides, surrogates, tags.
UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""On one line, each such character escaped: `\x1b`, `\u202e`."""
    return UNPRINTABLE.sub(_spelled, text)


def printable_lines(text: str) -> str:
    """As `printable`, for a text of ours that has several lines."""
    return "\n".join(map(printable, text.split("\n")))


def say(text: str, *, err: bool = False, ends: bool = True) -> None:
    """The one way to standard output and standard error. `ends`: the line ends; if not, somebody types on it."""
    click.echo(printable_lines(text), err=err, nl=ends)


def colors(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to color output to `stream`: a terminal that can, unless the environment forbids it
    (https://no-color.org).
    """
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _spelled(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
