"""How a receiver's TLS ends that does not end as it should. A module of its own: exceptions of the connection's kind cannot be
compiled.
"""

from __future__ import annotations


class TruncatedError(ConnectionError):
    """The stream ended without the receiver's close_notify."""


class HandshakeBroken(ConnectionError):
    """The connection ended in the handshake, and nobody said why."""
