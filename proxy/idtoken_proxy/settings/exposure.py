"""Files that hold a secret, or decide what is believed, and that other users of the machine may read or change.

Who is to be told: whoever can mend it. So of what others may read, where the file is this user's own and `chmod` would do;
a Kubernetes Secret (0644, root's, on a volume that is mounted read-only, in a container that is the pod's alone) is
as the kubelet made it, and its `defaultMode` is for whoever shares the volume. What others may write to is told whoever's
it is, for with it they are who calls; but not on what is mounted read-only. Groups are not judged: a group is how a
secret is shared on purpose (fsGroup, 0640). Sockets are not here: the proxy makes them itself, with mode 0600.
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

_PUBLIC: Final = frozenset({"ca_file", "cert_file"})  # certificates: to be read by anybody


def exposed(files: Iterable[NamedFile]) -> tuple[Problem, ...]:
    """The warnings of all of them. Of what only is there later, too: it may be there already. Blocks on a disk that hangs."""
    by_path = {named.path: named for named in reversed([*files])}  # the first that names it
    told = ((named, exposure(named.key.rpartition(".")[2], path)) for path, named in by_path.items())
    return tuple(Problem(named.file, named.line, named.key, said) for named, said in told if said is not None)


def exposure(key: str, path: str, user: int | None = None) -> str | None:
    """The warning, if any. `key`: the last one of where it is named. `user`: who asks; this process's by default. What cannot
    be looked at is somebody else's to tell.
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
