"""A call that brings its own deadline."""

from __future__ import annotations

from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.streams import Stream
from idtoken_proxy.engine.http2_app import AppConnection, AppStream
from idtoken_proxy.engine.sweeper import NEVER
from idtoken_proxy.errors import DeadlineExceeded


class TimedStream(AppStream):
    """Of a call that brings its own deadline (grpc-timeout), beside which there is no smaller one."""

    __slots__ = ("_until",)

    def __init__(self, connection: AppConnection, stream: Stream, *, complete: bool, until: float) -> None:
        super().__init__(connection, stream, complete=complete)
        self._until = until

    @property
    def deadline(self) -> float:
        return self._until

    @deadline.setter
    def deadline(self, value: float) -> None:
        if self.exchange is None:  # what an exchange sets is the other kind's
            self._until = value

    def expire(self) -> None:
        self._until = NEVER
        if self.exchange is not None:
            self.exchange.fail(DeadlineExceeded("the app's deadline (grpc-timeout) has passed"))
        else:
            self._reset(ErrorCode.INTERNAL_ERROR)
