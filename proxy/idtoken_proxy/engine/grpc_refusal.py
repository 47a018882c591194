"""Google's refusal of a gRPC call: HTTP says 200, and the status stands in the answer's trailers, or in its only head.

What has gone out to the app is not sent again. What is left is to have another token for the next call, and to tell the
operator why (refusal_log.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from idtoken_proxy.engine import retry
from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.identity import grpc_error


def note(exchange: Exchange, lines: Sequence[bytes]) -> None:
    """`lines`: the trailers, or the head of an answer that has no other. An app's own status is the app's affair: what counts
    is an API's, which has no app behind it, and what is in Google's own words.
    """
    entry, response = exchange.entry, exchange.response
    if entry is None or response is None or not grpc_error.refuses(lines):
        return
    if lines is not response.passing:
        lines = [*response.passing, *lines]  # a challenge stands in the head
    of_token = retry.refuses_in_grpc(lines, entry.route)
    if not of_token and entry.route.scopes is None:
        return
    exchange.said = b"".join(lines)
    token, slot = exchange.token, entry.slot
    if of_token and token is not None and slot is not None:
        exchange.token = None
        exchange.renews = slot.renew(token)
