"""Run a command under the system call filters that systemd would make of a unit: `python confine.py RULES -- CMD...`.

RULES is JSON: `{"calls": [NAME...], "families": [NUMBER...]}`. There is no systemd where tests run, but its filters are the
kernel's own. What the unit answers with EPERM kills here, so that nothing that is refused goes unseen. It imports nothing of
the project: it runs as a program of its own.

Sources: seccomp_rule_add(3); systemd.exec(5), MemoryDenyWriteExecute= and RestrictAddressFamilies=.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import sys
from typing import Any, Final

KILL: Final = 0x80000000
ALLOW: Final = 0x7FFF0000
ERRNO: Final = 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7  # enum scmp_compare
_NO_NEW_PRIVS: Final = 38  # prctl(2)
_SHM_EXEC: Final = 0o100000


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class Filter:
    """OSError where the machine has no libseccomp, or its kernel takes no filter."""

    def __init__(self, default: int) -> None:
        library = ctypes.CDLL("libseccomp.so.2")
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = [ctypes.c_uint32]
        library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare),
        ]  # fmt: skip
        library.seccomp_load.argtypes = [ctypes.c_void_p]
        self._library: Any = library
        self._context = library.seccomp_init(default)

    def add(self, action: int, name: str, *compared: tuple[int, int, int, int]) -> None:
        """`compared`: argument's index, operation, and its two values. A name that this machine has not is left out."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (_Compare * len(compared))(*(_Compare(*one) for one in compared))
        wrong = self._library.seccomp_rule_add_array(self._context, action, number, len(compared), array)
        if wrong not in (0, -errno.EACCES):  # what is the default anyway needs no rule
            raise OSError(-wrong, f"no rule for {name}")

    def load(self) -> None:
        wrong = self._library.seccomp_load(self._context)
        if wrong:
            raise OSError(-wrong, "the kernel takes no filter")


def confine(calls: list[str], families: list[int]) -> None:
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)

    memory = Filter(ALLOW)
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    memory.add(KILL, "mmap", (2, _MASKED_EQUAL, both, both))
    memory.add(KILL, "mprotect", (2, _MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    memory.add(KILL, "pkey_mprotect", (2, _MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    memory.add(KILL, "shmat", (2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
    for family in set(range(46)) - set(families):  # AF_MAX; glibc asks for some, and takes a no
        memory.add(ERRNO | errno.EAFNOSUPPORT, "socket", (0, _EQUAL, family, 0))
    memory.load()

    listed = Filter(KILL)
    for name in calls:
        listed.add(ALLOW, name)
    listed.load()


if __name__ == "__main__":
    rules = json.loads(sys.argv[1])
    confine(rules["calls"], rules["families"])
    os.execvp(sys.argv[3], sys.argv[3:])
