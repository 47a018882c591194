"""What aiohttp says by itself beside the data path, in our words: its answer to what it cannot read never comes to the
application, so that neither its middlewares nor its signals see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

# A page elsewhere may name any URL in a script or an image; it gets nothing of an answer into its process.
KEPT_TO_ITSELF: Final = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
# Otherwise each answer would tell the versions of Python and of a library.
NAME: Final = {"Server": "idtoken-proxy"}
# Seconds for a body that goes on behind its answer; nobody here reads one.
_LINGERING: Final = 1.0

_TEXT: Final = "this is no HTTP/1.1 request that can be read here\n"


def handlers(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Makes a connection's protocol, as `server` would: it takes no class for them."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"access_log": None, "auto_decompress": False, "lingering_time": _LINGERING}
    return lambda: _Handler(server, loop=loop, **options)


async def expect(request: web.BaseRequest) -> None:
    """RFC 9110 section 10.1.1. Raises web.HTTPExpectationFailed, which repeats nothing."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="this expectation is not met here\n")
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


class _Handler(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, HttpProcessingError):
            # `message` quotes what came. Nor is it logged: it is its sender's affair.
            answer: web.StreamResponse = web.Response(status=status, text=_TEXT)
            answer.force_close()
        else:
            answer = super().handle_error(request, status, exc, message)
        answer.headers.update(KEPT_TO_ITSELF | NAME)
        return answer
