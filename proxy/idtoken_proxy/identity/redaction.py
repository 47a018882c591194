"""Other people's words, cut down to what is safe to show: in an error, in a log, on a terminal.

A long run of letters and digits may be a token. Google's own sentences hold such runs that are none, and that whoever
mends something needs: resource names, links, and the identifier by which a refusal of VPC Service Controls is found.
"""

from __future__ import annotations

import re

LONGEST = 240  # two of Google's sentences

_LONG = re.compile(r"[A-Za-z0-9_.+/=-]{48,}")  # long enough for a token, too long for a word
_UNPRINTABLE = re.compile(r"[^ -~]+")
# A resource's name or a link's host and path: short pieces, each a word (camelCase too), a number, or a few characters
# as in a service's URL. A random string changes between cases within a piece, or has one that is too long.
_PIECE = re.compile(
    r"[A-Za-z]?[a-z]{1,23}(?:[A-Z][a-z]{1,19}){0,6}\d{0,5}|[A-Z]{1,16}|\d{1,21}|[a-z0-9]{0,12}"
)
_PIECES = re.compile(r"[/._-]+")
# https://cloud.google.com/vpc-service-controls/docs/troubleshooting: 54 characters so far. No dots: a JWT is none.
_IDENTIFIER = re.compile(
    r"(?i:UniqueIdentifier)[\"']?[:=]? {0,2}[\"']?([A-Za-z0-9_-]{16,80})(?![A-Za-z0-9_+/=-]|\.[A-Za-z0-9_-])"
)
_SENTENCE_END = re.compile(r"[.!?](?= |$)")


def redacted(text: str, longest: int = LONGEST) -> str:
    """One line of ASCII, `longest` characters at most, without anything that may be a token. What is too long ends
    after a whole sentence, or else after a whole word.
    """
    line = _UNPRINTABLE.sub(" ", text)
    kept = {found[1] for found in _IDENTIFIER.finditer(line)}
    shown = _LONG.sub(lambda run: _shown(run[0], kept), line).strip()
    return shown if len(shown) <= longest else _cut(shown, longest)


def is_identifier(text: str) -> bool:
    """Whether it may be VPC Service Controls' unique identifier."""
    return re.fullmatch(r"[A-Za-z0-9_-]{16,80}", text) is not None


def _shown(run: str, kept: set[str]) -> str:
    bare = run.rstrip(".")
    named = "/" in bare and all(_PIECE.fullmatch(piece) for piece in _PIECES.split(bare))
    return run if named or bare in kept else "..."


def _cut(text: str, longest: int) -> str:
    ends = [found.end() for found in _SENTENCE_END.finditer(text, 0, longest)]
    # A sentence's end within its first few words is an abbreviation's, or says too little.
    if ends and ends[-1] >= longest // 4:
        return text[: ends[-1]]
    room = longest - len(" ...")
    return text[:room].rpartition(" ")[0].rstrip() + " ..." if " " in text[:room] else text[:room] + " ..."
