"""How long an answer's body is, and how it is framed towards the app: afresh, whatever the receiver's framing was."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.policy.request import Request, Response

_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"


def answer_framing(request: Request, response: Response) -> tuple[bytes, int | None, bool, bool]:
    """(header line, body length or None for unknown, written in chunks, ends before the connection does).

    RFC 9112 section 6.3: a HEAD's answer, a 204 and a 304 have no body, whatever their fields say. A body of unknown
    length goes to an HTTP/1.1 app in chunks, so that its end differs from its breaking off, and to an HTTP/1.0 app
    until the connection closes.
    """
    status = response.status
    if status == 204:
        return b"", 0, False, True  # RFC 9110 section 8.6: no Content-Length either
    if status == 304 or request.method == b"HEAD":
        line = _CHUNKED if response.chunked and not request.http10 else response.length_line
        return line, 0, False, True
    if response.content_length is not None:
        return response.length_line, response.content_length, False, True
    if request.http10:
        return b"", None, False, False
    return _CHUNKED, None, True, True


def answer_length(request: Request, response: Response) -> int | None:
    """Octets of the body that comes from the receiver (RFC 9112 section 6.3); None: only its end will tell."""
    status = response.status
    if status in (204, 304) or request.method == b"HEAD":
        return 0
    return response.content_length
