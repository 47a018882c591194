from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2.flow_control import ReceiveWindow, SendWindow


def test_a_send_window_grows_to_its_end_and_not_beyond() -> None:
    window = SendWindow(2**31 - 2)
    assert window.grow(1)
    assert not window.grow(1)


def test_a_send_window_may_become_negative() -> None:
    """Section 6.9.2: 60 KiB of 64 KiB are out, and the window becomes one of 16 KiB."""
    window = SendWindow(4 * 1024)
    assert window.grow(16 * 1024 - 64 * 1024)
    assert window.size == -44 * 1024


def test_no_more_is_taken_than_the_peer_knows_of() -> None:
    window = ReceiveWindow(100)
    assert window.take(100)
    assert not window.take(1)


def test_credit_is_given_by_halves() -> None:
    window = ReceiveWindow(100)
    assert window.take(80)
    assert [window.give(20), window.give(29)] == [0, 0]
    assert window.left == 20
    assert window.give(1) == 50
    assert (window.left, window.owed) == (70, 0)
    assert window.give(49) == 0


@pytest.mark.parametrize(("size", "increment"), [(65535, 0), (1 << 20, (1 << 20) - 65535)])
def test_a_larger_window_than_the_peer_knows_of_is_given_at_the_start(size: int, increment: int) -> None:
    window = ReceiveWindow(size, 65535)
    assert window.left == 65535
    assert window.give(0) == increment
    assert window.left == size


@given(st.lists(st.integers(0, 60), max_size=50))
def test_what_was_taken_is_what_is_left_and_owed(pieces: list[int]) -> None:
    window = ReceiveWindow(100)
    held = 0
    for piece in pieces:
        if piece <= window.left:
            assert window.take(piece)
            held += piece
        given_back = held // 2
        window.give(given_back)
        held -= given_back
        assert window.left + window.owed + held == 100
        assert window.left + window.owed >= 50 or held > 50
