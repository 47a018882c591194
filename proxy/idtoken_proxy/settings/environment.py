"""Environment variables: the one that names the configuration, those in strings (`${NAME}`, `${NAME:-default}`) and
those that override keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from idtoken_proxy.settings.mistakes import Location

_REFERENCE: Final = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}|(\$\{)")

OVERRIDES: Final[Mapping[str, Location]] = {
    "IDTOKEN_PROXY_LISTEN": ("listen",),
    "IDTOKEN_PROXY_ADMIN": ("admin",),
    "IDTOKEN_PROXY_LOG_LEVEL": ("log", "level"),
    "IDTOKEN_PROXY_LOG_FORMAT": ("log", "format"),
}


CONFIG: Final = "IDTOKEN_PROXY_CONFIG"
SEARCHED: Final = ("config/proxy.yaml", "proxy.yaml", "/etc/idtoken-proxy/proxy.yaml")


def found_path(environ: Mapping[str, str], searched: Iterable[str] = SEARCHED) -> str | None:
    """The configuration when none is named: $IDTOKEN_PROXY_CONFIG, else the first file that exists."""
    return environ.get(CONFIG) or next((path for path in searched if Path(path).is_file()), None)


def is_there(path: str) -> bool:
    """Accepts a file with an odd name, but not a document's text."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def named_by(path: str, environ: Mapping[str, str]) -> str:
    """Who named this file, to show instead of a value that is no path: the variable, or else the option."""
    return CONFIG if environ.get(CONFIG) == path else "-c"


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """As in a shell, `:-` also replaces an empty variable; `$${` is a literal `${`. Its ValueError names every variable
    that is not set.
    """
    if "${" not in text:
        return text
    unset: list[str] = []

    def value(match: re.Match[str]) -> str:
        literal, name, default, malformed = match.groups()
        if literal:
            return "${"
        if malformed:
            raise ValueError(
                "${ begins no variable; write ${NAME} or ${NAME:-default}, and $${ for a literal ${"
            )
        found = environ.get(name)
        if default is not None:
            return found or str(default)
        if found is None:
            unset.append(name)
        return found or ""

    result = _REFERENCE.sub(value, text)
    if unset:
        names = list(dict.fromkeys(unset))
        missing = f"variable {names[0]} is" if len(names) == 1 else f"variables {', '.join(names)} are"
        raise ValueError(f"environment {missing} not set; set it, or write ${{{names[0]}:-default}}")
    return result


def references(text: str) -> Iterator[str]:
    """The variables it refers to."""
    return (match[2] for match in _REFERENCE.finditer(text) if match[2])


def overrides(environ: Mapping[str, str]) -> Iterator[tuple[str, Location, object]]:
    """(variable, key, value) of each that is set and not empty. Commas separate several listeners."""
    for name, location in OVERRIDES.items():
        value = environ.get(name)
        if value:
            several = [part.strip() for part in value.split(",")]
            yield name, location, several if location == ("listen",) and len(several) > 1 else value
