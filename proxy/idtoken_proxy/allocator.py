"""What the C library's allocator does with memory that is let go: by default it hands the top of the heap back to the kernel as
soon as that is 128 KiB, and takes it again with the next read, page by page. Of a large body's cost that was a quarter.
"""

from __future__ import annotations

from typing import Final

KEPT: Final = 4 * 1024 * 1024  # octets at the top of the heap: two turns of the loop at their fullest
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_TAKEN: Final = 256 * 1024  # octets, at one time
_APART: Final = 1024 * 1024  # what is larger is mapped by itself, and unmapped again


def keep_what_is_let_go() -> bool:
    """mallopt(3). False: another library than glibc, which is left as it is."""
    import ctypes  # noqa: PLC0415 -- for processes that serve

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_M_TRIM_THRESHOLD, KEPT), (_M_TOP_PAD, _TAKEN), (_M_MMAP_THRESHOLD, _APART))
    return all(mallopt(name, octets) == 1 for name, octets in wanted)
