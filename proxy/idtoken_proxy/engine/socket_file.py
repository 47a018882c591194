"""A unix socket in the file system: in which directory it may be, who may open it, and that it goes when it is not used.

Whoever may write to a socket's directory can put a socket of his own in its place and hear what apps say, so the
directory must be the proxy's user's or root's, and closed to others (unix(7), "Pathname socket ownership and
permissions"). It is opened once; from then on everything happens in what was opened, whatever its path leads to since.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from idtoken_proxy.settings.plausible import shown_path

_ALONE: Final = (0o700, 0o600)  # of the directory and the socket: their user's
_ANYONE: Final = (0o755, 0o666)
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_ENDPOINT: Final = getattr(os, "O_PATH", 0)  # Linux alone opens a socket's name

log = structlog.get_logger("idtoken_proxy.engine")


@dataclass
class SocketFile:
    """`directory`: open, or -1 when the socket has gone. `inode`: what was made there. `made`: the directory is too."""

    path: Path
    directory: int
    inode: int
    made: bool

    def share(self, *, shared: bool) -> None:
        """Whether other users may open it. Says in the log where that cannot be done."""
        directory, mode = _ANYONE if shared else _ALONE
        try:
            if not self._is_there():
                return  # somebody else's by now
            if self.made:
                os.fchmod(self.directory, directory)
            self._set_mode(mode)
        except OSError as error:
            log.warning("the socket's mode cannot be set", path=str(self.path), reason=error.strerror)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            if self._is_there():  # and not one that a successor has put there meanwhile
                os.unlink(self.path.name, dir_fd=self.directory)
        os.close(self.directory)
        self.directory = -1

    def _is_there(self) -> bool:
        return os.lstat(self.path.name, dir_fd=self.directory).st_ino == self.inode

    def _set_mode(self, mode: int) -> None:
        if not _ENDPOINT:  # pragma: no cover -- elsewhere than on Linux
            os.chmod(self.path.name, mode, dir_fd=self.directory)
            return
        # The name may be another file's by the time of a chmod by name, and a link's.
        opened = os.open(self.path.name, _ENDPOINT | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            if os.fstat(opened).st_ino == self.inode:
                Path(f"/proc/self/fd/{opened}").chmod(mode)
        finally:
            os.close(opened)


def bind(path: Path) -> tuple[socket.socket, SocketFile]:
    """Its mode stands from the first moment on: a socket that is open first and closed to others then is a race. OSError
    says why there cannot be one.
    """
    made = _make(path.parent)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    bound = socket.socket(socket.AF_UNIX)
    try:
        _refuse_others(path.parent, directory)
        _remove_stale(path, directory)
        before = os.umask(0o177)
        try:
            bound.bind(str(path))
        finally:
            os.umask(before)
        inode = _inode_of(path, directory)
    except OSError:
        bound.close()
        os.close(directory)
        raise
    bound.setblocking(False)
    _warn_of_those_above(path)
    return bound, SocketFile(path, directory, inode, made)


def _inode_of(path: Path, directory: int) -> int:
    inode = path.lstat().st_ino
    if os.lstat(path.name, dir_fd=directory).st_ino != inode:
        raise OSError(errno.ESTALE, f"{path.parent} has become another directory meanwhile")
    return inode


def _make(directory: Path) -> bool:
    """Whether it was missing. What leads to it is anybody's to pass and nobody else's to write, whatever the umask."""
    if directory.exists():
        return False
    for ancestor in reversed(directory.parents):
        if not ancestor.exists():
            ancestor.mkdir(mode=0o755, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    return True


def _refuse_others(path: Path, directory: int) -> None:
    found = os.fstat(directory)
    if found.st_uid not in (0, os.geteuid()):
        raise OSError(
            errno.EACCES, f"its directory {shown_path(str(path))} is another user's (uid {found.st_uid})"
        )
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(found.st_mode)
        raise OSError(
            errno.EACCES,
            f"others may write to its directory {shown_path(str(path))} (mode {mode:o}), and so put a socket of their own in its place: "
            "chmod go-w",
        )


def _warn_of_those_above(path: Path) -> None:
    """Who may rename a directory on the way can put another one in its place. That is not refused: a volume that the containers
    of a pod share is open to all, and they may well trust each other.
    """
    parents = {*path.absolute().parent.parents, *path.parent.resolve().parents}
    for above in sorted(parents, key=lambda one: len(one.parts)):
        try:
            found = above.stat()
        except OSError:
            continue
        others_write = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
        # Of /, whoever may change it has all of the machine; in some sandboxes it is nobody's.
        if others_write or (found.st_uid not in (0, os.geteuid()) and above != Path("/")):
            whose = "open to every user" if others_write else f"another user's (uid {found.st_uid})"
            log.warning(
                "others may put a socket of their own in the place of this one",
                path=shown_path(str(path)),
                reason=f"{shown_path(str(above))}, above its directory, is {whose}",
                remedy="choose a path of which all directories are this user's or root's",
            )
            return


def _remove_stale(path: Path, directory: int) -> None:
    """What a proxy that was killed left behind; never a file, never a socket that someone listens on."""
    try:
        mode = os.lstat(path.name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is something that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            os.unlink(path.name, dir_fd=directory)
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")
