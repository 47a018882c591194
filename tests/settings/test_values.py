from __future__ import annotations

import pytest

from idtoken_proxy.settings import plausible, values
from tests.cases import for_each


@for_each(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1m0.5s", 60.5),
        (30, 30),
        (0.25, 0.25),
        ("30", 30),
        ("1ms", 0.001),
        ("168h", values.LONGEST),
    ],
)
def test_a_duration_is_seconds(written: object, seconds: float) -> None:
    assert values.duration(written) == pytest.approx(seconds)


@for_each("written", ["5 s", "s", "", "5x", "5S", "-5s", "1s1h", "\u0665s", True, None, [], {}, "1e3"])
def test_what_is_no_duration_is_told_how_one_looks(written: object) -> None:
    with pytest.raises(ValueError, match="must be a time such as 5s, 10m, 1h or 500ms, not "):
        values.duration(written)


@for_each("written", [0, 0.0, "0", "0s", "0ms"])
def test_a_delay_may_be_none(written: object) -> None:
    assert values.delay(written) == 0.0
    assert values.delay("5s") == 5.0
    with pytest.raises(ValueError, match="must be a time"):
        values.delay("-1s")


@for_each("written", ["0s", 0, -1, 0.0, "168.001h", "9" * 15 + "h", 10**400])
def test_a_duration_is_over_nothing_and_at_most_a_week(written: object) -> None:
    with pytest.raises(ValueError, match="must be longer than 0 and at most 7 days"):
        values.duration(written)


@for_each(
    ("written", "size"),
    [
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("64kB", 64000),
        ("64KB", 64000),
        ("1MiB", 1048576),
        ("1MB", 1000000),
        ("1.5KiB", 1536),
        ("2048B", 2048),
        ("2048", 2048),
        (65536, 65536),
    ],
)
def test_a_size_is_bytes(written: object, size: int) -> None:
    assert values.size(written) == size


@for_each(
    ("written", "message"),
    [
        ("64K", 'must be a size such as 64KiB, 1MiB or 64kB, not "64K"'),
        ("", 'must be a size such as 64KiB, 1MiB or 64kB, not ""'),
        (1.5, "must be a size such as 64KiB, 1MiB or 64kB, not 1.5"),
        (True, "must be a size such as 64KiB, 1MiB or 64kB, not true"),
        ("1.5B", 'must be whole bytes, not "1.5B"'),
    ],
)
def test_what_is_no_size(written: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        values.size(written)
    assert str(caught.value) == message


@for_each("written", ["1KiB", "1MiB", 1024, 1024**2])
def test_header_bytes_at_their_limits(written: object) -> None:
    assert values.header_bytes(written) in (1024, 1024**2)


@for_each("written", [1023, 1024**2 + 1, "1B", -1])
def test_header_bytes_beyond_their_limits(written: object) -> None:
    with pytest.raises(ValueError, match="must be between 1KiB and 1MiB"):
        values.header_bytes(written)


@for_each("number", [1, 1024, 1_000_000])
def test_connections(number: int) -> None:
    assert values.connections(number) == number


@for_each("written", [0, 1_000_001, "10", True, 1.0, None])
def test_what_is_no_number_of_connections(written: object) -> None:
    with pytest.raises(ValueError, match="must be a whole number from 1 to 1000000, not "):
        values.connections(written)


@for_each(
    ("value", "shown"),
    [
        ("auto", '"auto"'),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        ([1], "a list"),
        ({"a": 1}, "a mapping"),
        (None, "nothing"),
        ("a\x1b[31mb", '"a?[31mb"'),
        ("x" * 100, '"' + "x" * 76 + '..."'),
        ("x" * 78, '"' + "x" * 78 + '"'),
    ],
)
def test_a_value_in_a_message_is_short_and_cannot_write_lines(value: object, shown: str) -> None:
    assert plausible.shown(value) == shown


@for_each(
    ("value", "message"),
    [
        (123, "must be a string, not 123; put it in quotes"),
        (True, "must be a string, not true; put it in quotes"),
        ([], "must be a string, not a list; write one value"),
        (None, "must be a string, not nothing; write one value"),
    ],
)
def test_what_is_no_string(value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        values.text(value)
    assert str(caught.value) == message


@for_each("value", ["", "a\nb", "a\x00", "\x7f", "a\r"])
def test_control_characters_are_not_printable(value: str) -> None:
    with pytest.raises(ValueError, match="must be printable text, and not empty"):
        values.printable(value)


def test_printable_text_passes() -> None:
    assert values.printable("keys/key one.json") == "keys/key one.json"


@for_each("uid", [0, 1000, 2**32 - 2])
def test_users(uid: int) -> None:
    assert values.uid(uid) == uid


@for_each("uid", [-1, 2**32 - 1, "1000", "root", 1.0, True, None])
def test_what_is_no_user(uid: object) -> None:
    with pytest.raises(ValueError, match=r"must be a user's number \(id -u NAME\), not "):
        values.uid(uid)


@for_each(("written", "on"), [("on", True), ("off", False), (True, True), (False, False)])
def test_a_switch_is_on_or_off(written: object, *, on: bool) -> None:
    assert values.switch(written) is on


@for_each("written", ["On", "yes", "", 1, 0, None, []])
def test_what_is_no_switch_is_told_so(written: object) -> None:
    with pytest.raises(ValueError, match="must be on or off, not "):
        values.switch(written)
