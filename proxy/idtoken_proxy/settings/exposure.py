"""Files that hold a secret or decide whom to trust, and that other users of the machine may read or change.

A warning is for whoever can act on it. So readable files count only if they are this user's own and `chmod` would help.
A Kubernetes Secret (0644, root's, on a read-only volume in the pod's own container) is as the kubelet made it; its
`defaultMode` matters to whoever shares the volume. Writable files count whoever owns them, because their writers decide
who calls, unless the file system is mounted read-only. Groups are not judged: a group shares a secret on purpose
(fsGroup, 0640). Sockets are not here: the proxy creates them with mode 0600.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from idtoken_proxy.errors import Problem
from idtoken_proxy.settings.model import NamedFile
from idtoken_proxy.settings.plausible import shown_path

_PUBLIC: Final = frozenset({"ca_file", "cert_file"})  # certificates: anybody may read them


def exposed(files: Iterable[NamedFile]) -> tuple[Problem, ...]:
    """The warnings about `files`, including files that may appear later. Blocks on a disk that hangs."""
    by_path = {named.path: named for named in reversed([*files])}  # the first that names it wins
    warnings = ((named, exposure(named.key.rpartition(".")[2], path)) for path, named in by_path.items())
    return tuple(
        Problem(named.file, named.line, named.key, message)
        for named, message in warnings
        if message is not None
    )


def exposure(key: str, path: str, user: int | None = None) -> str | None:
    """The warning, if any. `key`: the last part of the key that names the file. `user`: the user ID that asks, by
    default this process's. A file that cannot be examined is reported elsewhere.
    """
    user = os.geteuid() if user is None else user
    try:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return None
        found = Path(path).stat()
        directory = Path(path).absolute().parent.stat()
    except (OSError, ValueError):
        return None
    shown = shown_path(path)
    if found.st_mode & stat.S_IWOTH:
        return f"{shown} may be changed by every user of this machine (mode {_mode(found)}), and with it who is believed; chmod o-w {shown}"
    if directory.st_mode & stat.S_IWOTH and not directory.st_mode & stat.S_ISVTX:
        above = shown_path(str(Path(path).absolute().parent))
        return (
            f"{shown} may be replaced by every user of this machine: its directory is open to all (mode {_mode(directory)}); "
            f"chmod o-w {above}"
        )
    if key not in _PUBLIC and found.st_mode & stat.S_IROTH and found.st_uid == user:
        return f"{shown} may be read by every user of this machine (mode {_mode(found)}); chmod 600 {shown}"
    return None


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"
