"""From a request to a tunnel: what a 101 does to the two connections (RFC 9110 section 15.2.2)."""

from __future__ import annotations

import asyncio

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.front import Connection, Front
from idtoken_proxy.engine.standing import Standing
from idtoken_proxy.engine.streams import AnswerSide


def switch(
    front: Front,
    app: Connection,
    standing: Standing,
    exchange: Exchange,
    upstream: AnswerSide,
    early: bytes,
    *,
    dismissed: bool,
) -> asyncio.Transport | None:
    """`early`: what the app sent behind its handshake. `dismissed`: it may not stay. The receiver's transport; None where
    the tunnel was ended at once.
    """
    if early:
        upstream.send_data(early)  # while it still tells, from within, that it is full
    receiver, rest = upstream.take_over()
    if rest:
        app.transport.write(rest)
    front.forget(app)
    tunnel = front.open_tunnel(app.transport, receiver, exchange, standing)
    front.count(exchange)
    if dismissed or not front.keeps(standing, unchanged=exchange.gateway is front.gateway):
        tunnel.abort()
        return None
    return receiver
