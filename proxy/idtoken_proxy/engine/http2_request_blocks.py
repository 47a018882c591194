"""Requests as header blocks of one connection to a receiver, remembered as far as they last, and the token behind them."""

from __future__ import annotations

from idtoken_proxy.engine.http2.client_connection import ClientConnection
from idtoken_proxy.engine.http2.hpack_encoder import never_indexed
from idtoken_proxy.engine.http2_messages import outbound_pairs, pairs_of
from idtoken_proxy.policy.headers import Outbound, TokenLines


class RequestBlocks:
    """The token's field goes behind what the encoder makes: it is in no table, and its octets last as long as it does."""

    __slots__ = ("_core", "_scheme", "_token", "_token_block")

    def __init__(self, core: ClientConnection, scheme: bytes) -> None:
        self._core = core
        self._scheme = scheme
        self._token: TokenLines | None = None
        self._token_block = b""

    def of(self, outbound: Outbound) -> bytes:
        token = outbound.token
        lines = token.beside if outbound.request.authorization else token.alone
        core, request = self._core, outbound.request
        known, before = request.encoded, core.generation
        mine = known is not None and known[0] is core and known[1] is outbound
        if mine and known[2] == before and known[3]:
            block: bytes = known[3]
        else:
            block = core.encode(outbound_pairs(outbound, self._scheme))
            # Not of the first time: what comes again goes into the encoder's table, and the block becomes short.
            lasts = mine and core.generation == before
            request.encoded = core, outbound, before, block if lasts else b""
        if not lines:
            return block
        if outbound.request.authorization:
            return block + _never_indexed(lines)
        if token is not self._token:
            self._token, self._token_block = token, _never_indexed(lines)
        return block + self._token_block


def _never_indexed(lines: bytes) -> bytes:
    return b"".join(never_indexed(name, value) for name, value in pairs_of((lines,)))
