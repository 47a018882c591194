"""Heads that are larger than their reader says that it takes, by SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 section 6.5.2): the
proxy itself, the app, the receiver.

The setting is advice, and nginx and Envoy do not look at it. But there are readers (the h2 library of Python's servers and
clients) that end the connection where it is passed over, and with it everybody's streams; and of those that end the stream
alone few say why.
"""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.http1 import MAX_FIELDS
from idtoken_proxy.engine.http2.heads import RequestHead
from idtoken_proxy.errors import AnswerHeadTooLarge, HeadTooLarge, RequestHeadTooLarge
from idtoken_proxy.policy.headers import Outbound
from idtoken_proxy.policy.request import Response

# Nobody in the field takes less, and nearly all heads are smaller: no more is asked of those.
USUAL: Final = 4096
# The proxy's own fields and changes, the token aside: Via, what is forwarded, a longer path.
_ADDED: Final = 1024
_A_FIELD: Final = 32
_OF_A_LINE: Final = _A_FIELD - len(b": \r\n")


def check_head(head: RequestHead, limit: int) -> None:
    """`limit`: limits.header_bytes. Raises HeadTooLarge, which costs the one request; a head of twice that costs the
    connection (http2/settings.py).
    """
    if head.octets > limit:
        raise HeadTooLarge(f"the request head is larger than {limit} octets", limit="header_bytes")
    if head.fields > MAX_FIELDS:
        raise HeadTooLarge(f"more than {MAX_FIELDS} header fields", limit="header_fields")


def beyond_app(response: Response, limit: int | None) -> AnswerHeadTooLarge | None:
    """Of a head with more than USUAL octets. `limit`: the app's."""
    if limit is None or response.head_octets <= limit:
        return None
    return AnswerHeadTooLarge(
        f"the head of the receiver's answer has {response.head_octets} octets, and the app takes {limit} "
        "(SETTINGS_MAX_HEADER_LIST_SIZE)",
        remedy="have the service send less metadata, or the app take more (grpc.max_metadata_size, maxHeaderListSize)",
    )


def beyond_receiver(outbound: Outbound, limit: int | None) -> RequestHeadTooLarge | None:
    """`limit`: the receiver's. What came by HTTP/1.1 has yet to be counted."""
    if limit is None:
        return None
    request = outbound.request
    lines = request.passing
    octets = request.head_octets or sum(map(len, lines)) + len(lines) * _OF_A_LINE + len(outbound.target)
    if octets + _ADDED <= limit:
        return None
    return RequestHeadTooLarge(
        f"the request's head has some {octets + _ADDED} octets, and the receiver takes {limit} "
        "(SETTINGS_MAX_HEADER_LIST_SIZE)",
        remedy="send less in metadata, cookies or the query, or have the receiver take more of it",
    )
