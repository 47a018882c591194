from __future__ import annotations

import pytest

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode
from idtoken_proxy.engine.http2.settings import Limits, PeerSettings
from tests.cases import for_each


@for_each(
    ("name", "value", "attribute"),
    [
        (1, 0, "header_table_size"),
        (1, 2**32 - 1, "header_table_size"),
        (3, 0, "max_concurrent_streams"),
        (3, 2**32 - 1, "max_concurrent_streams"),
        (4, 0, "initial_window_size"),
        (4, 2**31 - 1, "initial_window_size"),
        (5, 16384, "max_frame_size"),
        (5, 2**24 - 1, "max_frame_size"),
        (6, 0, "max_header_list_size"),
        (6, 2**32 - 1, "max_header_list_size"),
    ],
)
def test_a_value_within_its_bounds_is_taken(name: int, value: int, attribute: str) -> None:
    settings = PeerSettings()
    settings.apply(name, value, of_server=False)
    assert getattr(settings, attribute) == value


@for_each(
    ("name", "value", "of_server", "code"),
    [
        (2, 1, True, ErrorCode.PROTOCOL_ERROR),
        (2, 2, True, ErrorCode.PROTOCOL_ERROR),
        (2, 2, False, ErrorCode.PROTOCOL_ERROR),
        (4, 2**31, False, ErrorCode.FLOW_CONTROL_ERROR),
        (4, 2**32 - 1, True, ErrorCode.FLOW_CONTROL_ERROR),
        (5, 16383, False, ErrorCode.PROTOCOL_ERROR),
        (5, 0, False, ErrorCode.PROTOCOL_ERROR),
        (5, 2**24, True, ErrorCode.PROTOCOL_ERROR),
        (9, 2, False, ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_a_value_beyond_its_bounds_has_its_code(
    name: int, value: int, code: ErrorCode, *, of_server: bool
) -> None:
    with pytest.raises(ConnectionFault) as raised:
        PeerSettings().apply(name, value, of_server=of_server)
    assert raised.value.code == code


NAMES = (
    "header_table_size",
    "initial_window_size",
    "max_concurrent_streams",
    "max_frame_size",
    "max_header_list_size",
)


@for_each(
    ("name", "value", "of_server"),
    [
        (0, 5, True),
        (7, 5, True),
        (8, 1, True),
        (0xFFFF, 2**32 - 1, False),
        (9, 1, False),
        (2, 0, True),
        (2, 1, False),
    ],
)
def test_what_means_nothing_to_us_changes_nothing(name: int, value: int, *, of_server: bool) -> None:
    settings = PeerSettings()
    settings.apply(name, value, of_server=of_server)
    untouched = PeerSettings()
    assert all(getattr(settings, each) == getattr(untouched, each) for each in NAMES)


def test_what_is_refused_has_to_be_decoded() -> None:
    told = Limits(header_octets=1000, refuses=True)
    assert (told.room, told.most_header_octets) == (2, 2000)
    assert Limits(header_octets=1000).most_header_octets == 1000
