"""A file that others may write or exchange, read without waiting for anybody, and no further than it may be long.

A path may lead anywhere by the time it is opened: to a FIFO, whose open(2) waits for a writer, to a terminal, to a device
that never ends. What is opened is looked at, and not its path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_TRIES: Final = 3

Version = tuple[int, int, int, int]
look: Callable[[int], os.stat_result] = os.fstat  # where a disk that hangs does so


class NotPlain(OSError):
    """`strerror` is the end of a sentence, as that of every OSError."""


@dataclass(frozen=True, slots=True)
class Read:
    """`version` is that of what was read, whatever has become of the path since."""

    content: bytes = field(repr=False)
    version: Version


def version(path: str | os.PathLike[str]) -> Version:
    """A rename onto the path may keep the mtime's second, never the inode with it. Raises OSError, ValueError."""
    return _version(os.stat(path))  # noqa: PTH116 -- as a Path or not


def read_plain(path: str | os.PathLike[str], limit: int) -> Read:
    """Up to `limit` octets and one more. Raises OSError, NotPlain among them, and ValueError for a NUL in the path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            before = look(descriptor)
            _check(before.st_mode)
            content = os.pread(descriptor, limit + 1, 0)
            if _version(os.fstat(descriptor)) == _version(before):
                break  # else somebody wrote meanwhile, and it may be half the old and half the new
        return Read(content, _version(before))
    finally:
        os.close(descriptor)


def check_plain(path: str | os.PathLike[str]) -> None:
    """For what somebody else reads. Raises as `read_plain`."""
    read_plain(path, 0)


def _check(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory")
    for is_one, name in _KINDS:
        if is_one(mode):
            raise NotPlain(22, f"it is {name}, and no file")


def _version(found: os.stat_result) -> Version:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
