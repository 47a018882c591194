"""From a request to a tunnel: what a 101 does to the two connections (RFC 9110 section 15.2.2)."""

from __future__ import annotations

import asyncio

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.server_context import Connection, ServerContext
from idtoken_proxy.engine.standing import Standing
from idtoken_proxy.engine.streams import AnswerSide


def switch(
    context: ServerContext,
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
    context.forget(app)
    tunnel = context.open_tunnel(app.transport, receiver, exchange, standing)
    context.count(exchange)
    if dismissed or not context.keeps(standing, unchanged=exchange.router is context.router):
        tunnel.abort()
        return None
    return receiver
