"""Other people's words, cut down to what is safe to show: in an error, in a log, on a terminal."""

from __future__ import annotations

import re

_SECRETIVE = re.compile(r"[A-Za-z0-9_.+/=-]{48,}")  # long enough for a token, too long for a word
_UNPRINTABLE = re.compile(r"[^ -~]+")
LONGEST = 160


def redacted(text: str, longest: int = LONGEST) -> str:
    """One line of ASCII, `longest` characters at most, without anything that may be a token."""
    return _SECRETIVE.sub("...", _UNPRINTABLE.sub(" ", text))[:longest].strip()
