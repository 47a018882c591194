"""May this connection be served at all? Judged before an octet of it is read; the guard judges its requests."""

from __future__ import annotations

import os
from typing import Final, Protocol

from idtoken_proxy.engine.listeners import Door
from idtoken_proxy.errors import Draining, Overloaded, ProxyError, Refused

UNKNOWN: Final = -1  # whose uid the system does not tell
_ROOT: Final = 0


class AdmissionContext(Protocol):
    """What is asked of the ServerContext. `busy`: connections and tunnels that are open."""

    closed: bool
    max_connections: int
    allowed_uids: frozenset[int] | None

    @property
    def busy(self) -> int: ...


def admission_error(context: AdmissionContext, uid: int | None, door: Door) -> ProxyError | None:
    """What it is told where it is not; None where it is. `uid`: of a unix socket's peer, None for TCP."""
    if context.closed:
        return Draining("the proxy is shutting down")
    if not door.open:
        return Draining("the proxy does not listen here any more")
    if context.busy >= context.max_connections:
        return Overloaded(
            f"{context.max_connections} connections are open",
            remedy="raise limits: {connections: ...}, or let the app reuse its connections",
            limit="connections",
        )
    return unlisted(context, uid)


def unlisted(context: AdmissionContext, uid: int | None) -> Refused | None:
    """Without `allowed_uids` a unix socket is its user's alone. Its mode says so too, but only to who connects from then
    on: a connection may be older than that, or have waited for its turn since before.
    """
    if uid is None:
        return None
    listed = context.allowed_uids
    if listed is None:
        own = os.geteuid()
        if uid in (own, _ROOT, UNKNOWN):
            return None
        listed = frozenset({own})
    elif uid in listed:
        return None
    return Refused(
        f"user {uid} may not use this proxy",
        reason="uid",
        remedy=f"add it: guard: {{allowed_uids: {sorted({*listed, uid})}}}",
    )
