"""Keeps freed memory in the process. By default glibc hands the top of the heap back to the kernel once 128 KiB are
free, and takes it again, page by page, with the next read. That was a quarter of a large body's cost.
"""

from __future__ import annotations

from typing import Final

KEPT: Final = 4 * 1024 * 1024  # octets at the top of the heap: what two of the busiest turns of the loop use
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_TAKEN: Final = 256 * 1024  # octets, at one time
_APART: Final = 1024 * 1024  # larger blocks are mapped by themselves, and unmapped again


def keep_what_is_let_go() -> bool:
    """Calls mallopt(3). Returns False, having changed nothing, where the C library is not glibc."""
    import ctypes  # noqa: PLC0415 -- for processes that serve

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_M_TRIM_THRESHOLD, KEPT), (_M_TOP_PAD, _TAKEN), (_M_MMAP_THRESHOLD, _APART))
    return all(mallopt(name, octets) == 1 for name, octets in wanted)
