"""Interim answers, 1xx: which of them a receiver may send (RFC 9110 section 15.2)."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.errors import MalformedResponse
from idtoken_proxy.policy.request import Request, Response

# 103s of a chatty framework are a handful; a flood of them is a fault.
MAX_INTERIM: Final = 32


def check_interim(response: Response, request: Request, number: int) -> None:
    """`number`: how many there have been with this one. Raises MalformedResponse."""
    if number > MAX_INTERIM:
        raise MalformedResponse(
            f"the receiver sent more than {MAX_INTERIM} interim answers", limit="interim_answers"
        )
    if response.status == 101:
        # A tunnel only where one was asked for: else what follows would be read as another's answer.
        if not (request.websocket and response.upgrade == b"websocket" and response.connection_upgrade):
            raise MalformedResponse("the receiver switched to a protocol that was not asked for")
    elif response.content_length is not None or response.chunked:
        raise MalformedResponse("the receiver sent an interim answer with a body")  # RFC 9110 section 8.6
