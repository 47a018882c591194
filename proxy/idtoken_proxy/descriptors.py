"""File descriptors: raises the process's limit, and tells whether it is too low for the configured connections."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

# Each connection of an app has one to a receiver at the most.
_FOR_EACH: Final = 2
# The admin listener's 64 connections, token fetches, credential programs' pipes, listeners, the log, files.
RESERVE: Final = 192
_SOME: Final = 10_240  # if the system names no limit, as macOS does not, though it refuses more than this


def raise_limit() -> int:
    """Raises the soft limit to the hard one, and returns it. The soft limit is low only for programs that use
    select(2), which this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, _SOME)
    if soft not in {wanted, resource.RLIM_INFINITY}:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft if soft != resource.RLIM_INFINITY else _SOME


def needed(connections: int) -> int:
    """How many descriptors limits.connections take."""
    return connections * _FOR_EACH + RESERVE


def room_for(limit: int) -> int:
    """The most connections that `limit` descriptors can serve."""
    return max((limit - RESERVE) // _FOR_EACH, 1)
