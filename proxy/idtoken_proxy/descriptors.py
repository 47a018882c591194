"""File descriptors: as many as the system lets the process have, and a word where those are too few for its limits."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

# Each connection of an app has one to a receiver at the most.
_FOR_EACH: Final = 2
# The admin listener's 64 connections, token fetches, credential programs' pipes, listeners, the log, files.
RESERVE: Final = 192
_SOME: Final = 10_240  # where no limit is said, as on macOS, which refuses one beyond its own


def raise_limit() -> int:
    """The soft limit becomes the hard one, and is returned. It is low for programs that use select(2) alone; this one
    does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, _SOME)
    if soft not in {wanted, resource.RLIM_INFINITY}:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft if soft != resource.RLIM_INFINITY else _SOME


def needed(connections: int) -> int:
    """For limits.connections of them."""
    return connections * _FOR_EACH + RESERVE


def room_for(limit: int) -> int:
    """The most connections that `limit` descriptors serve."""
    return max((limit - RESERVE) // _FOR_EACH, 1)
