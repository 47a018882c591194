"""Header blocks of requests to a receiver and of answers to an app, and what is remembered of them: for one connection, whose
encoder's table they are about. The token's field goes behind what the encoder makes: it is in no table, and its octets last as
long as it does.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from idtoken_proxy.engine.http2.hpack_encoder import Encoder, never_indexed, path_field
from idtoken_proxy.engine.http2.pair import Pair
from idtoken_proxy.engine.http2_messages import (
    length_of,
    outbound_pairs,
    pairs_of,
    response_pairs,
    shared_pairs,
)
from idtoken_proxy.policy.guard import Caller
from idtoken_proxy.policy.headers import Outbound, Peer, TokenLines
from idtoken_proxy.policy.request import Response
from idtoken_proxy.policy.rewrite import Rewriter

_MOST_CONNECTIONS: Final = 64  # from apps, for which an answer's block is remembered


class _Shared(NamedTuple):
    """What requests of one shape (http2/head_shapes.py), app and route have in common, before their path and behind it."""

    encoder: Encoder
    rewriter: Rewriter
    caller: Caller
    peer: Peer
    charged: bytes  # the token's line of whom Google charges
    generation: int
    lasts: bool
    before: bytes
    behind: bytes


class RequestBlocks:
    __slots__ = ("_encoder", "_scheme", "_token", "_token_block")

    def __init__(self, encoder: Encoder, scheme: bytes) -> None:
        self._encoder: Final = encoder
        self._scheme: Final = scheme
        self._token: TokenLines | None = None
        self._token_block = b""

    def block_of(self, outbound: Outbound) -> bytes:
        """To be sent before the next one is asked for."""
        request, token = outbound.request, outbound.token
        encoder = self._encoder
        known, generation = request.encoded, encoder.generation
        mine = known is not None and known[0] is encoder and known[1] is outbound
        block: bytes
        if mine and known[2] == generation and known[3]:
            block = known[3]
        else:
            if request.shape is None:
                block = encoder.encode(outbound_pairs(outbound, self._scheme))
            else:
                block = self._of_shape(outbound)
            if request.repeats:
                # Not of the first time: what comes again goes into the encoder's table, and the block becomes short.
                lasts = mine and encoder.generation == generation
                request.encoded = encoder, outbound, generation, block if lasts else b""
        if request.authorization:
            return block + _token_fields(token.beside) if token.beside else block
        if token is not self._token:
            self._token, self._token_block = token, _token_fields(token.alone)
        return block + self._token_block

    def _of_shape(self, outbound: Outbound) -> bytes:
        """No order is changed by it but that of fields with different names, which says nothing (RFC 9110 section 5.3)."""
        request, caller, peer = outbound.request, outbound.caller, outbound.peer
        token, rewriter = outbound.token, outbound.rewriter
        encoder, shape = self._encoder, request.shape
        shared: _Shared | None = shape.made
        known = (
            shared is not None
            and shared.encoder is encoder
            and shared.rewriter is rewriter
            and shared.caller is caller
            and shared.peer is peer
            and shared.charged == token.charged
        )
        generation = encoder.generation
        if shared is None or not known or not shared.lasts or shared.generation != generation:
            first, rest = shared_pairs(outbound, self._scheme)
            before, behind = encoder.encode(first), encoder.encode(rest)
            lasts = known and encoder.generation == generation  # as for a whole block
            shape.made = shared = _Shared(
                *(encoder, rewriter, caller, peer, token.charged),
                *(encoder.generation, lasts, before, behind),
            )
        varying: list[Pair] = [field.pair for field in request.varying]
        length = length_of(request)
        if length is not None:
            varying.append((b"content-length", b"%d" % length))
        block = shared.before + path_field(outbound.target) + shared.behind
        return block + encoder.encode(varying) if varying else block


def answer_block(response: Response, encoder: Encoder, connection: int) -> bytes:
    """To be sent before the next one is asked for. `connection`: its number, which no other has."""
    encoded = response.encoded
    if encoded is None:
        return encoder.encode(response_pairs(response))
    generation = encoder.generation
    known = encoded.get(connection)
    if known is not None and known[0] == generation and known[1]:
        return known[1]
    block = encoder.encode(response_pairs(response))
    if len(encoded) >= _MOST_CONNECTIONS:
        encoded.clear()
    lasts = known is not None and encoder.generation == generation  # as for a request's
    encoded[connection] = generation, block if lasts else b""
    return block


def _token_fields(lines: bytes) -> bytes:
    return b"".join(never_indexed(name, value) for name, value in pairs_of((lines,)))
