from __future__ import annotations

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode, StreamFault, name_of
from tests.cases import for_each


def test_codes_are_those_of_the_registry() -> None:
    assert [int(code) for code in ErrorCode] == list(range(14))
    assert (ErrorCode.CANCEL, ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.HTTP_1_1_REQUIRED) == (8, 11, 13)


@for_each(
    ("code", "name"), [(0, "NO_ERROR"), (13, "HTTP_1_1_REQUIRED"), (14, "UNKNOWN"), (2**32 - 1, "UNKNOWN")]
)
def test_a_code_has_a_name_whatever_it_is(code: int, name: str) -> None:
    assert name_of(code) == name


def test_an_error_tells_its_code_and_reason() -> None:
    error = StreamFault(5, ErrorCode.CANCEL, "why", limit="x")
    assert (error.stream_id, error.code, error.reason, error.limit, str(error)) == (
        5,
        8,
        "why",
        "x",
        "CANCEL: why",
    )
    assert not isinstance(error, ConnectionFault)
