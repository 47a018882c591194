"""Reads a file that others may write or replace, without waiting for anybody, up to a limit.

By the time a path is opened it may lead anywhere: to a FIFO, whose open(2) waits for a writer, to a terminal, to a
device that never ends. So the opened file is examined, not its path.
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
look: Callable[[int], os.stat_result] = os.fstat  # tests replace it: a hanging disk hangs here


class NotPlain(OSError):
    """`strerror` is the end of a sentence, like every OSError's."""


@dataclass(frozen=True, slots=True)
class Read:
    """`version` is that of the content that was read, whatever the path leads to since."""

    content: bytes = field(repr=False)
    version: Version


def version(path: str | os.PathLike[str]) -> Version:
    """A rename onto the path may keep the mtime's second, but never the inode with it. Raises OSError, ValueError."""
    return _version(os.stat(path))  # noqa: PTH116 -- as a Path or not


def read_plain(path: str | os.PathLike[str], limit: int) -> Read:
    """Reads up to `limit` octets and one more. Raises OSError (also as NotPlain), ValueError for a NUL in the path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            before = look(descriptor)
            _check(before.st_mode)
            content = os.pread(descriptor, limit + 1, 0)
            if _version(os.fstat(descriptor)) == _version(before):
                break  # else somebody wrote meanwhile, and it may be half old and half new
        return Read(content, _version(before))
    finally:
        os.close(descriptor)


def check_plain(path: str | os.PathLike[str]) -> None:
    """For a file that somebody else will read. Raises as `read_plain` does."""
    read_plain(path, 0)


def _check(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory")
    for is_one, name in _KINDS:
        if is_one(mode):
            raise NotPlain(22, f"it is {name}, and no file")


def _version(found: os.stat_result) -> Version:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
