"""Which configured values may be shown: the one place that decides it, for keys, variables, options and messages.

People put a credential where its path belongs (`GOOGLE_APPLICATION_CREDENTIALS="$(cat key.json)"`), and a password into
a URL. So a value is shown if it may be what it should be; a mistaken path must be shown, because that helps. A value
that looks like something else is described by its look, under its key or variable. `objection` refuses what is
certainly a credential, or stands in quotes and the like. `shown` and its siblings also hide what may be one, for
messages about values that are wrong anyway.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

_LONGEST: Final = 80
_LONGEST_PATH: Final = 1024
_LONGEST_PART: Final = 255  # NAME_MAX

_ISSUED: Final = (  # marks that issuers put on secrets, so that scanners find them
    ("an access token", re.compile(r"ya29\.[A-Za-z0-9_.-]{4,}|[a-z]29\.c\.[A-Za-z0-9_-]{8,}")),
    ("a refresh token", re.compile(r"(?<![A-Za-z0-9:/])1//[A-Za-z0-9_-]{8,}")),
    ("a client secret", re.compile(r"GOCSPX-[A-Za-z0-9_-]{8,}")),
    ("an API key", re.compile(r"AIza[A-Za-z0-9_-]{20,}")),
    ("an API key", re.compile(r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{8,}")),
    ("a GitHub token", re.compile(r"gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}")),
    ("a JWT", re.compile(r"ey[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?")),
    (
        "a header with a credential",
        re.compile(r"(?:^|[:'\" ])(?:Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
    ),
)
_FIELD: Final = re.compile(
    r"private_?key|client_?secret|(?:refresh|access|id)_?token|pass(?:word|wd|phrase)|secret_?(?:access_?)?key",
    re.IGNORECASE,
)
_ASSIGNED: Final = re.compile(rf"(?:{_FIELD.pattern})[\"']?\s*[:=]\s*\S", re.IGNORECASE)
_PEM: Final = re.compile(r"-----BEGIN|PRIVATE KEY-----|\bMII[A-Za-z0-9+/]{40,}")
_USERINFO: Final = re.compile(r"(?:^|//)[^\s/?#@:]*:[^\s@]+@[^\s@]*")
_QUERY: Final = re.compile(r"[?#&][^\s?#&=]+=[^\s]")
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_DOCUMENT: Final = re.compile(rb'[{\[]\s*"[A-Za-z_$]{3}|-----BEGIN|"[a-z_]{3,40}"\s*:|PRIVATE KEY')
_RUN: Final = re.compile(r"[A-Za-z0-9+_=-]{20,}")
_HEX: Final = re.compile(r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{32,}")
_CLASSES: Final = (
    re.compile("[a-z]"),
    re.compile("[A-Z]"),
    re.compile("[0-9]"),
    re.compile(r"[!\"#$&\'()*+,;<=>?@\\^`{|}~]"),
)
_KIND: Final = {"a": re.compile("[a-z]"), "A": re.compile("[A-Z]"), "0": re.compile("[0-9]")}
_KEY: Final = re.compile(r"[A-Za-z0-9_$.<-][A-Za-z0-9_.$<-]{0,62}")

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_PROJECT: Final = re.compile(r"(?:[a-z][a-z0-9.-]{1,60}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{1,20}")

_QUOTES: Final = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
_INVISIBLE: Final = "\ufeff\u200b\u200c\u200d\u2060\u00ad"
_ASSIGNMENT: Final = re.compile(r"(?:export\s+|set\s+|\$env:)?[A-Z][A-Z0-9_]{2,}\s?=|export\s", re.ASCII)
# Most of a long file is names, URLs and paths in lower case. Among these characters, whatever the searches below look
# for holds one of these pieces. A document in base64 encodes a key's quote, 34, which is lower case only as the last of
# four digits, after one whose lower two bits are 0. Dashes and capitals always have a digit in upper case.
_PLAIN: Final = re.compile(r"[a-z0-9./:_-]*")
_PERHAPS: Final = re.compile(
    r"29\.|1//|pk[-_]|rk[-_]|sk[-_]|xox|ey|gho_|ghp_|ghr_|ghs_|ghu_|github_|"
    r"ci|gi|ki|oi|si|wi|0i|4i|8i|key:|secret:|token:|word:|wd:|phrase:"
)
_LINES: Final = "text of several lines"  # perhaps a configuration
_UNEXPANDED: Final = re.compile(r"(\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|%[A-Za-z_]{2,}%|\$\()")


def credential_in(text: str) -> str | None:
    """What the text certainly is or holds, in words, such as "a JWT"; None if it may be what it should be."""
    if _PEM.search(text):
        return "a PEM key or certificate"
    stripped = text.strip().strip(_QUOTES + _INVISIBLE).lstrip()
    if stripped[:1] in ("{", "[") and re.match(r"[{\[]\s*\\?[\"'{]", stripped):
        return "a JSON document"
    for what, mark in _ISSUED:
        if mark.search(text):
            return what
    if _ASSIGNED.search(text):
        return "a document with a secret in it"
    if _is_encoded_document(text):
        return "a document in base64"
    if len(text.strip().splitlines()) > 1:
        return _LINES
    return "a user name and a password" if _USERINFO.search(text) else None


def _is_encoded_document(text: str) -> bool:
    """Whether it is base64, even url-safe or wrapped, or a piece of it cut at any of four places."""
    joined = re.sub(r"\s+|\\n", "", text)
    for found in _ENCODED.finditer(joined):
        run = found[0].rstrip("=").translate(str.maketrans("-_", "+/"))
        for skipped in range(4):
            whole = run[skipped:][: (len(run) - skipped) // 4 * 4]
            if _DOCUMENT.search(binascii.a2b_base64(whole)):
                return True
    return False


def wrapping(text: str) -> str | None:
    """What surrounds a value and was not meant as part of it, with the remedy; None if nothing does."""
    if text[:1] in _INVISIBLE and text:
        return "begins with an invisible character (a byte order mark or the like); save it without one"
    if any(char in text for char in _INVISIBLE):
        return "holds an invisible character, as text copied from a page may; write it anew by hand"
    if text.endswith(("\r", "\n")) or text.startswith(("\r", "\n")):
        kind = "CR, as files with Windows line ends have" if "\r" in text else "LF"
        return f"has a line break around it ({kind}); remove it"
    if text != text.strip():
        return "has blanks around it; remove them"
    if "\r" in text or "\n" in text:
        return "holds a line break; it must be one line"
    if len(text) > 1 and (text[0] in _QUOTES or text[-1] in _QUOTES):
        return (
            "has quotes that are part of it (docker --env-file, Kubernetes and quotes within quotes keep them); remove "
            "them"
        )
    assigned = _ASSIGNMENT.match(text)
    if assigned is not None:
        return "begins with an assignment (NAME=) that is part of it; write what stands behind that alone"
    if len(text) > 1 and text[-1] in ",;":
        return f'ends in "{text[-1]}", which is part of it; remove it'
    return None


def path_wrapping(text: str, *, home: bool) -> str | None:
    """As `wrapping`, and what cannot be part of a path. `home`: whether `~` means the home directory, as it does in the
    configuration file but never in a variable.
    """
    around = wrapping(text)
    if around is not None:
        return around
    if re.match(r"file:", text, re.IGNORECASE):
        return "is a file: URL; write the path alone, without file://"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return "is a URL; it must be the path of a file on this machine"
    if _UNEXPANDED.match(text):
        return "begins with a variable that nothing expands here; write the whole path"
    if text.startswith("~") and not home:
        return "begins with ~, which nothing expands here; write the whole path"
    return None


def objection(text: str) -> str | None:
    """Why no key of a configuration takes the text; None if one may. Never repeats it."""
    if _PLAIN.fullmatch(text) and not _PERHAPS.search(text):
        return None
    found = credential_in(text)
    if found is not None:
        return f"holds a secret, as it looks ({found}), so it is not shown; no secret belongs here"
    return wrapping(text)


def url_path_objection(text: str) -> str | None:
    """As `objection`, for a URL's path, which may end in any of its characters (RFC 3986 section 3.3)."""
    return objection(text.rstrip(",;'"))


