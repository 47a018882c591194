"""How people write a time, a size or a number -> seconds and bytes. ValueError says what would be right."""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.settings.plausible import shown

DAY: Final = 24 * 3600.0
LONGEST: Final = 7 * DAY
_NUMBER: Final = r"\d{1,15}(?:\.\d{1,9})?"
DURATION: Final = (
    rf"(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?(?:({_NUMBER})ms)?"  # 1h30m, 5s, 500ms
)
SIZE: Final = rf"({_NUMBER}) ?(B|kB|KB|KiB|MB|MiB)?"
_UNITS: Final = {None: 1, "B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2}
_SECONDS: Final = (3600.0, 60.0, 1.0, 0.001)


def text(value: object) -> str:
    """A string. YAML reads an unquoted 123 or true as something else."""
    if not isinstance(value, str):
        hint = "put it in quotes" if isinstance(value, int | float) else "write one value"
        raise ValueError(f"must be a string, not {shown(value)}; {hint}")  # noqa: TRY004 - what readers collect
    return value


def printable(value: object) -> str:
    """A string that may go into a header or a file name: not empty, no control characters."""
    string = text(value)
    if not string or not string.isprintable():
        raise ValueError(f"must be printable text, and not empty, not {shown(string)}")
    return string


def argument(value: object) -> str:
    """An argument of a command. YAML reads {audience} between { } and [ ] as a mapping."""
    if isinstance(value, dict):
        raise ValueError('must be a string, not a mapping; put it in quotes, as in "{audience}"')  # noqa: TRY004
    string = text(value)
    printable(re.sub(r"(?<=.)[\n\t]+", " ", string))  # a script may have several lines
    return string


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")  # noqa: TRY004
    return value


def switch(value: object) -> bool:
    """`on` and `off` are words here, but booleans to readers of YAML 1.1."""
    if isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise ValueError(f"must be on or off, not {shown(value)}")
    return value == "on"


def duration(value: object) -> float:
    """Seconds: `1h30m`, `5s`, `500ms`; a bare number is seconds. Over 0 and at most 7 days."""
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"must be a time such as 5s, 10m, 1h or 500ms, not {shown(value)}")
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"must be longer than 0 and at most 7 days, not {shown(value)}")
    return seconds


def delay(value: object) -> float:
    """As `duration`, but may be 0."""
    return 0.0 if _seconds(value) == 0 else duration(value)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(min(value, LONGEST + 1))  # an int may be too large for a float
    if not isinstance(value, str) or not value:
        return None
    if re.fullmatch(_NUMBER, value, re.ASCII):
        return float(value)
    match = re.fullmatch(DURATION, value, re.ASCII)
    if match is None:
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part)


def size(value: object) -> int:
    """Bytes: `64KiB`, `1MiB`, `64kB`; a bare number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(SIZE, value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a size such as 64KiB, 1MiB or 64kB, not {shown(value)}")
    number = float(match[1]) * _UNITS[match[2]]
    if number != int(number):
        raise ValueError(f"must be whole bytes, not {shown(value)}")
    return int(number)


def header_bytes(value: object) -> int:
    """Below 1 KiB no browser's request fits; Cloud Run's own limit is 64 KiB, and a head is held in memory whole."""
    number = size(value)
    if not 1024 <= number <= 1024**2:
        raise ValueError(f"must be between 1KiB and 1MiB, not {shown(value)}")
    return number


def connections(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError(f"must be a whole number from 1 to 1000000, not {shown(value)}")
    return value


def services(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1024:
        raise ValueError(f"must be a whole number from 1 to 1024, not {shown(value)}")
    return value


def ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {shown(value)}")
    return float(value)


def uid(value: object) -> int:
    """A user's number. 2**32 - 1 is -1, which is nobody."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32 - 1:
        raise ValueError(f"must be a user's number (id -u NAME), not {shown(value)}")
    return value
