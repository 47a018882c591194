from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http2.flow_control import ReceiveWindow, is_beyond
from tests.cases import for_each


def test_a_send_window_has_an_end_and_may_be_negative() -> None:
    assert not is_beyond(2**31 - 1)
    assert is_beyond(2**31)
    assert not is_beyond(-44 * 1024)


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


@for_each(("size", "increment"), [(65535, 0), (1 << 20, (1 << 20) - 65535)])
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