def path_objection(text: str, *, home: bool = False) -> str | None:
    """As `objection`, for the path of a file."""
    found = credential_in(text)
    if found == _LINES:
        return f"holds {found}, as a file does; it must be the path of a file that holds it"
    if found is not None:
        return (
            f"holds the credential itself, as it looks ({found}); it must be the path of a file that holds it"
        )
    return path_wrapping(text, home=home) or (
        _no_path(text) and f"{_no_path(text)}; it must be the path of a file"
    )


def host_objection(text: str) -> str | None:
    """As `objection`, for HOST or HOST:PORT."""
    refused = objection(text)
    if refused is None and (hidden(text) is not None or not _HOST.fullmatch(text)):
        refused = f"is no HOST or HOST:PORT, but {shown(text)}"
    return refused


def project_objection(text: str) -> str | None:
    """As `objection`, for a project's ID or number
    (https://cloud.google.com/resource-manager/docs/creating-managing-projects).
    """
    refused = objection(text)
    return refused or (None if _PROJECT.fullmatch(text) else "is no project's ID or number")


def _no_path(text: str) -> str | None:
    if not text.isprintable():
        return "holds a NUL character" if "\0" in text else "holds control characters"
    if len(text) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_PART for part in text.split("/")):
        return f"is too long for a path ({len(text)} characters)"
    return None


