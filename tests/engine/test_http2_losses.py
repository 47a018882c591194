"""What an app is told of a stream that a receiver did not bring to its end."""

from __future__ import annotations

from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.listener import BY_CONNECTION, BY_FAULT, BY_GOAWAY, BY_PEER, Reset
from idtoken_proxy.engine.http2_losses import error_of, no_http2
from idtoken_proxy.errors import BrokenOff, MalformedResponse, NotProcessed, ReceiverReset
from tests.cases import for_each


@for_each(
    ("reset", "kind", "words"),
    [
        (Reset(8, BY_PEER), ReceiverReset, "CANCEL"),
        (Reset(0x99, BY_PEER), ReceiverReset, "code 153"),
        (Reset(7, BY_PEER, unprocessed=True), NotProcessed, "before it did anything"),
        (Reset(7, BY_GOAWAY, "x", unprocessed=True), NotProcessed, "before it did anything"),
        (Reset(1, BY_FAULT, "two lengths"), MalformedResponse, "two lengths"),
        (Reset(ErrorCode.NO_ERROR, BY_CONNECTION), BrokenOff, "closed the connection"),
        (Reset(ErrorCode.FLOW_CONTROL_ERROR, BY_CONNECTION, "a window"), MalformedResponse, "a window"),
    ],
)
def test_each_way_has_its_error(reset: Reset, kind: type[Exception], words: str) -> None:
    error = error_of(reset)
    assert type(error) is kind
    assert words in error.detail


def test_a_code_is_kept_for_the_app() -> None:
    error = error_of(Reset(11, BY_PEER))
    assert isinstance(error, ReceiverReset)
    assert error.code == 11


@for_each(
    ("first", "said", "words"),
    [
        (b"HTTP/1.1 400", None, "it answers in HTTP/1.1"),
        (b"", None, "it closed the connection"),
        (b"\x00", "the first frame is not SETTINGS", "the first frame is not SETTINGS"),
    ],
)
def test_who_does_not_speak_it(first: bytes, said: str | None, words: str) -> None:
    error = no_http2(first, said)
    assert words in error.detail
    assert "--use-http2" in str(error.remedy)
