"""May this connection be served at all? Judged before an octet of it is read; the guard judges its requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from idtoken_proxy.engine.listeners import peer_uid
from idtoken_proxy.errors import Draining, Overloaded, ProxyError, Refused

if TYPE_CHECKING:
    from idtoken_proxy.engine.front import Front


def unwelcome(front: Front, transport: asyncio.Transport) -> ProxyError | None:
    """What it is told where it is not; None where it is."""
    if front.draining:
        return Draining("the proxy is shutting down")
    if front.busy >= front.max_connections:
        return Overloaded(
            f"{front.max_connections} connections are open",
            remedy="raise limits: {connections: ...}, or let the app reuse its connections",
            limit="connections",
        )
    if front.allowed_uids is not None:
        uid = peer_uid(transport)
        if uid is not None and uid not in front.allowed_uids:
            return Refused(
                f"user {uid} may not use this proxy",
                reason="uid",
                remedy=f"add it: guard: {{allowed_uids: {sorted({*front.allowed_uids, uid})}}}",
            )
    return None