def _look(text: str) -> str | None:
    """What it looks like, if it may be a secret: a password, random letters."""
    found = credential_in(text)
    if found is not None:
        return found
    if _QUERY.search(text):
        return "a query string"
    if "@" in text and ":" in text.partition("@")[0].rpartition("//")[2]:
        return "a user name and a password"
    if any(_random(found[0]) for found in _RUN.finditer(text)) or _HEX.search(text):
        return "a random string, as a secret is"
    return None


def _random(run: str) -> bool:
    """Whether letters of both cases and digits alternate as in no name: `test_a_GOOGLE_AP0` changes its kind twice, a
    key's ID at every other character. A capital before small letters begins a word and is no change.
    """
    kinds = [next(kind for kind in "aA0" if _KIND[kind].match(char)) for char in run if char.isalnum()]
    changes = sum(one != other and (one, other) != ("A", "a") for one, other in pairwise(kinds))
    return len(set(kinds)) == 3 and changes * 4 > len(kinds)


def _password(text: str) -> bool:
    """Whether it has three kinds of characters, and none of those that divide a path, a URL or a sentence."""
    bare = 6 <= len(text) <= 128 and not re.search(r"[\s/]|://", text)
    return bare and sum(bool(kind.search(text)) for kind in _CLASSES) >= 3


def hidden(text: str) -> str | None:
    """What it looks like, if it may be a secret and must not be shown; None if it may be shown."""
    return _look(text) or ("a password" if _password(text) else None)


def shown(value: object) -> str:
    """A value for a message: as in the file, cut if long; or what it looks like."""
    match value:
        case str():
            look = hidden(value)
            if look is not None:
                return f"what it holds (not shown: it looks like {look})"
            text = f'"{value}"'
        case bool():
            text = "true" if value else "false"
        case int() | float():
            text = str(value)
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "nothing"
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '..."'


def shown_path(path: str) -> str:
    """A file's path for a message. One that does not exist is shown, because it has to be corrected."""
    name = path.rpartition("/")[2]
    look = (
        _look(path) or _no_path(path) or ("a password" if "." not in name[1:-1] and _password(name) else None)
    )
    if look is None:
        return path
    return (
        f"(a path that is not shown: it {look if look.startswith(('holds', 'is')) else f'looks like {look}'})"
    )


def shown_key(name: str) -> str:
    """A mapping's key for a message. Whole documents end up as one if a colon follows."""
    return name if _KEY.fullmatch(name) and hidden(name) is None else "(a key that is not shown)"


def unechoed(message: str, values: Iterable[str]) -> str:
    """A message of others', such as click's, without those values that may be secrets."""
    for value in sorted(values, key=len, reverse=True):
        bare = value.lstrip("-")
        for part in {bare, bare.partition("=")[2]}:
            look = hidden(part) if part else None
            if look is not None:
                for form in (part, repr(part)[1:-1], ascii(part)[1:-1]):
                    message = message.replace(form, f"(not shown: it looks like {look})")
    return message
