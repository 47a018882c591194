from __future__ import annotations

import pytest

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.header_block import HeaderBlock


def test_a_block_is_its_fragments_in_order() -> None:
    block = HeaderBlock(1, b"a", 10, end_stream=True)
    for fragment in (b"", b"b", b"cd"):
        block.go_on(fragment)
    assert (block.whole(), block.stream_id, block.end_stream) == (b"abcd", 1, True)


def test_eight_continuations_are_borne() -> None:
    block = HeaderBlock(1, b"", 10, end_stream=False)
    for _ in range(8):
        block.go_on(b"")
    with pytest.raises(ConnectionFault) as raised:
        block.go_on(b"")
    assert (raised.value.code, raised.value.limit) == (ErrorCode.ENHANCE_YOUR_CALM, "continuations")


def test_octets_are_counted_before_they_are_joined() -> None:
    block = HeaderBlock(1, b"12345", 10, end_stream=False)
    block.go_on(b"12345")
    with pytest.raises(ConnectionFault) as raised:
        block.go_on(b"1")
    assert (raised.value.code, raised.value.limit) == (ErrorCode.ENHANCE_YOUR_CALM, "header_bytes")
    with pytest.raises(ConnectionFault):
        HeaderBlock(1, b"12345678901", 10, end_stream=False)
