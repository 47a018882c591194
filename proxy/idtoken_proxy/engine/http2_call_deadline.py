"""The deadline that a call of gRPC brings."""

from __future__ import annotations

from idtoken_proxy.engine.http2_app import AppStream
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.errors import DeadlineExceeded


class CallDeadline:
    """Of a call that brings its own (grpc-timeout), beside which there is no smaller one: what the sweeper watches in place of
    the stream, as long as its exchange is under way. Made for one sweep.
    """

    __slots__ = ("_app", "deadline")

    def __init__(self, app: AppStream) -> None:
        self._app = app
        self.deadline = app.until

    def expire(self) -> None:
        self._app.until = NEVER
        if self._app.exchange is not None:
            self._app.exchange.fail(DeadlineExceeded("the app's deadline (grpc-timeout) has passed"))
