"""Says why a text is not YAML, and what to do about it.

libyaml names its scanner's state ("could not find expected ':'"), and PyYAML's own scanner repeats what it met, which
may be a secret. So none of their words is passed on: each message is looked up here, by a piece that both have.
"""

from __future__ import annotations

import re
from typing import Final

UNTOLD: Final = "this cannot be read; the mistake is here or in the lines above"

_TAB: Final = re.compile(r"[ ]*\t")
_TAB_WORDS: Final = "a tab stands where YAML takes blanks alone; indent with blanks"
_QUOTES: Final = "put the value in quotes"
# Characters that begin nothing (YAML 1.2, 5.3), and what else may be meant.
_BEGINS_NOTHING: Final = re.compile(r"(?:^|[\s:,\[{-])([@`%])")

# By a piece of the problem; the first that occurs in it counts.
_WORDS: Final[tuple[tuple[str, str], ...]] = (
    ("tab character", _TAB_WORDS),
    ("mapping values are not allowed", 'a second colon, or a key that is indented further than the one above; line the keys up, or put a value that holds ": " in quotes'),
    ("could not find expected ':'", "a key without its colon, or without the blank behind it; write key: value"),
    ("expected '-' indicator", "this is indented like neither the items of the list above nor the key that holds them; line the dashes up"),
    ("sequence entries are not allowed", "a list's item stands where none may; begin the list on the line below its key"),
    ("did not find expected key", "this is indented like none of the keys above, or a quote ends too early; line the keys up"),
    ("expected <block end>", "this is indented like none of the keys above, or a quote ends too early; line the keys up"),
    ("another document", "a second document begins here (---); one file is one configuration"),
    ("expected ',' or '}'", "the brace { is not closed, or a comma is missing between its keys"),
    ("expected ',' or ']'", "the bracket [ is not closed, or a comma is missing between its items"),
    ("expected node content", "a value is missing, or a bracket or brace is not closed"),
    ("expected the node content", "a value is missing, or a bracket or brace is not closed"),
    ("unexpected end of stream", "a quote that is opened here or above is not closed"),
    ("unexpected document indicator", "a quote that is opened above is not closed"),
    ("undefined alias", f"an alias (*name) for which there is no anchor (&name) above; where the asterisk is part of a value, {_QUOTES}"),
    ("duplicate anchor", "an anchor (&name) that there is twice; give each a name of its own"),
    ("alphabetic or numeric character", f"& and * begin an anchor or an alias here; where they are part of a value, {_QUOTES}"),
    ("escape character", "in double quotes a backslash begins an escape; write single quotes, or \\\\ for one backslash"),
    ("escape sequence", "in double quotes a backslash begins an escape; write single quotes, or \\\\ for one backslash"),
    ("hexdecimal number", "in double quotes a backslash begins an escape; write single quotes, or \\\\ for one backslash"),
    ("expected '>'", f"an exclamation mark begins a tag here, and tags are not supported; where it is part of a value, {_QUOTES}"),
    ("tag", f"an exclamation mark begins a tag here, and tags are not supported; where it is part of a value, {_QUOTES}"),
    ("comment or line break", f"behind | or > the value begins on the next line; where the sign is part of a value, {_QUOTES}"),
    ("indentation indicator", f"behind | or > the value begins on the next line; where the sign is part of a value, {_QUOTES}"),
    ("directive", f"a % at the beginning of a line is a directive; where it is part of a value, {_QUOTES}"),
    ("<document start>", "a key or a list's item stands beside what is already a whole document; line it up with what is above"),
)  # fmt: skip

_AWAITS_A_KEY: Final = ("expected key", "expected <block end>")


def words_for(problem: str, line: str) -> str:
    """`problem`: libyaml's or PyYAML's, with its context. `line`: where in the text it arose."""
    if "cannot start any token" in problem:
        begun = _BEGINS_NOTHING.search(line)
        if begun is not None and not _TAB.match(line):
            return f"a value cannot begin with {begun[1]}; {_QUOTES}"
        return _TAB_WORDS if "\t" in line else UNTOLD
    if _TAB.match(line):
        return _TAB_WORDS
    if line.lstrip().startswith("- ") and any(piece in problem for piece in _AWAITS_A_KEY):
        return "a list's item stands where a key is awaited; line the dashes up with the items, or the keys, above"
    return next((words for piece, words in _WORDS if piece in problem), UNTOLD)
